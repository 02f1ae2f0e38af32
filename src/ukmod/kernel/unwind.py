"""Who called: the return addresses on a task's stack, and their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ukmod.machine.stubs import SAVED_BYTES

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel

TRACE_BYTES: Final = 512
"""Of the stack that a Trace keeps at most."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a kernel function was called: kept as raw stack, and unwound only when a report wants it."""

    pid: int
    comm: str
    time: int
    """Virtual nanoseconds since boot."""
    sp: int
    """Where ``stack`` was, right at the return address of the innermost call."""
    stack: bytes

    @property
    def caller(self) -> int:
        """The return address of the innermost call; 0 when no guest code called."""
        return int.from_bytes(self.stack[:8], "little")


def capture(k: Kernel) -> Trace:
    """Where the current kernel function was called from."""
    task = k.sched.current or k.idle
    if k.sched.in_interrupt:
        task = k.idle
    sp = k.cpu.sp + SAVED_BYTES
    left = task.stack + task.stack_size - sp
    stack = k.memory.read(sp, min(left, TRACE_BYTES)) if 0 < left <= task.stack_size else b""
    return Trace(task.pid, k.tasks.comm(task), k.clock.now, sp, stack)
