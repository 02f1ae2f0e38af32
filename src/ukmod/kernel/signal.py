"""Signals: kernel/signal.c. Pending sets are in guest memory; siginfo is kept here until dequeued."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from errno import EINVAL, ESRCH
from typing import TYPE_CHECKING, Final, Protocol

from ukmod.kernel import jobctl
from ukmod.kernel.export import export
from ukmod.kernel.freezer import try_to_freeze
from ukmod.kernel.pid import PIDTYPE_PGID
from ukmod.kernel.pid_namespace import is_initial, pid_nr_ns, task_active_pid_ns
from ukmod.kernel.sched.core import (
    PF_EXITING,
    TASK_INTERRUPTIBLE,
    TASK_TRACED,
    TASK_WAKEKILL,
    Task,
    TaskExitError,
    ThreadGroup,
)
from ukmod.kernel.sighand import NSIG, SIG_DFL, SIG_IGN, SIG_KTHREAD_KERNEL
from ukmod.kernel.signal_numbers import (
    SIGABRT,
    SIGALRM,
    SIGBUS,
    SIGCHLD,
    SIGCONT,
    SIGFPE,
    SIGILL,
    SIGKILL,
    SIGQUIT,
    SIGRTMIN,
    SIGSEGV,
    SIGSTOP,
    SIGSYS,
    SIGTRAP,
    SIGTSTP,
    SIGTTIN,
    SIGTTOU,
    SIGURG,
    SIGWINCH,
    SIGXCPU,
    SIGXFSZ,
)
from ukmod.kernel.task import INIT_PID
from ukmod.kernel.time import itimer
from ukmod.machine.abi import Int, Ptr, Short, ULong
from ukmod.record import field, mutable, record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

SEND_SIG_NOINFO, SEND_SIG_PRIV = 0, 1
"""Special values of a struct kernel_siginfo * that are not pointers."""
SI_USER, SI_KERNEL, SI_ASYNCIO = 0, 0x80, -4
_SIGINFO: Final = struct.Struct("<iiixxxxQH")
"""The first members of struct kernel_siginfo: si_signo, si_errno, si_code, si_addr, si_addr_lsb."""
_SENDER: Final = 16
"""The offset of si_pid, in the siginfo of a signal that a process has sent."""


def sigmask(*signals: int) -> int:
    """The set of these signals."""
    return sum(1 << (signal - 1 & 63) for signal in set(signals))  # as x86 shifts


_SYNCHRONOUS = sigmask(SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS)
_COREDUMP = sigmask(SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS)
SIGNAL_GROUP_EXIT: Final = 0x4
SIGNAL_UNKILLABLE: Final = 0x40
"""include/linux/sched/signal.h"""
_IGNORED = sigmask(SIGCONT, SIGCHLD, SIGWINCH, SIGURG)
_KERNEL_ONLY = sigmask(SIGKILL, SIGSTOP)
_STOP = sigmask(SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU)


def _has_sender(info: bytes) -> bool:
    """has_si_pid_and_uid()."""
    signal, _, code = struct.unpack_from("<iii", info)
    return bool(code <= SI_USER or signal == SIGCHLD)


class Info(Protocol):
    """The kernel_siginfo of a signal that is pending: a struct sigqueue."""

    def take(self) -> bytes | None:
        """The siginfo for the task, which has dequeued the signal; None if the signal is void by now."""

    def discard(self) -> None:
        """The signal will not be dequeued."""

    def look(self) -> bytes:
        """The siginfo, of which the signal stays queued."""


@record
class _Info:
    data: bytes

    def take(self) -> bytes:
        return self.data

    def discard(self) -> None: ...

    def look(self) -> bytes:
        return self.data


@mutable
class _Signals:
    """The state of a task's signals outside its task_struct and sighand_struct."""

    queue: list[tuple[int, Info]] = field(default_factory=list)
    """Each signal with its kernel_siginfo, oldest first."""
    fatal: int = 0
    """The signal that will end the process: signal_struct.group_exit_code."""


class Signals:
    """Sends, dequeues and ignores signals."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._tasks: dict[Task, _Signals] = {}
        self._shared: dict[ThreadGroup, list[tuple[int, Info]]] = {}
        """The queues of signals that any thread of a group takes."""
        types = kernel.types
        self._blocked = types.offset("task_struct", "blocked")
        self._info_size = types.sizeof("kernel_siginfo") if types.has("kernel_siginfo", "si_signo") else 48

    def of(self, task: Task) -> _Signals:
        """A task's signals."""
        if (found := self._tasks.get(task)) is None:
            found = self._tasks[task] = _Signals()
            task.on_exit.append(self._forget)
        return found

    def _forget(self, task: Task) -> None:
        self._tasks.pop(task, None)
        if task.group.leader is task:
            self._shared.pop(task.group, None)

    def _queue(self, task: Task, *, shared: bool) -> list[tuple[int, Info]]:
        """The queue of a task's own signals, or that of its group."""
        own = self.of(task)
        return self._shared.setdefault(task.group, []) if shared else own.queue

    def queued(self, task: Task, *, shared: bool) -> list[bytes]:
        """The siginfo of each signal that is queued, oldest first."""
        return [info.look() for _, info in self._queue(task, shared=shared)]

    def pending(self, task: Task) -> int:
        """The set of signals that a task may take: its own, and those of its group."""
        own = self._pending(task, shared=False)
        return own | self._pending(task, shared=True) if self._shares(task) else own

    def _pending(self, task: Task, *, shared: bool) -> int:
        """A task's own set of pending signals, or that of its group."""
        return self._k.tasks.shared_pending(task) if shared else self._k.tasks.pending(task)

    def _set_pending(self, task: Task, signals: int, *, shared: bool) -> None:
        (self._k.tasks.set_shared_pending if shared else self._k.tasks.set_pending)(task, signals)

    def _sets(self, task: Task) -> tuple[bool, ...]:
        """Both values of ``shared`` for a thread of a program, else the one."""
        return (False, True) if self._shares(task) else (False,)

    def _shares(self, task: Task) -> bool:
        """True for a thread of a program; another task has one set of signals."""
        return task.thread is not None and self._k.types.has("signal_struct", "shared_pending")

    def blocked(self, task: Task) -> int:
        """The set ``task->blocked``."""
        return self._k.memory.u64(task.address + self._blocked)

    def unblock(self, task: Task, signal: int) -> None:
        """force_sig_info_to_task(): a signal that is blocked or ignored has its default action."""
        blocked = self.blocked(task)
        if blocked & sigmask(signal) or self._k.sighands.handler(task, signal) == SIG_IGN:
            self._k.sighands.set_handler(task, signal, SIG_DFL)
            self._k.memory.set_u64(task.address + self._blocked, blocked & ~sigmask(signal))
            self.recalc(task)
        if self.is_unkillable(task) and self._k.sighands.handler(task, signal) == SIG_DFL:
            at = self._group_flags(task)
            self._k.memory.set_u32(at, self._k.memory.u32(at) & ~SIGNAL_UNKILLABLE)

    def _group_flags(self, task: Task) -> int:
        """The address of ``task->signal->flags``."""
        types = self._k.types
        shared = self._k.memory.u64(task.address + types.offset("task_struct", "signal"))
        return shared + types.offset("signal_struct", "flags")

    def is_unkillable(self, task: Task) -> bool:
        """SIGNAL_UNKILLABLE: it is an init, for which no signal has its default action."""
        if task.thread is None:
            return task.group.leader.pid == INIT_PID
        return bool(self._k.memory.u32(self._group_flags(task)) & SIGNAL_UNKILLABLE)

    def _is_from_above(self, task: Task) -> bool:
        """True if the current task lives in a pid namespace above that of ``task``."""
        namespace = task_active_pid_ns(self._k, task)
        return not is_initial(self._k, namespace) and not pid_nr_ns(
            self._k, self._k.pids.of(self._k.sched.task()), namespace
        )

    def _ignored(self, task: Task, signal: int, *, force: bool) -> bool:
        if self.blocked(task) & sigmask(signal) or not signal:
            return False  # what lies before the first action is no handler
        if task.thread is not None and signal != SIGKILL and jobctl.is_ptraced(self._k, task):
            return False  # the tracer decides
        handler = self._k.sighands.handler(task, signal)
        if handler == SIG_DFL and self.is_unkillable(task):
            return not (force and sigmask(signal) & _KERNEL_ONLY)
        if task.is_kthread and handler == SIG_KTHREAD_KERNEL and not force:
            return True
        return handler == SIG_IGN or (handler == SIG_DFL and bool(_IGNORED & sigmask(signal)))

    def send(
        self, task: Task, signal: int, info: bytes | None = None, *, force: bool = False,
        to_thread: bool = False,
    ) -> None:  # fmt: skip
        """send_signal_locked(): make ``signal`` pending and wake the task if needed.

        ``info`` is a struct kernel_siginfo or None; ``force``: the signal comes from the kernel itself. Any
        thread of the task's process may take it, unless it is sent ``to_thread``.
        """
        if task.exited:
            return
        self._prepare(task, signal)
        shared = not to_thread and self._shares(task)
        if self._ignored(task, signal, force=force):
            return
        if signal < SIGRTMIN and self._pending(task, shared=shared) & sigmask(signal):
            return
        has_info = signal != SIGKILL and not task.is_kthread
        content = _Info(info or self.info(signal, SI_USER)) if has_info else None
        self._pend(task, signal, content, shared=shared)

    def send_queued(self, task: Task, signal: int, info: Info, *, to_thread: bool) -> bool:
        """send_sigqueue(): make a signal pending with its own siginfo; false if it is ignored."""
        self._prepare(task, signal)
        if self._ignored(task, signal, force=False):
            return False
        self._pend(task, signal, info, shared=not to_thread and self._shares(task))
        return True

    def _pend(self, task: Task, signal: int, info: Info | None, *, shared: bool) -> None:
        """Add a signal to those that are pending, and wake whoever takes it."""
        if info is not None:
            self._queue(task, shared=shared).append((signal, info))
        self._k.sighands.notify(task)
        self._set_pending(task, self._pending(task, shared=shared) | sigmask(signal), shared=shared)
        if (target := self._target(task, signal, shared=shared)) is not None:
            self._complete(target, signal)

    def _target(self, task: Task, signal: int, *, shared: bool) -> Task | None:
        """complete_signal(): the thread that shall take a signal; None if each one blocks it."""
        threads = [task, *(one for one in task.group.threads if one is not task)] if shared else [task]
        able = [one for one in threads if self._wants(one, signal)]
        idle = (one for one in able if not self._k.tasks.signal_pending(one))
        return next(idle, able[0] if able else None)

    def _wants(self, task: Task, signal: int) -> bool:
        """wants_signal(): it does not block the signal, and does not end."""
        if len(task.group.threads) > 1 and self._k.tasks.pf(task) & PF_EXITING:
            return False
        return signal == SIGKILL or not self.blocked(task) & sigmask(signal)

    def _complete(self, task: Task, signal: int) -> None:
        """The rest of complete_signal(): wake the thread that takes a signal, or all if the process ends."""
        fatal = signal == SIGKILL
        spared = _STOP | self._waits_for(task)
        if signal and self._k.sighands.handler(task, signal) == SIG_DFL and not sigmask(signal) & spared:
            fatal = self._end_process(task, signal)
        if not fatal or task.thread is None:
            self._wake(task, fatal=fatal)
            return
        for thread in task.group.threads:
            jobctl.clear_stop(self._k, thread)
            self._wake(thread, fatal=True)

    def _waits_for(self, task: Task) -> int:
        """``task->real_blocked``: the signals that sigtimedwait(2) takes, which the task blocks otherwise."""
        if task.thread is None:
            return 0
        return self._k.memory.u64(task.address + self._k.types.offset("task_struct", "real_blocked"))

    def _wake(self, task: Task, *, fatal: bool) -> None:
        """signal_wake_up()."""
        self._k.tasks.set_flag(task, self._k.tasks.tif.sigpending)
        self._k.sched.wake(task, TASK_INTERRUPTIBLE | (TASK_WAKEKILL | TASK_TRACED if fatal else 0))

    def set_blocked(self, task: Task, blocked: int) -> None:
        """__set_task_blocked(): what it takes no longer, other threads of its process shall take."""
        newly = blocked & ~self.blocked(task)
        self._k.memory.set_u64(task.address + self._blocked, blocked)
        self.retarget(task, newly)
        self.recalc(task)

    def retarget(self, task: Task, signals: int) -> None:
        """retarget_shared_pending(): have other threads take pending signals that a task does not."""
        left = self._k.tasks.shared_pending(task) & signals if self._shares(task) else 0
        others = [one for one in task.group.threads if one is not task] if left else []
        for signal in range(1, NSIG + 1):
            if left >> (signal - 1) & 1 and (found := next(self._able(others, signal), None)) is not None:
                self._wake(found, fatal=False)

    def _able(self, threads: list[Task], signal: int) -> Iterator[Task]:
        return (one for one in threads if self._wants(one, signal))

    def _prepare(self, task: Task, signal: int) -> None:
        """prepare_signal(): a process that a signal has stopped runs again by SIGCONT."""
        if sigmask(signal) & _STOP:
            self._discard_of_group(task, sigmask(SIGCONT))
        elif signal == SIGCONT:
            self._discard_of_group(task, _STOP)
            if task.thread is not None:
                jobctl.resume(self._k, task)

    def _end_process(self, task: Task, signal: int) -> bool:
        """complete_signal(), for a signal that ends a process; True if its sleep ends even if only that may.

        A program in ring 3 leaves by the image's get_signal(). That looks for the signal in guest memory, and
        one after which memory is dumped is just pending.
        """
        k = self._k
        if task.thread is not None:
            if sigmask(signal) & _COREDUMP or (signal != SIGKILL and jobctl.is_ptraced(k, task)):
                return False
            if k.memory.u32(self._group_flags(task)) & SIGNAL_GROUP_EXIT:
                return signal == SIGKILL
            shared = k.memory.u64(task.address + k.types.offset("task_struct", "signal"))
            for member, value in (("flags", SIGNAL_GROUP_EXIT), ("group_exit_code", signal)):
                k.memory.set_u32(shared + k.types.offset("signal_struct", member), value)
        else:
            self.of(task).fatal = self.of(task).fatal or signal
        for thread in task.group.threads:
            k.tasks.set_pending(thread, k.tasks.pending(thread) | sigmask(SIGKILL))
        return True

    def info(self, signal: int, code: int, *, error: int = 0, address: int = 0, lsb: int = 0) -> bytes:
        """A struct kernel_siginfo; ``address`` and ``lsb`` are a fault's si_addr and si_addr_lsb."""
        return _SIGINFO.pack(signal, error, code, address, lsb & 0xFFFF).ljust(self._info_size, b"\0")

    def send_info(self, task: Task, signal: int, info: int, *, to_thread: bool = False) -> int:
        """send_sig_info() with a guest's siginfo pointer, SEND_SIG_NOINFO or SEND_SIG_PRIV; 0 or -EINVAL.

        Signal 0 is sent like any other, and shares its bit with signal 64.
        """
        if not 0 <= signal <= NSIG:
            return -EINVAL
        if info in (SEND_SIG_NOINFO, SEND_SIG_PRIV):
            code = SI_KERNEL if info == SEND_SIG_PRIV else SI_USER
            content = self.info(signal, code)
            force = info == SEND_SIG_PRIV or self._is_from_above(task)
        else:
            content, force = self._k.memory.read(info, self._info_size), self._is_from_above(task)
            if force and _has_sender(content):
                content = content[:_SENDER] + bytes(4) + content[_SENDER + 4 :]
        self.send(task, signal, content, force=force, to_thread=to_thread)
        return 0

    def send_to_group(self, task: Task, signal: int, *, priv: bool) -> int:
        """group_send_sig_info(): signal 0 only asks whether the task exists; 0 or -EINVAL."""
        return self.send_info(task, signal, SEND_SIG_PRIV if priv else SEND_SIG_NOINFO) if signal else 0

    def recalc(self, task: Task) -> None:
        """recalc_sigpending()."""
        pending = bool(self.pending(task) & ~self.blocked(task))
        pending |= task.thread is not None and jobctl.is_to_stop(self._k, task)
        self._k.tasks.set_flag(task, self._k.tasks.tif.sigpending, to=pending)

    def discard(self, task: Task, signals: int) -> None:
        """flush_sigqueue_mask(): discard pending signals of a set, the task's own and its group's."""
        for shared in self._sets(task):
            self._drop(task, lambda signal, _: bool(sigmask(signal) & signals), shared=shared)
            self._set_pending(task, self._pending(task, shared=shared) & ~signals, shared=shared)

    def discard_kind(self, task: Task, kind: type[Info]) -> None:
        """Discard the pending signals that a task or its group has with siginfo of this kind."""
        for shared in self._sets(task):
            self._drop(task, lambda _, info: isinstance(info, kind), shared=shared)

    def _drop(self, task: Task, is_gone: Callable[[int, Info], bool], *, shared: bool) -> None:
        """Take signals off a queue; those of which no other is queued are pending no longer."""
        queue = self._queue(task, shared=shared)
        gone = [one for one in queue if is_gone(*one)]
        queue[:] = [one for one in queue if not is_gone(*one)]
        cleared = sigmask(*(signal for signal, _ in gone)) & ~sigmask(*(signal for signal, _ in queue))
        self._set_pending(task, self._pending(task, shared=shared) & ~cleared, shared=shared)
        for _, info in gone:
            info.discard()

    def _discard_of_group(self, task: Task, signals: int) -> None:
        for thread in task.group.threads:
            self.discard(thread, signals)

    def dequeue(self, task: Task, mask: int) -> tuple[int, bytes] | None:
        """dequeue_signal(): remove and return the next signal not in ``mask``, with its siginfo."""
        info = None
        while info is None and (found := self._next(task, mask)) is not None:
            signal, queued = found
            info = queued.take()
        # Another cause may have set TIF_SIGPENDING: get_signal() would be called for ever.
        self.recalc(task)
        return (signal, info) if info is not None else None

    def _next(self, task: Task, mask: int) -> tuple[int, Info] | None:
        own = self._take(task, mask, shared=False)
        if own is not None or not self._shares(task):
            return own
        found = self._take(task, mask, shared=True)
        if found is not None and found[0] == SIGALRM:
            itimer.rearm(self._k, task)
        return found

    def _take(self, task: Task, mask: int, *, shared: bool) -> tuple[int, Info] | None:
        """__dequeue_signal(), of a task's own signals or of its group's."""
        pending = self._pending(task, shared=shared)
        if not (ready := pending & ~mask):
            return None
        ready = ready & _SYNCHRONOUS or ready
        signal = (ready & -ready).bit_length()
        queue = self._queue(task, shared=shared)
        index = next((n for n, (queued, _) in enumerate(queue) if queued == signal), None)
        info = queue.pop(index)[1] if index is not None else _Info(self.info(signal, SI_USER))
        if all(queued != signal for queued, _ in queue):
            self._set_pending(task, pending & ~sigmask(signal), shared=shared)
        return signal, info

    def deliver(self) -> None:
        """get_signal(): at the return to user space a process freezes, and a fatal signal ends it."""
        task = self._k.sched.task()
        if try_to_freeze(self._k):
            self.recalc(task)
        if signal := self.of(task).fatal:
            raise TaskExitError(self._k.core_dump.dump(task, signal))


@export()
def kernel_sigaction(k: Core, signal: Int, action: Ptr) -> None:
    """void kernel_sigaction(int sig, __sighandler_t action): allow_signal() and disallow_signal()."""
    task = k.sched.task()
    k.sighands.set_handler(task, signal, action)
    if action == SIG_IGN:
        k.signals.discard(task, sigmask(signal))
        k.signals.recalc(task)


@export()
def send_sig_info(k: Core, signal: Int, info: Ptr, task: Ptr) -> Int:
    """``int send_sig_info(int sig, struct kernel_siginfo *info, struct task_struct *p)``."""
    return k.signals.send_info(k.tasks.at(task), signal, info, to_thread=True)


@export()
def send_sig(k: Core, signal: Int, task: Ptr, priv: Int) -> Int:
    """``int send_sig(int sig, struct task_struct *p, int priv)``."""
    info = Ptr(SEND_SIG_PRIV if priv else SEND_SIG_NOINFO)
    return send_sig_info(k, signal, info, task)


@export()
def force_sig(k: Core, signal: Int) -> None:
    """void force_sig(int sig): send to the current task, which can neither ignore nor block it."""
    task = k.sched.task()
    k.signals.unblock(task, signal)
    k.signals.send_info(task, signal, SEND_SIG_PRIV, to_thread=True)


@export()
def kill_pid(k: Core, pid: Ptr, signal: Int, priv: Int) -> Int:
    """``int kill_pid(struct pid *pid, int sig, int priv)``: 0, -ESRCH or -EINVAL."""
    task = k.pids.task(pid)
    if task is None:
        return -ESRCH
    return k.signals.send_to_group(task, signal, priv=bool(priv))


@export()
def kill_pgrp(k: Core, pid: Ptr, signal: Int, priv: Int) -> Int:
    """``int kill_pgrp(struct pid *pid, int sig, int priv)``: 0 if one of its processes took it."""
    members = k.pids.members(pid, PIDTYPE_PGID)
    results = [k.signals.send_to_group(task, signal, priv=bool(priv)) for task in members]
    return 0 if 0 in results else results[-1] if results else -ESRCH


@export()
def send_sig_mceerr(k: Core, code: Int, address: Ptr, lsb: Short, task: Ptr) -> Int:
    """``int send_sig_mceerr(int code, void __user *addr, short lsb, struct task_struct *t)``: SIGBUS."""
    found = k.tasks.at(task)
    k.signals.send(found, SIGBUS, k.signals.info(SIGBUS, code, address=address, lsb=lsb), to_thread=True)
    return 0


@export(gpl=True)
def kill_pid_usb_asyncio(k: Core, signal: Int, error: Int, value: ULong, pid: Ptr, cred: Ptr) -> Int:
    """``int kill_pid_usb_asyncio(int sig, int errno, sigval_t addr, struct pid *, const struct cred *)``."""
    del cred
    if not 0 <= signal <= NSIG:
        return -EINVAL
    if (task := k.pids.task(pid)) is None:
        return -ESRCH
    if signal:
        k.signals.send(task, signal, k.signals.info(signal, SI_ASYNCIO, error=error, address=value))
    return 0


@export()
def flush_signals(k: Core, task: Ptr) -> None:
    """void flush_signals(struct task_struct *t)."""
    found = k.tasks.at(task)
    k.tasks.set_flag(found, k.tasks.tif.sigpending, to=False)
    k.signals.discard(found, (1 << NSIG) - 1)


@export()
def recalc_sigpending(k: Core) -> None:
    """void recalc_sigpending(void)."""
    k.signals.recalc(k.sched.task())


@export(gpl=True, adapts=True)
def dequeue_signal(k: Core, first: Ptr, second: Ptr, third: Ptr, fourth: Ptr) -> Int:
    """``int dequeue_signal([struct task_struct *,] sigset_t *mask, kernel_siginfo_t *[, enum pid_type *])``.

    v5.10 has no type, v6.12 no task; v6.1 has both.
    """
    prototype = k.types.prototype("dequeue_signal")
    of_task = prototype is None or str(prototype.parameters[0].type) == "struct task_struct *"
    has_type = prototype is None or len(prototype.parameters) == 3 + of_task
    task = k.tasks.at(first) if of_task else k.sched.task()
    mask, info, kind = (second, third, fourth) if of_task else (first, second, third)
    if (found := k.signals.dequeue(task, k.memory.u64(mask))) is None:
        return 0
    k.memory.write(info, found[1])
    if task.thread is not None and sigmask(found[0]) & _STOP:
        jobctl.set_dequeued(k, task)
    if has_type:
        k.memory.set_u32(kind, 0)
    return found[0]


@export()
def sigprocmask(k: Core, how: Int, new: Ptr, old: Ptr) -> Int:
    """``int sigprocmask(int how, sigset_t *set, sigset_t *oldset)``."""
    task, memory = k.sched.task(), k.memory
    blocked, mask = k.signals.blocked(task), memory.u64(new)
    if old:
        memory.set_u64(old, blocked)
    actions = {0: blocked | mask, 1: blocked & ~mask, 2: mask}
    if how not in actions:
        return -EINVAL
    k.signals.set_blocked(task, actions[how])
    return 0
