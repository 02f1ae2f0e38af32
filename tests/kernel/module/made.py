"""Modules made for a test: small enough to say what is in them, and like none that a compiler makes."""

from __future__ import annotations

from tests.elfwriter import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    Relocation,
    Section,
    Symbol,
    elf,
    modinfo,
)
from tests.kernel.conftest import layouts

from ukmod.machine.relocate import R_64, R_PLT32

MAGIC = "6.1.0 SMP preempt mod_unload modversions "
FIELDS = ("license=GPL", f"vermagic={MAGIC}")
THIS_MODULE = ".gnu.linkonce.this_module"


def this_module(name: str = "m", *, flags: int = SHF_ALLOC | SHF_WRITE, size: int | None = None) -> Section:
    """struct module, as modpost makes it: nothing but a name, since the module has no functions."""
    at, whole = layouts().offset("module", "name"), layouts().sizeof("module")
    data = (bytes(at) + name.encode().ljust(56, b"\0")).ljust(whole, b"\0")
    return Section(THIS_MODULE, data[:size], flags=flags, align=64)


def made(
    *fields: str,
    name: str = "m",
    info: tuple[str, ...] = FIELDS,
    needs: tuple[Symbol, ...] = (),
    sections: tuple[Section, ...] = (),
    relocations: tuple[Relocation, ...] = (),
    init: bytes = b"",
    calls: tuple[tuple[int, str], ...] = (),
    file_type: int = 1,
) -> bytes:
    """A module whose only function, if it has one, is ``init``: machine code.

    ``calls`` are the functions that it calls, each with the place of the call's operand.
    """
    words = [*fields, *info, f"name={name}"]
    text = Section(".text", bytes(16), flags=SHF_ALLOC | SHF_EXECINSTR)
    basic = [text, Section(".modinfo", modinfo(*words)), this_module(name)]
    symbols = [Symbol("own", ".text"), *needs]
    if init:
        basic.append(Section(".init.text", init, flags=SHF_ALLOC | SHF_EXECINSTR))
        symbols += [Symbol("init_module", ".init.text"), *(Symbol(function) for _, function in calls)]
        pointer = Relocation(THIS_MODULE, layouts().offset("module", "init"), "init_module", R_64)
        operands = [Relocation(".init.text", at, function, R_PLT32, -4) for at, function in calls]
        relocations = (*relocations, pointer, *operands)
    return elf([*basic, *sections], symbols, relocations, file_type=file_type)
