"""Modules of other kernels, and such as lie about theirs: what each kernel itself logged, under QEMU."""

from __future__ import annotations

from collections.abc import Callable
from errno import ENOEXEC

import pytest
from tests.kernel.image.conftest import in_a_copy
from tests.real import debian

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.module_check import INIT_IGNORE_MODVERSIONS, INIT_IGNORE_VERMAGIC
from ukmod.kmod.elf import Elf
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.signature import parse_signature

pytestmark = pytest.mark.real

FORCE = INIT_IGNORE_MODVERSIONS | INIT_IGNORE_VERMAGIC
"""modprobe -f"""


def module(package: debian.Debian) -> bytes:
    """crc7.ko without its signature: it needs one symbol, which CRC and all is everywhere the same."""
    (path,) = (package.modules / "kernel" / "lib").glob("crc7.ko*")
    with ModuleFile(str(path)) as file:
        data = file.contents()
    signature = parse_signature(data)
    return data if signature is None else data[: signature.module_size]


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The first ``old`` replaced."""
    assert len(old) == len(new)
    at = data.index(old)
    return data[:at] + new + data[at + len(old) :]


def other_layout(data: bytes) -> bytes:
    """The CRC of module_layout is another."""
    crc = Elf(data).versions()["module_layout"].to_bytes(8, "little")
    return changed(data, crc + b"module_layout\0", bytes([crc[0] ^ 1]) + crc[1:] + b"module_layout\0")


def no_layout(data: bytes) -> bytes:
    """There is no CRC of module_layout."""
    return changed(data, b"module_layout\0", b"nodule_layout\0")


def no_vermagic(data: bytes) -> bytes:
    """There is no vermagic."""
    return changed(data, b"\0vermagic=", b"\0xermagic=")


def other_vermagic(data: bytes) -> bytes:
    """It is for a kernel without SMP, say."""
    return changed(data, b" SMP preempt ", b" TMP preempt ")


def other_release(data: bytes) -> bytes:
    """It is for a kernel of another release that is otherwise the same."""
    return changed(data, b"\0vermagic=6.", b"\0vermagic=7.")


def loaded(k: Kernel, data: bytes, flags: int = 0) -> tuple[int, list[str]]:
    """The errno, and what is logged, of a copy of this machine in which a module is loaded."""

    def load() -> tuple[int, list[str]]:
        errno = 0
        try:
            k.insmod(data, flags=flags)
        except LoadError as error:
            errno = error.errno
        return errno, [f"<{record.level}>{record.text}" for record in k.core.log.records]

    errno, log = in_a_copy(k, load)
    return errno, log


UNSIGNED = "<5>crc7: module verification failed: signature and/or required key missing - tainting kernel"
DISAGREES = "<4>crc7: disagrees about version of symbol module_layout"
TAINTED = "<4>Disabling lock debugging due to kernel taint"
SHOULD_BE = (
    f"<3>crc7: version magic '{debian.RELEASE} TMP preempt mod_unload modversions '"
    f" should be '{debian.RELEASE} SMP preempt mod_unload modversions '"
)


@pytest.mark.parametrize(
    ("change", "errno", "log"),
    [
        (bytes, 0, [UNSIGNED]),
        (other_release, 0, [UNSIGNED]),
        (other_layout, ENOEXEC, [DISAGREES]),
        (no_layout, ENOEXEC, ["<4>crc7: no symbol version for module_layout"]),
        (no_vermagic, 0, ["<4>crc7: bad vermagic: kernel tainted.", TAINTED, UNSIGNED]),
        (other_vermagic, ENOEXEC, [SHOULD_BE]),
        (lambda data: other_vermagic(other_layout(data)), ENOEXEC, [DISAGREES]),
    ],
)
def test_a_module_that_says_something_else(
    booted: Kernel,
    kernel_package: debian.Debian,
    change: Callable[[bytes], bytes],
    errno: int,
    log: list[str],
) -> None:
    assert loaded(booted, change(module(kernel_package))) == (errno, log)


@pytest.mark.parametrize("change", [bytes, other_layout, no_layout, no_vermagic, other_vermagic])
def test_by_force(booted: Kernel, kernel_package: debian.Debian, change: Callable[[bytes], bytes]) -> None:
    log = ["<4>crc7: module_layout: kernel tainted.", TAINTED, UNSIGNED]
    assert loaded(booted, change(module(kernel_package)), FORCE) == (0, log)


@pytest.mark.parametrize("name", ["cloud", "backport"])
def test_a_module_of_another_kernel(booted: Kernel, name: str) -> None:
    """The CRC of module_layout tells, before anybody looks at the vermagic or at sizes."""
    assert loaded(booted, module(debian.require_other(name))) == (ENOEXEC, [DISAGREES])


def test_a_kernel_that_looks_at_the_size(kernel_package: debian.Debian) -> None:
    """Since v6.3 that is what it does first, and nothing forces it."""
    text = "section size must match the kernel's built struct module size at run time"
    log = [f"<3>module crc7: .gnu.linkonce.this_module {text}"]
    with Kernel(image=debian.require_other("backport").vmlinuz) as k:
        k.boot()
        for flags in (0, FORCE):
            assert loaded(k, module(kernel_package), flags) == (ENOEXEC, log)


def test_one_that_does_not_is_not_believed(booted: Kernel) -> None:
    """Forced, 6.1 takes a module of 6.12 and reads its struct module as if it were its own."""
    errno, log = loaded(booted, module(debian.require_other("backport")), FORCE)
    assert errno == ENOEXEC
    assert log[0] == "<4>crc7: module_layout: kernel tainted."
    assert "section size must match" in log[-1]


def test_modprobe_by_force(booted: Kernel) -> None:
    def load() -> list[str]:
        assert booted.modprobe("-f", "crc7").status == 0
        return [f"<{record.level}>{record.text}" for record in booted.core.log.records]

    log = ["<4>crc7: module_layout: kernel tainted.", TAINTED, UNSIGNED]
    assert in_a_copy(booted, load) == log
