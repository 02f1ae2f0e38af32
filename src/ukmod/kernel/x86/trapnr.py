"""The CPU's exceptions as reports name them, and as die notifiers get them: asm/trapnr.h and asm/kdebug.h."""

from __future__ import annotations

from typing import Final

from ukmod.kernel.signal_numbers import SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP
from ukmod.machine.registers import BP_VECTOR, DE_VECTOR, DF_VECTOR, GP_VECTOR, MC_VECTOR, UD_VECTOR
from ukmod.record import record

DIE_OOPS, DIE_INT3, DIE_TRAP, DIE_GPF = 1, 2, 8, 9
"""enum die_val, arch/x86/include/asm/kdebug.h."""


@record
class Trap:
    """An error, as die() and die notifiers get it."""

    text: str
    """For people: "Oops" for a page fault, "invalid opcode"."""
    vector: int = 0
    """The number of the CPU's exception, but 0 for a page fault, as thread.trap_nr has it."""
    why: int = 0
    """The DIE_ constant that die notifiers are called with before the report; 0: they are not."""
    signal: int = SIGSEGV
    """The signal that it would be to a program, for them."""
    error: int = 0
    """The exception's error code."""
    hint: str = ""
    """For people, in the report: ", probably for non-canonical address 0xdead000000000100"."""


TRAPS: Final = {
    trap.vector: trap
    for trap in (
        Trap("divide error", DE_VECTOR, DIE_TRAP, SIGFPE),
        Trap("debug", 1, DIE_TRAP, SIGTRAP),
        Trap("int3", BP_VECTOR, DIE_INT3, SIGTRAP),
        Trap("overflow", 4, DIE_TRAP),
        Trap("bounds", 5, DIE_TRAP),
        Trap("invalid opcode", UD_VECTOR, DIE_TRAP, SIGILL),
        Trap("device not available", 7, DIE_TRAP),
        Trap("double fault", DF_VECTOR, DIE_TRAP),
        Trap("invalid TSS", 10, DIE_TRAP),
        Trap("segment not present", 11, DIE_TRAP, SIGBUS),
        Trap("stack segment", 12, DIE_TRAP, SIGBUS),
        Trap("general protection fault", GP_VECTOR, DIE_GPF),
        Trap("fpu exception", 16, DIE_TRAP, SIGFPE),
        Trap("alignment check", 17, DIE_TRAP, SIGBUS),
        Trap("machine check", MC_VECTOR, DIE_TRAP),
        Trap("simd exception", 19, DIE_TRAP, SIGFPE),
    )
}
"""By vector."""
GUARD: Final = Trap("stack guard page", DF_VECTOR)
