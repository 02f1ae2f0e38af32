"""wait4(2) and waitid(2) of programs: kernel/exit.c."""

from __future__ import annotations

from collections.abc import Callable
from errno import EAGAIN, ECHILD, EFAULT, EINVAL, ESRCH
from typing import TYPE_CHECKING, Final

from ukmod.kernel import jobctl
from ukmod.kernel.coredump import DUMPED
from ukmod.kernel.mm.uaccess import put_user
from ukmod.kernel.pid import PIDTYPE_PGID, find_vpid
from ukmod.kernel.pid_namespace import pid_vnr
from ukmod.kernel.sched.core import ERESTARTSYS, TASK_INTERRUPTIBLE, Task
from ukmod.kernel.signal_numbers import SIGCHLD, SIGCONT
from ukmod.kernel.user.exit import release, release_tracee, wait_status
from ukmod.kernel.user.pidfd import pidfd_get_pid
from ukmod.kernel.x86.entry import UserThread
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

WNOHANG, WSTOPPED, WEXITED, WCONTINUED, WNOWAIT = 1, 2, 4, 8, 0x100_0000
_WNOTHREAD, _WALL, _WCLONE = 0x2000_0000, 0x4000_0000, 0x8000_0000
_OF_ANY_KIND: Final = _WNOTHREAD | _WALL | _WCLONE
"""__WNOTHREAD has no effect: a thread can wait for any child of its process."""
P_ALL, P_PID, P_PGID, P_PIDFD = range(4)
"""include/uapi/linux/wait.h"""
CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED = range(1, 7)
"""si_code of SIGCHLD, include/uapi/asm-generic/siginfo.h."""
_STOPPED, _CONTINUED = 0x7F, 0xFFFF
"""Wait statuses: of a process that a signal has stopped, without its number; of one that continues."""
_Wanted = Callable[[Task], bool]
"""Whether a child is one that its parent waits for."""


@record
class _Change:
    """A change of a child, as waitid(2) reports it."""

    child: Task
    pid: int
    """As the current task sees it."""
    cause: int
    status: int
    wait_status: int
    """The same for wait4(2)."""
    uid: int


def wait4(k: Core, thread: UserThread | None, upid: int, status: int, options: int) -> int:
    """kernel_wait4(), of the current task: the child's pid, 0 with WNOHANG, or a negative errno."""
    if options & ~(WNOHANG | WSTOPPED | WCONTINUED | _OF_ANY_KIND):
        return -EINVAL
    if upid == -(1 << 31):
        return -ESRCH
    kind = P_PID if upid > 0 else P_ALL if upid == -1 else P_PGID
    found = _wait(k, thread, _wanted(k, kind, abs(upid)), options | WEXITED)
    if isinstance(found, int):
        return found
    if status and not put_user(k, status, found.wait_status):
        return -EFAULT
    return found.pid


def waitid(k: Core, thread: UserThread | None, which: int, upid: int, info: int, options: int) -> int:
    """kernel_waitid(), of the current task; ``info`` is a struct waitid_info of the kernel's."""
    wanted = WEXITED | WSTOPPED | WCONTINUED
    if options & ~(WNOHANG | WNOWAIT | wanted | _OF_ANY_KIND) or not options & wanted:
        return -EINVAL
    lowest = {P_ALL: upid, P_PID: 1, P_PGID: 0, P_PIDFD: 0}.get(which)
    if lowest is None or upid < lowest:
        return -EINVAL
    if which == P_PIDFD:
        found = _wait_for_pidfd(k, thread, upid, options)
    else:
        found = _wait(k, thread, _wanted(k, which, upid), options)
    if isinstance(found, int):
        return found
    if info:
        members = {"pid": found.pid, "status": found.status, "cause": found.cause, "uid": found.uid}
        for member, value in members.items():
            k.memory.set_u32(info + k.types.offset("waitid_info", member), value)
    return found.pid


def _wait_for_pidfd(k: Core, thread: UserThread | None, fd: int, options: int) -> _Change | int:
    """Wait for the process of a pidfd: with O_NONBLOCK, -EAGAIN if that has not changed."""
    if k.image is None:
        return -EINVAL
    pid, is_nonblocking = pidfd_get_pid(k, k.image, fd)
    if pid < 0:
        return pid
    flags = options | WNOHANG if is_nonblocking else options
    found = _wait(k, thread, lambda child: k.pids.of(child) == pid, flags)
    k.pids.put(pid)
    return -EAGAIN if found == 0 and not options & WNOHANG else found


def _group_of(k: Core, task: Task) -> int:
    return k.pids.group(task, PIDTYPE_PGID)


def _wanted(k: Core, kind: int, number: int) -> _Wanted:
    """eligible_pid(): with P_PGID, 0 is the group that the caller is in now."""
    if kind == P_ALL:
        return lambda _: True
    pid = find_vpid(k, number) if number else _group_of(k, k.sched.task())
    if kind == P_PGID:
        return lambda child: _group_of(k, child) == pid
    return lambda child: k.pids.of(child) == pid


def _wait(k: Core, thread: UserThread | None, wanted: _Wanted, options: int) -> _Change | int:
    """do_wait(): what has become of a child, 0 with WNOHANG, or a negative errno."""
    if thread is None:
        return -ECHILD

    def children() -> list[Task]:
        traced = [one for each in k.sched.task().group.threads for one in jobctl.tracees(k, each)]
        own = (one for one in thread.children.tasks if one in traced or _is_of_kind(k, one, options))
        mine = dict.fromkeys((*own, *traced))
        return [child for child in mine if wanted(child)]

    def is_over() -> bool:
        mine = children()
        return not mine or any(_change(k, child, options | WNOWAIT) is not None for child in mine)

    if not options & WNOHANG and thread.children.wait_event(is_over, TASK_INTERRUPTIBLE) < 0:
        return -ERESTARTSYS
    mine = children()
    found = next(filter(None, (_change(k, child, options) for child in mine)), None)
    if found is None:
        return 0 if mine else -ECHILD
    if found.child.is_zombie and not options & WNOWAIT:
        if found.child in thread.children.tasks:
            release(k, thread.children.tasks, found.child)
        else:
            release_tracee(k, found.child)
    return found


def _is_of_kind(k: Core, child: Task, options: int) -> bool:
    """eligible_child(): children that end with another signal than SIGCHLD are waited for by __WCLONE."""
    signal = k.memory.u32(child.address + k.types.offset("task_struct", "exit_signal"))
    return bool(options & _WALL) or (signal != SIGCHLD) == bool(options & _WCLONE)


def _change(k: Core, child: Task, options: int) -> _Change | None:
    """wait_consider_task(): a change that the options ask for, reported once without WNOWAIT."""
    take = not options & WNOWAIT
    tracer = jobctl.other_tracer(k, child)
    is_of_another = tracer is not None and tracer.group is not k.sched.task().group
    if child.is_zombie:
        return _end(k, child) if options & WEXITED and not is_of_another else None
    if jobctl.is_ptraced(k, child) and not is_of_another:
        code = jobctl.trapped_by(k, child, take=take)
        return _changed(k, child, CLD_TRAPPED, code, code << 8 | _STOPPED) if code else None
    if options & WSTOPPED and (signal := jobctl.stopped_by(k, child, take=take)):
        return _changed(k, child, CLD_STOPPED, signal, signal << 8 | _STOPPED)
    if options & WCONTINUED and jobctl.was_continued(k, child, take=take):
        return _changed(k, child, CLD_CONTINUED, SIGCONT, _CONTINUED)
    return None


def _changed(k: Core, child: Task, cause: int, status: int, wait_status: int) -> _Change:
    cred = k.memory.u64(child.address + k.types.offset("task_struct", "real_cred"))
    uid = k.memory.u32(cred + k.types.offset("cred", "uid"))
    return _Change(child, pid_vnr(k, child), cause, status, wait_status, uid)


def _end(k: Core, child: Task) -> _Change:
    code = wait_status(k, child)
    signal = code & 0x7F
    cause = CLD_DUMPED if code & DUMPED else CLD_KILLED if signal else CLD_EXITED
    return _changed(k, child, cause, signal or code >> 8, code)
