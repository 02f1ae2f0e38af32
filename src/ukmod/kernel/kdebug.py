"""Modules hear of errors by register_die_notifier(), kmsg_dump_register() and panic_notifier_list.

Those who registered are in lists of the image, which calls them. Without an image nobody can register.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from ukmod.kernel.notifier import NOTIFY_STOP_MASK, chain_call
from ukmod.kernel.sched.core import TaskDeadError, TaskExitError
from ukmod.kernel.signal_numbers import SIGSEGV
from ukmod.kernel.x86.kprobes import load, push
from ukmod.kernel.x86.trapnr import DIE_GPF, DIE_INT3, DIE_OOPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kernel.core import Core
    from ukmod.kernel.oops import Oops
    from ukmod.machine.registers import Registers

KMSG_DUMP_PANIC, KMSG_DUMP_OOPS = 1, 2
"""enum kmsg_dump_reason, include/linux/kmsg_dump.h."""
_NOTIFY_STOP: Final = NOTIFY_STOP_MASK | 1
_MAX_MESSAGE: Final = 1024
"""Bytes of the buffer that panic() formats its message into."""


class Kdebug:
    """The image's lists of who wants to hear of errors. An error in one of them tells nobody."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._telling = False

    def notify_trap(self, oops: Oops) -> Registers | None:
        """Tell of an exception that is about to be reported: see notify_oops()."""
        trap = oops.trap
        if not trap.why:
            return None
        # exc_general_protection() has interrupts on by then, if they were on.
        with nullcontext() if trap.why == DIE_GPF else self._k.cpu.interrupts_off():
            return self._notify_die(trap.why, trap.text, trap.vector, trap.signal, oops)

    def notify_oops(self, oops: Oops) -> Registers | None:
        """Tell of an oops; the registers to continue with, if a callback says that no more is to be done."""
        trap = oops.trap
        with self._k.cpu.interrupts_off():
            # For an int3, thread.trap_nr is not set.
            vector = 0 if trap.why == DIE_INT3 else trap.vector
            return self._notify_die(DIE_OOPS, trap.text + trap.hint, vector, SIGSEGV, oops)

    def _notify_die(self, why: int, text: str, vector: int, signal: int, oops: Oops) -> Registers | None:
        notify = self._function("notify_die")
        if not notify:
            return None
        k, before = self._k, oops.state.registers
        with self._on_stack(fatal=oops.fatal):
            regs = push(k, before)
            said = self._push_text(text)
            result = k.cpu.call(notify, why, said, regs, oops.trap.error, vector, signal)
            return load(k, regs, before) if result & 0xFFFF_FFFF == _NOTIFY_STOP else None

    def dump(self, reason: int, *, fatal: bool = False) -> None:
        """kmsg_dump(); since v6.12 it is kmsg_dump_desc() without a description."""
        if dump := self._function("kmsg_dump_desc") or self._function("kmsg_dump"):
            with self._on_stack(fatal=fatal):
                self._k.cpu.call(dump, reason, 0)

    def panicked(self, message: str, *, fatal: bool) -> None:
        """Tell those on panic_notifier_list, and those who keep the log. None of them ends the panic."""
        chain = self._function("panic_notifier_list")
        if not chain:
            return
        k = self._k
        k.percpu.add_preempt(1)
        try:
            with k.cpu.interrupts_off(), self._on_stack(fatal=fatal):
                head = chain + k.types.offset("atomic_notifier_head", "head")
                chain_call(k, head, 0, self._push_text(message))
            with k.cpu.interrupts_off():
                self.dump(KMSG_DUMP_PANIC, fatal=fatal)
        except (TaskExitError, TaskDeadError):
            pass  # its error has been reported; the panic goes on

    def _function(self, name: str) -> int:
        image = self._k.image
        return 0 if image is None or self._telling else image.get(name) or 0

    @contextmanager
    def _on_stack(self, *, fatal: bool = False) -> Iterator[None]:
        """Let the guest be called; on the idle task's stack, if the current one cannot be used."""
        cpu = self._k.cpu
        sp, depth = cpu.sp, cpu.depth
        if fatal:
            cpu.sp, cpu.depth = self._k.idle.sp, 0
        self._telling = True
        try:
            yield
        finally:
            self._telling = False
            cpu.sp, cpu.depth = sp, depth

    def _push_text(self, text: str) -> int:
        data = text.encode("utf-8", "surrogateescape")[: _MAX_MESSAGE - 1] + b"\0"
        at = self._k.cpu.sp = self._k.cpu.sp - len(data) & ~15
        self._k.memory.write(at, data)
        return at
