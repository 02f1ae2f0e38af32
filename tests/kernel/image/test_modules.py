"""What code of the image finds in a struct module: find_module_sections() and mod_sysfs_init()."""

from __future__ import annotations

from typing import Any

import pytest
from tests.golden import modules as compiled
from tests.kernel.image.conftest import in_a_copy

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real


def member(k: Kernel, address: int, name: str, size: int = 8) -> int:
    return int.from_bytes(k.core.memory.read(address + k.core.types.offset("module", name), size), "little")


def test_a_modules_sections_are_where_its_struct_says(booted: Kernel) -> None:
    def work() -> Any:
        module = booted.insmod(compiled()["exporter"].read_bytes())
        exports = module.layout.sections
        counts = [member(booted, module.address, name, 4) * 12 for name in ("num_syms", "num_gpl_syms")]
        starts = [member(booted, module.address, name) for name in ("syms", "gpl_syms")]
        sections = [list(exports.get(name, (0, 0))) for name in ("__ksymtab", "__ksymtab_gpl")]
        return counts, starts, sections

    counts, starts, sections = in_a_copy(booted, work)
    assert [[start, size] for start, size in zip(starts, counts, strict=True)] == sections
    assert sum(counts) > 0


def test_sysfs_has_a_directory_of_it_as_long_as_it_is_loaded(booted: Kernel) -> None:
    """A second module of the name would find the directory there, with a warning and a stack dump."""

    def work() -> Any:
        states = []
        for _ in range(2):
            module = booted.insmod(compiled()["ok_dep"].read_bytes())
            kobj = module.address + booted.core.types.offset("module", "mkobj.kobj")
            states.append(bool(booted.core.memory.u64(kobj + booted.core.types.offset("kobject", "sd"))))
            booted.rmmod("ok_dep")
        return states, [str(leak) for leak in booted.leaks()], booted.dmesg()

    states, leaks, log = in_a_copy(booted, work)
    assert states == [True, True]
    assert leaks == []
    assert "cannot create duplicate filename" not in log
