"""Code of the image asks for modules, as kernels do: each request goes through modprobe and the tree."""

from __future__ import annotations

import pytest
from tests.kernel.image.conftest import in_a_copy

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

AF_KEY = 15
SOCK_RAW, PF_KEY_V2 = 3, 2


def requests_of(k: Kernel, function: str, *arguments: int | str) -> list[tuple[str, str, list[str]]]:
    """Call a function of the image in a copy of the machine: who requested what, and what was loaded."""
    assert k.core.image is not None
    address = k.core.image.address(function)

    def call() -> list[tuple[str, str, tuple[str, ...]]]:
        k.call(address, *arguments)
        return [(request.caller, request.name, request.loaded) for request in k.requests]

    found = in_a_copy(k, call)
    return [(caller.partition("+")[0], name, loaded) for caller, name, loaded in found]


def test_a_filesystem_type(booted: Kernel) -> None:
    assert requests_of(booted, "get_fs_type", "vfat") == [("get_fs_type", "fs-vfat", ["fat", "vfat"])]


def test_a_filesystem_type_that_nobody_has(booted: Kernel) -> None:
    assert requests_of(booted, "get_fs_type", "nosuchfs") == [("get_fs_type", "fs-nosuchfs", [])]


def test_a_socket_family(booted: Kernel) -> None:
    assert booted.core.image is not None
    init_net, result = booted.core.image.address("init_net"), booted.core.slab.kmalloc(8)
    family = requests_of(booted, "sock_create_kern", init_net, AF_KEY, SOCK_RAW, PF_KEY_V2, result)
    assert family == [("__sock_create", "net-pf-15", ["xfrm_algo", "af_key"])]


def test_a_cipher_and_what_that_asks_for_itself(booted: Kernel) -> None:
    found = requests_of(booted, "crypto_has_alg", "blowfish", 0, 0)
    assert found[0][0].startswith("crypto_")
    assert found[0][1] == "crypto-blowfish"
    assert "blowfish_generic" in [name for _, _, loaded in found for name in loaded]


def test_a_character_set(booted: Kernel) -> None:
    assert requests_of(booted, "load_nls", "cp437") == [("load_nls", "nls_cp437", ["nls_cp437"])]


def test_a_congestion_control(booted: Kernel) -> None:
    assert booted.core.image is not None
    init_net = booted.core.image.address("init_net")
    found = requests_of(booted, "tcp_set_default_congestion_control", init_net, "westwood")
    assert [(name, loaded) for _, name, loaded in found] == [("tcp_westwood", ["tcp_westwood"])]


def test_a_block_device_by_its_number(booted: Kernel) -> None:
    loop0 = 7 << 20
    found = requests_of(booted, "blk_request_module", loop0)
    assert found == [("blk_request_module", "block-major-7-0", ["loop"])]
