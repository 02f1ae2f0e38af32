"""The time-stamp counter: RDTSC and RDTSCP read virtual time, so that runs repeat (arch/x86/kernel/tsc.c).

The engine reads the host's counter and offers no hook. Each of the two instructions is therefore replaced, in
code that is loaded, by a software interrupt of the same length. A guest that issues one of these interrupts
itself, which no kernel does, reads the counter too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ukmod.kernel.x86 import insn
from ukmod.kernel.x86.extable import with_registers
from ukmod.kmod.elf import SHF_EXECINSTR
from ukmod.machine.registers import MASK64, CpuException, Registers

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.module.main import Module
    from ukmod.kmod.elf import Elf

TSC_KHZ: Final = 2_000_000
"""Its frequency; hardware.py tells an image."""
RDTSC_VECTOR, RDTSCP_VECTOR = 0xE1, 0xE2
_INSTRUCTIONS: Final = (
    (b"\x0f\x31", bytes((0xCD, RDTSC_VECTOR))),
    (b"\x0f\x01\xf9", bytes((0xCD, RDTSCP_VECTOR, 0x90))),
)
"""Each instruction, and INT in its place, with NOP."""
_RESET: Final = 3600 * 10**9
"""How long before time 0 the counter began, in nanoseconds: a machine boots at a negative time."""


def replacements(code: bytes, starts: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The places in code where the counter is read, and the bytes that replace each.

    ``starts``: offsets, in order, at which functions begin. Other instructions may contain the same bytes.
    """
    for instruction, interrupt in _INSTRUCTIONS:
        at = code.find(instruction)
        while at >= 0:
            index = bisect_right(starts, at) - 1
            first = starts[index] if index >= 0 else 0
            if any(first + offset == at for offset in insn.starts(code[first : at + len(instruction)])):
                yield at, interrupt
            at = code.find(instruction, at + 1)


def _replace(k: Core, start: int, size: int, symbols: Iterator[int]) -> None:
    code = k.memory.read(start, size)
    starts = sorted({address - start for address in symbols if start <= address < start + size})
    for offset, interrupt in replacements(code, starts):
        k.memory.write(start + offset, interrupt, force=True)


def wire_module(k: Core, module: Module, elf: Elf) -> None:
    """Replace the instructions in a module's code, which does not run yet."""
    for section in elf.sections:
        start, size = module.layout.sections.get(section.name, (0, 0))
        if section.flags & SHF_EXECINSTR and size:
            _replace(k, start, size, iter(module.layout.symbol_starts))


def wire_image(k: Core, image: MappedImage) -> None:
    """Replace the instructions in an image's code, that of its alternatives included."""
    for section in image.image.sections:
        if section.flags & SHF_EXECINSTR and section.size and image.contains(section.addr):
            _replace(k, section.addr, section.size, (symbol.address for symbol in image.symbols))


def _jitter(now: int) -> int:
    """From 0 to 31 cycles, always the same at the same time.

    Code that gathers entropy waits, some of it for ever, until readings in a row are not equally far apart.
    """
    mixed = now * 0x9E37_79B9_7F4A_7C15 & MASK64
    return ((mixed ^ mixed >> 32) * 0xBF58_476D_1CE4_E5B9 & MASK64) >> 59


def counter(k: Core) -> int:
    """The time-stamp counter at this moment."""
    now = k.clock.read()
    return (now + _RESET) * TSC_KHZ // 1_000_000 - _jitter(now) & MASK64


def read_counter(k: Core, raised: CpuException) -> Registers:
    """Carry out RDTSC or RDTSCP: EDX:EAX is the counter, ECX the number of the CPU."""
    value = counter(k)
    changed = {"rax": value & 0xFFFF_FFFF, "rdx": value >> 32}
    if raised.vector == RDTSCP_VECTOR:
        changed["rcx"] = 0
    return with_registers(raised.registers, changed)
