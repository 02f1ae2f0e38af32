"""The signals of POSIX timers, timer_create(2): each has its own struct sigqueue, kernel/time/posix-timers.c.

Timers are the image's. Their signals are queued with all others, in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.list import init_list_head, list_add_tail, list_del_init, list_empty
from ukmod.kernel.pid import PIDTYPE_PID
from ukmod.machine.abi import Int, Ptr, UInt

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.sched.core import Task

_NO_TARGET, _QUEUED, _IGNORED = -1, 0, 1
"""The results of send_sigqueue()."""
_REQUEUE_PENDING: Final = 2
"""POSIX_TIMER_REQUEUE_PENDING: the timer runs again when its signal is dequeued."""


class TimerSignal:
    """A timer's struct sigqueue. While it is queued, its list is not empty, and no other signal comes."""

    def __init__(self, kernel: Core, address: int) -> None:
        self._k = kernel
        self._address = address
        types, layout = kernel.types, Layout(kernel.types, "sigqueue")
        self._list = address + layout.list
        self._info = address + layout.info
        self._size = types.sizeof("kernel_siginfo")
        self._overrun, self._private = (
            self._info + types.offset("kernel_siginfo", f"_sifields._timer.{name}")
            for name in ("_overrun", "_sys_private")
        )

    @property
    def is_queued(self) -> bool:
        """True until the signal is dequeued."""
        return not list_empty(self._k.memory, self._list)

    def count_overrun(self) -> None:
        """The timer has expired once more while its signal is queued."""
        self._k.memory.set_u32(self._overrun, self._k.memory.u32(self._overrun) + 1 & 0xFFFF_FFFF)

    def queue(self, task: Task, *, to_thread: bool) -> bool:
        """Send it; false if it is ignored."""
        k = self._k
        signal = k.memory.u32(self._info + k.types.offset("kernel_siginfo", "si_signo"))
        k.memory.set_u32(self._overrun, 0)
        if not k.signals.send_queued(task, signal, self, to_thread=to_thread):
            return False
        pending = task.address + k.types.offset("task_struct", "pending.list")
        list_add_tail(k.memory, self._list, pending)
        return True

    def look(self) -> bytes:
        """The siginfo, as it would be dequeued now."""
        return self._k.memory.read(self._info, self._size)

    def take(self) -> bytes | None:
        """dequeue_signal(): a periodic timer runs again from here on, and tells how often it has expired."""
        k, image = self._k, self._k.image
        list_del_init(k.memory, self._list)
        if image is None:
            return None
        if (deliver := image.get("posixtimer_deliver_signal")) is not None:  # it also puts the timer
            return self._delivered(deliver)
        if k.memory.u32(self._private):
            k.cpu.call(image.address("posixtimer_rearm"), self._info)
        k.memory.set_u32(self._private, 0)  # the kernel's own
        data = k.memory.read(self._info, self._size)
        self.discard()
        return data

    def _delivered(self, deliver: int) -> bytes | None:
        """Ask the image whether the timer is still set as it was when it sent the signal: since v6.13."""
        k = self._k
        info = k.slab.kernel_object(self._size)
        k.memory.write(info, k.memory.read(self._info, self._size))
        is_valid = k.cpu.call(deliver, info, self._address) & 0xFF
        data = k.memory.read(info, self._size)
        k.slab.kfree(info)
        return data if is_valid else None

    def discard(self) -> None:
        """It is queued no longer. __sigqueue_free() frees it, or puts its timer, if that is deleted."""
        k = self._k
        list_del_init(k.memory, self._list)
        if k.image is not None:
            pending = k.slab.kernel_object(k.types.sizeof("sigpending"))
            init_list_head(k.memory, pending)
            list_add_tail(k.memory, self._list, pending)
            k.cpu.call(k.image.address("flush_sigqueue"), pending)
            k.slab.kfree(pending)


@export()
def send_sigqueue(k: Core, sigqueue: Ptr, pid: Ptr, kind: UInt) -> Int:
    """int send_sigqueue(struct sigqueue *q, struct pid *pid, enum pid_type type): until v6.12."""
    task = k.pids.task(pid)
    if task is None or task.exited:
        return _NO_TARGET
    signal = TimerSignal(k, sigqueue)
    if signal.is_queued:
        signal.count_overrun()
        return _QUEUED
    return _QUEUED if signal.queue(task, to_thread=kind == PIDTYPE_PID) else _IGNORED


@export()
def posixtimer_send_sigqueue(k: Core, timer: Ptr) -> None:
    """void posixtimer_send_sigqueue(struct k_itimer *tmr): since v6.13."""
    memory, layout = k.memory, Layout(k.types, "k_itimer")
    kind = memory.u32(timer + layout.it_pid_type)
    task = k.pids.task(memory.u64(timer + layout.it_pid))
    if task is None or task.exited:
        return
    memory.set_u32(timer + layout.it_sigqueue_seq, memory.u32(timer + layout.it_signal_seq))
    is_periodic = memory.u32(timer + layout.it_status) == _REQUEUE_PENDING
    memory.set_u8(timer + layout.it_sig_periodic, is_periodic)
    signal = TimerSignal(k, timer + layout.sigq)
    if not signal.is_queued and signal.queue(task, to_thread=kind == PIDTYPE_PID):
        count = timer + layout.rcuref
        memory.set_u32(count, memory.u32(count) + 1)


@export()
def flush_itimer_signals(k: Core) -> None:
    """void flush_itimer_signals(void): of a process that executes another program, or ends."""
    k.signals.discard_kind(k.sched.task(), TimerSignal)
