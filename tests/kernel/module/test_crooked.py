"""Modules whose tables lie: what the kernel refuses, and in which words, and what it falls for.

The expected outcomes are those of kernel/module/main.c and arch/x86/kernel/module.c of Linux 6.1. Where that
kernel would read or write beyond a table, the module is refused, or the access is a page fault.
"""

from __future__ import annotations

import re
import struct
from errno import EFAULT, ENOEXEC, ENOMEM

import pytest
from tests.elfwriter import SHF_ALLOC, SHF_WRITE, SHN_COMMON, SHT_NOBITS, Relocation, Section, Symbol
from tests.kernel.conftest import layouts
from tests.kernel.module.made import THIS_MODULE, made

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.module.main import ModuleState
from ukmod.kmod.elf import Elf
from ukmod.machine.relocate import R_32, R_64

RETURN_0 = b"\x31\xc0\xc3"
GOOD = made(init=RETURN_0)
SHT_REL = 9
E_SHOFF, E_SHENTSIZE, E_SHNUM, E_SHSTRNDX = (40, "<Q"), (58, "<H"), (60, "<H"), (62, "<H")
SH_NAME, SH_TYPE, SH_ADDR, SH_OFFSET, SH_SIZE, SH_LINK, SH_INFO = (
    (0, "<I"), (4, "<I"), (16, "<Q"), (24, "<Q"), (32, "<Q"), (40, "<I"), (44, "<I"),
)  # fmt: skip
Field = tuple[int, str]
COUNT = len(Elf(GOOD).sections)


def number(name: str, data: bytes = GOOD) -> int:
    """The index of a section; the first section has no name."""
    return next(section.index for section in Elf(data).sections if section.name == name)


def in_header(field: Field, value: int) -> bytes:
    """A module with a field of the ELF header changed."""
    data = bytearray(GOOD)
    struct.pack_into(field[1], data, field[0], value)
    return bytes(data)


def in_section(name: str, field: Field, value: int, data: bytes = GOOD) -> bytes:
    """A module with a field of a section's header changed."""
    changed = bytearray(data)
    (table,) = struct.unpack_from("<Q", data, E_SHOFF[0])
    struct.pack_into(field[1], changed, table + 64 * number(name, data) + field[0], value)
    return bytes(changed)


def names_that_do_not_end() -> bytes:
    names = Elf(GOOD).section(".shstrtab")
    assert names is not None
    data = bytearray(GOOD)
    data[names.offset + names.size - 1] = ord("x")
    return bytes(data)


@pytest.fixture
def booted(machine: Kernel) -> Kernel:
    """A machine with a module: it knows its kernel from that one, and not from one that is malformed."""
    machine.insmod(made(name="first"))
    return machine


def refused(k: Kernel, data: bytes, errno: int = ENOEXEC, params: str = "") -> list[str]:
    """What the kernel logs about a module that it refuses; nothing of it stays, and others can be loaded."""
    before, logged = set(k.modules), len(k.dmesg())
    with pytest.raises(LoadError) as caught:
        k.insmod(data, params)
    assert caught.value.errno == errno, caught.value
    lines = [line.partition("] ")[2] for line in k.dmesg()[logged:].splitlines()]
    assert (set(k.modules), k.oopses) == (before, ())
    assert k.insmod(GOOD).state is ModuleState.LIVE
    return lines


HEADERS = {
    "entry size": (in_header(E_SHENTSIZE, 40), "Invalid ELF section header size"),
    "table outside": (in_header(E_SHOFF, len(GOOD)), "Invalid ELF section header overflow"),
    "table wraps": (in_header(E_SHOFF, (1 << 64) - 64), "Invalid ELF section header overflow"),
    "table too long": (in_header(E_SHNUM, COUNT + 1), "Invalid ELF section header overflow"),
    "no sections": (
        in_header(E_SHNUM, 0),
        f"Invalid ELF section name index: {COUNT - 1} || e_shstrndx ({COUNT - 1}) >= e_shnum (0)",
    ),
    "no names": (
        in_header(E_SHSTRNDX, 0),
        f"Invalid ELF section name index: 0 || e_shstrndx (0) >= e_shnum ({COUNT})",
    ),
    "names in no section": (
        in_header(E_SHSTRNDX, COUNT),
        f"Invalid ELF section name index: {COUNT} || e_shstrndx ({COUNT}) >= e_shnum ({COUNT})",
    ),
    "names outside": (in_section(".shstrtab", SH_OFFSET, 1 << 63), "Invalid ELF section hdr(type 3)"),
    "names empty": (in_section(".shstrtab", SH_SIZE, 0), "empty section name table"),
    "names do not end": (
        names_that_do_not_end(),
        "ELF Spec violation: section name table isn't null terminated",
    ),
    **{
        f"section 0 has {what}": (
            in_section("", field, value),
            f"ELF Spec violation: section 0 type({kind})!=SH_NULL or non-zero len or addr",
        )
        for what, field, value, kind in (
            ("a type", SH_TYPE, 1, 1), ("a size", SH_SIZE, 8, 0), ("an address", SH_ADDR, 8, 0),
        )
    },
    **{
        f"symbol names in section {link}": (
            in_section(".symtab", SH_LINK, link),
            f"Invalid ELF sh_link!=SHN_UNDEF({link}) or (sh_link({link}) >= hdr->e_shnum({COUNT})",
        )
        for link in (0, COUNT)
    },
    "a section that wraps": (
        in_section(".text", SH_OFFSET, (1 << 64) - 8),
        f"Invalid ELF section in module (section {number('.text')} type 1)",
    ),
    "a name outside": (
        in_section(".text", SH_NAME, 1 << 20),
        f"Invalid ELF section name in module (section {number('.text')} type 1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), HEADERS.values(), ids=HEADERS)
def test_headers_that_lie_are_refused(booted: Kernel, data: bytes, message: str) -> None:
    """elf_validity_check()."""
    assert refused(booted, data) == [message]


NOT_LOADED = {
    "a name of a section that is not loaded": in_section(".strtab", SH_NAME, 1 << 20),
    "relocations of no section": in_section(f".rela{THIS_MODULE}", SH_INFO, 0xFFFF),
    "relocations of the symbols": in_section(f".rela{THIS_MODULE}", SH_INFO, number(".symtab")),
}


@pytest.mark.parametrize("data", NOT_LOADED.values(), ids=NOT_LOADED)
def test_lies_about_what_is_not_loaded_do_not_matter(booted: Kernel, data: bytes) -> None:
    assert booted.insmod(data).state is ModuleState.LIVE


CONTENT = {
    "REL": (in_section(f".rela{THIS_MODULE}", SH_TYPE, SHT_REL), "module m: REL relocation unsupported"),
    "a type of relocation": (
        made(relocations=(Relocation(".text", 0, "own", 37),)),
        "module: m: Unknown rela relocation: 37",
    ),
    "a place that is relocated twice": (
        made(relocations=(Relocation(".text", 0, "own", R_64), Relocation(".text", 0, "own", R_64))),
        r"module: x86/modules: Skipping invalid relocation target, .* for type 1, loc \w{16}, val f{8}c\w{7}",
    ),
    "a value that does not fit": (
        made(relocations=(Relocation(".text", 0, "own", R_32),)),
        r"module: overflow in relocation type 10 val \w{16}\nmodule: `m' likely not compiled with .*=kernel",
    ),
    "a common symbol": (
        made(needs=(Symbol("c", SHN_COMMON, 8, 8),)),
        "m: please compile with -fno-common",
    ),
    "a symbol in a reserved section": (
        made(needs=(Symbol("s", 0xFF05, 8),)),
        r"m: Symbol s has an invalid section index 65285 \(max \d+\)",
    ),
}


@pytest.mark.parametrize(("data", "message"), CONTENT.values(), ids=CONTENT)
def test_relocations_and_symbols_that_lie_are_refused(booted: Kernel, data: bytes, message: str) -> None:
    """simplify_symbols(), apply_relocate_add()."""
    assert re.fullmatch(message, "\n".join(refused(booted, data)))


def test_per_cpu_data_larger_than_its_area_is_refused(booted: Kernel) -> None:
    flags = SHF_ALLOC | SHF_WRITE
    big = Section(".data..percpu", type=SHT_NOBITS, flags=flags, size=64 << 20)
    said = refused(booted, made(sections=(big,)), ENOMEM)
    assert said[0].startswith("percpu: allocation failed, size=67108864 align=")
    assert said[-1] == "m: Could not allocate 67108864 bytes percpu data"


def test_a_module_larger_than_the_machine_is_refused_with_a_report() -> None:
    huge = Section(".bss", type=SHT_NOBITS, flags=SHF_ALLOC | SHF_WRITE, size=100 << 20)
    with Kernel(types=layouts(), memory=64 << 20) as k:
        said = refused(k, made(sections=(huge,)), ENOMEM)
    assert re.search(
        r"vmalloc error: size \d+, exceeds total pages, mode:0xcc0\(GFP_KERNEL\)", "\n".join(said)
    )


EXPORT, PARAM = 12, layouts().sizeof("kernel_param")
EVIL = {
    "an export's name": (made(sections=(Section("__ksymtab", struct.pack("<3i", 0, 0x7FFF_0000, 0)),)), ""),
    "an export's namespace": (
        made(sections=(Section("__ksymtab", struct.pack("<3i", 0, 8, 0x7FFF_0000)),)),
        "",
    ),
    "a parameter's name": (made(sections=(Section("__param", bytes(PARAM), align=8),)), "x=1"),
    "parameters without end": (
        made(sections=(Section("__param", type=SHT_NOBITS, size=100_000 * PARAM, align=8),)),
        "x=1",
    ),
    "an init function of data": (
        made(
            sections=(Section(".data", RETURN_0, flags=SHF_ALLOC | SHF_WRITE),),
            needs=(Symbol("wrong", ".data"),),
            relocations=(Relocation(THIS_MODULE, layouts().offset("module", "init"), "wrong", R_64),),
        ),
        "",
    ),
}
"""Pointers that the kernel follows: none of its checks look at them."""


@pytest.mark.parametrize(("data", "params"), EVIL.values(), ids=EVIL)
def test_a_pointer_that_lies_is_an_oops_of_the_task(booted: Kernel, data: bytes, params: str) -> None:
    with pytest.raises(LoadError) as caught:
        booted.insmod(data, params)
    assert caught.value.errno == EFAULT
    assert len(booted.oopses) == 1
    assert booted.insmod(made(name="other", init=RETURN_0)).state is ModuleState.LIVE


ODD = {
    "half an export": made(sections=(Section("__ksymtab", bytes(EXPORT - 1)),)),
    "exports without content": made(sections=(Section("__ksymtab", type=SHT_NOBITS, size=50_000 * EXPORT),)),
    "checksums of fewer exports": made(
        sections=(Section("__ksymtab", bytes(2 * EXPORT)), Section("__kcrctab", b"\1"))
    ),
    "half a parameter": made(sections=(Section("__param", bytes(PARAM - 1), align=8),)),
    "a version whose name does not end": made(
        sections=(Section("__versions", struct.pack("<Q", 1) + b"a" * 56),), needs=(Symbol("kfree"),)
    ),
    "a version and a byte": made(sections=(Section("__versions", b"\1" * 65),), needs=(Symbol("kfree"),)),
    "versions without content": made(
        sections=(Section("__versions", type=SHT_NOBITS, size=1 << 40, flags=0),), needs=(Symbol("kfree"),)
    ),
}
"""Tables of which the kernel reads as many whole entries as there are."""


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_a_part_of_an_entry_is_none(booted: Kernel, data: bytes) -> None:
    module = booted.insmod(data)
    assert (module.param_count, booted.oopses) == (0, ())
    booted.rmmod("m")
    assert booted.insmod(GOOD).state is ModuleState.LIVE
