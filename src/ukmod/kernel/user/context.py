"""The address space, open files, directories and credentials of a process.

A task begins with those of init, as a kernel thread does. ``enter`` has the image make copies for the current
task, as copy_process() and execve() would, and ``leave`` gives them back, as do_exit() does.
"""

from __future__ import annotations

from errno import EAGAIN, ENOMEM
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.lib.err import is_err
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.mm.switch import count_pages, mm_of, root_of, set_mm
from ukmod.kernel.pid import PIDTYPE_PGID, PIDTYPE_SID, PIDTYPE_TGID
from ukmod.kernel.process_fs import enter_fs, of_init, set_fs
from ukmod.kernel.sched.core import PF_EXITING, PF_FORKNOEXEC
from ukmod.kernel.task_work import task_work_run
from ukmod.kernel.time.hrtimer import CLOCK_MONOTONIC, MODE_REL, hrtimer_cancel, hrtimer_setup
from ukmod.kernel.time.itimer import real_timer
from ukmod.kernel.uapi import (
    CLONE_CLEAR_SIGHAND,
    CLONE_FILES,
    CLONE_FS,
    CLONE_SIGHAND,
    CLONE_THREAD,
    CLONE_VFORK,
    CLONE_VM,
)
from ukmod.kernel.user import nproc
from ukmod.kernel.user.copy_io import copy_io, release_io
from ukmod.kernel.user.copy_seccomp import copy_seccomp, release_seccomp
from ukmod.kernel.user.dup_mmap import dup_mmap
from ukmod.kernel.user.exit import coredump_task_exit, is_last, note_exit
from ukmod.kernel.user.ptrace import PTRACE_EVENT_EXIT, ptrace_event
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.sched.core import Task

NR_OPEN_MAX: Final = 0xFFFF_FFFF
STACK_LIMIT: Final = 8 << 20
"""RLIMIT_STACK in bytes, for which room is left below the highest user address."""
RLIM_INFINITY: Final = (1 << 64) - 1
_SS_DISABLE: Final = 2
"""include/uapi/linux/signal.h"""


def enter(k: Core, image: MappedImage) -> None:
    """Give the current task an mm, files, fs and credentials of its own, until it ends.

    Raises LimitError without memory for them.
    """
    task = k.sched.task()
    task.leaving.append(partial(_leave, k, image, task))
    task.on_exit.insert(0, partial(_release, k, image))
    _init(k, image, task)
    enter_fs(k, image, task)
    _copy_context(k, image, task, task)
    _copy_namespaces(k, image, task, task)
    set_mm(k, task, _new_mm(k, image))


def enter_mm(k: Core, image: MappedImage) -> None:
    """Give the current task an mm of its own, until it ends. Raises LimitError without memory for it."""
    task = k.sched.task()
    set_mm(k, task, _new_mm(k, image))
    task.leaving.append(partial(_exit_mm, k, image, task))


def enter_files(k: Core, image: MappedImage) -> None:
    """Give the current task a table of open files of its own, until it ends. Raises LimitError."""
    task = k.sched.task()
    _set(k, task, "files", _made("files", _copied_files(k, image, image.address("init_files"))))
    task.leaving.append(partial(_exit_files, k, image, task))


def _exit_files(k: Core, image: MappedImage, task: Task) -> int:
    if _get(k, task, "files") != image.address("init_files"):
        k.cpu.call(image.address("exit_files"), task.address)
    return 0


def _exit_mm(k: Core, image: MappedImage, task: Task) -> int:
    """exit_mm(), without futexes."""
    if mm := mm_of(k, task):
        count_pages(k, mm)
        set_mm(k, task, 0)
        k.cpu.call(image.address("mmput"), mm)
    return 0


def inherit(k: Core, image: MappedImage, child: Task, flags: int) -> None:
    """copy_process(): give a new task copies of what the current one has, or shares of it, until it ends.

    Raises LimitError without memory for them, and beyond RLIMIT_NPROC; the child then has a part of it, and
    gives that back.
    """
    parent = k.sched.task()
    child.leaving.append(partial(_leave, k, image, child))
    child.on_exit.insert(0, partial(_release, k, image))
    _init(k, image, child, flags)
    k.tasks.set_pf(child, PF_FORKNOEXEC)
    _set(k, child, "nsproxy", 0)  # it does not count among the users of init's
    _copy(k, "task_struct", parent.address, child.address)
    if flags & (CLONE_VM | CLONE_VFORK) == CLONE_VM:
        _sas_ss_reset(k, child)
    if not flags & CLONE_THREAD:
        _copy_shared(k, image, parent, child, flags)
        _share_tty(k, parent, child)
    _copy_context(k, image, parent, child, flags)
    if nproc.is_over(k, image, child):
        raise LimitError("the user has as many processes as RLIMIT_NPROC allows", errno=EAGAIN)
    copy_seccomp(k, image, parent, child)
    copy_io(k, image, parent, child, flags)
    k.cpu.call(image.address("copy_semundo"), flags, child.address)
    mm = _shared_mm(k, parent) if flags & CLONE_VM else _copied_mm(k, image, parent, child)
    for member in ("mm", "active_mm"):
        _set(k, child, member, mm)
    child.root = root_of(k, mm)
    _copy_namespaces(k, image, parent, child, flags)  # a time namespace is part of the address space


def _sas_ss_reset(k: Core, child: Task) -> None:
    """Forget the signal stack, which two tasks with the same memory must not both use."""
    at = {
        name: child.address + k.types.offset("task_struct", f"sas_ss_{name}")
        for name in ("sp", "size", "flags")
    }
    k.memory.set_u64(at["sp"], 0)
    k.memory.set_u64(at["size"], 0)
    k.memory.set_u32(at["flags"], _SS_DISABLE)


def _share_tty(k: Core, parent: Task, child: Task) -> None:
    """copy_signal(): the controlling terminal is the parent's, by tty_kref_get()."""
    signal, at = _get(k, parent, "signal"), k.types.offset("signal_struct", "tty")
    if tty := k.memory.u64(signal + at):
        count = tty + k.types.offset("tty_struct", "kref")
        k.memory.set_u32(count, k.memory.u32(count) + 1)
        k.memory.set_u64(_get(k, child, "signal") + at, tty)


def _leave_tty(k: Core, image: MappedImage, task: Task) -> None:
    """disassociate_ctty(), which concerns a session's leader, and the end of __exit_signal()."""
    k.cpu.call(image.address("disassociate_ctty"), 1)
    at = _get(k, task, "signal") + k.types.offset("signal_struct", "tty")
    if tty := k.memory.u64(at):
        k.memory.set_u64(at, 0)
        k.cpu.call(image.address("tty_kref_put"), tty)


def _copy_context(k: Core, image: MappedImage, source: Task, task: Task, flags: int = 0) -> None:
    """Give a task that can be found by its pid another's credentials, directory and files.

    They are copies, unless flags of clone(2) say otherwise.
    """
    if not k.pids.publish(image, task):
        raise _no_memory("pid")
    if flags & CLONE_THREAD:  # copy_creds() looks at what dup_task_struct() has copied
        for name in ("cred", "real_cred"):
            _set(k, task, name, _get(k, source, name))
    _check("credentials", k.cpu.call(image.address("copy_creds"), task.address, flags))
    fs, files = _get(k, source, "fs"), _get(k, source, "files")
    if flags & CLONE_FS:
        _count(k, "fs_struct", "users", fs)
        set_fs(k, task, fs)
    else:
        set_fs(k, task, _made("fs", k.cpu.call(image.address("copy_fs_struct"), fs)))
    if flags & CLONE_FILES:
        _count(k, "files_struct", "count", files)
        _set(k, task, "files", files)
    elif source is not task or files == image.address("init_files"):  # a helper has its own already
        _set(k, task, "files", _made("files", _copied_files(k, image, files)))


def _copy_namespaces(k: Core, image: MappedImage, source: Task, task: Task, flags: int = 0) -> None:
    """copy_namespaces(): share them, or make new ones as the flags say."""
    _set(k, task, "nsproxy", _get(k, source, "nsproxy"))
    error = k.cpu.call(image.address("copy_namespaces"), flags, task.address)
    if error & 0xFFFF_FFFF:
        _set(k, task, "nsproxy", 0)
    _check("namespaces", error)


def _count(k: Core, struct: str, member: str, address: int) -> None:
    """One more task has a struct."""
    at = address + k.types.offset(struct, member)
    k.memory.set_u32(at, k.memory.u32(at) + 1)


_INHERITED: Final = {
    "task_struct": (
        "blocked", "personality", "atomic_flags", "timer_slack_ns", "sas_ss_sp", "sas_ss_size",
        "sas_ss_flags", "thread.fsbase", "thread.gsbase", "thread.fsindex", "thread.gsindex",
        "thread.ds", "thread.es", "self_exec_id",
    ),
    "signal_struct": ("rlim", "oom_score_adj"),
    "sighand_struct": ("action",),
    "mm_struct": (
        "get_unmapped_area", "mmap_base", "mmap_legacy_base", "mmap_compat_base", "mmap_compat_legacy_base",
        "task_size", "start_code", "end_code", "start_data", "end_data", "start_brk", "brk", "start_stack",
        "arg_start", "arg_end", "env_start", "env_end", "saved_auxv", "binfmt", "context.vdso",
        "context.vdso_image",
    ),
}  # fmt: skip
"""The members that a child has from its parent, by struct, beyond what the image's functions copy."""


def _copy_shared(k: Core, image: MappedImage, parent: Task, child: Task, flags: int) -> None:
    """Copy what threads of a process share."""
    if flags & CLONE_SIGHAND:
        k.sighands.share(child, parent)
    else:
        _copy(k, "sighand_struct", _get(k, parent, "sighand"), _get(k, child, "sighand"))
    if flags & CLONE_CLEAR_SIGHAND:
        k.cpu.call(image.address("flush_signal_handlers"), child.address, 0)
    _copy(k, "signal_struct", _get(k, parent, "signal"), _get(k, child, "signal"))
    for kind in (PIDTYPE_PGID, PIDTYPE_SID):
        k.pids.join(child, kind, k.pids.group(parent, kind))


def _copy(k: Core, struct: str, source: int, target: int) -> None:
    for name in _INHERITED[struct]:
        if k.types.has(struct, name):
            offset, size = k.types.offset(struct, name), k.types.member(struct, name).size
            k.memory.write(target + offset, k.memory.read(source + offset, size))


def _shared_mm(k: Core, parent: Task) -> int:
    """mmget()."""
    mm = _get(k, parent, "mm")
    at = mm + k.types.offset("mm_struct", "mm_users")
    k.memory.set_u32(at, k.memory.u32(at) + 1)
    return mm


def _copied_mm(k: Core, image: MappedImage, parent: Task, child: Task) -> int:
    """dup_mm(): a copy of the current task's address space, whose pages both share until one writes."""
    old, new = _get(k, parent, "mm"), _new_mm(k, image)
    if k.types.has("mm_struct", "owner"):  # mm_alloc() has made it the current task
        k.memory.set_u64(new + k.types.offset("mm_struct", "owner"), child.address)
    _copy(k, "mm_struct", old, new)
    count_pages(k, old)
    if dup_mmap(k, image, new, old):
        k.cpu.call(image.address("mmput"), new)
        raise _no_memory("address space")
    return new


def _init(k: Core, image: MappedImage, task: Task, flags: int = 0) -> None:
    """Set what copy_process() does not copy: pids, setitimer(2)'s timer.

    A process begins as the leader of a group and a session of its own, as after setsid(2).
    """
    if k.types.has("task_struct", "exec_state"):  # since v7.2
        _copy_exec_state(k, image, task, flags)
    if task.group.leader is task:
        _init_shared(k, image, task)


def _copy_exec_state(k: Core, image: MappedImage, task: Task, flags: int) -> None:
    """Give a task a copy of the current one's struct task_exec_state, or the same with its memory."""
    if not flags & CLONE_VM:
        _check("state", k.cpu.call(image.address("task_exec_state_copy"), task.address))
        return
    shared = _get(k, k.sched.task(), "exec_state")
    count = shared + k.types.offset("task_exec_state", "count")
    k.memory.set_u32(count, k.memory.u32(count) + 1)
    _set(k, task, "exec_state", shared)


def _init_shared(k: Core, image: MappedImage, task: Task) -> None:
    """Set what threads of a process share."""
    signal, own = _get(k, task, "signal"), k.pids.of(task)
    k.memory.set_u32(signal + k.types.offset("signal_struct", "live"), 1)
    k.memory.set_u64(signal + k.types.offset("signal_struct", "pids") + 8 * PIDTYPE_TGID, own)
    for kind in (PIDTYPE_PGID, PIDTYPE_SID):
        k.pids.join(task, kind, own)
    hrtimer_setup(k, real_timer(k, task), image.address("it_real_fn"), CLOCK_MONOTONIC, MODE_REL)


def _exit_timers(k: Core, image: MappedImage, task: Task) -> None:
    """Part of do_exit(): the timers of a process do not fire when it is gone."""
    hrtimer_cancel(k, real_timer(k, task))
    timers = _get(k, task, "signal") + k.types.offset("signal_struct", "posix_timers")
    if k.memory.u64(timers) not in (0, timers):
        takes_signal = "signal_struct" in str(k.types.prototype("exit_itimers"))  # before v5.19
        k.cpu.call(image.address("exit_itimers"), _get(k, task, "signal") if takes_signal else task.address)
        k.cpu.call(image.address("flush_itimer_signals"))


def _leave(k: Core, image: MappedImage, task: Task) -> int:
    """exit_signals(), exit_itimers(), exit_mm(), exit_sem(), exit_files(), exit_fs() and the last work."""
    coredump_task_exit(k, task)
    k.tasks.set_pf(task, PF_EXITING)
    k.signals.retarget(task, ~k.signals.blocked(task))
    note_exit(k, task, task.exit_code)
    if task.thread is not None:
        ptrace_event(k, image, PTRACE_EVENT_EXIT, task.exit_code)
    ends_process = is_last(k, task)
    if ends_process:
        if task.group.leader is k.tasks.init:
            k.crash.panic(f"Attempted to kill init! exitcode=0x{task.exit_code:08x}")
        _exit_timers(k, image, task)
    first = {"files": (image.address("init_files"),), "fs": (image.address("init_fs"), of_init(k, image))}
    own = {name: _get(k, task, name) not in others for name, others in first.items()}
    if mm := mm_of(k, task):
        k.cpu.call(image.address("exit_mm_release"), task.address, mm)
        _exit_mm(k, image, task)
    k.cpu.call(image.address("exit_sem"), task.address)
    for name in ("files", "fs"):
        if own[name]:
            k.cpu.call(image.address(f"exit_{name}"), task.address)
    if ends_process:
        _leave_tty(k, image, task)
    release_io(k, image, task)
    k.cpu.call(image.address("switch_task_namespaces"), task.address, 0)
    release_seccomp(k, image, task)
    task_work_run(k)  # from here on, no more work is taken
    if k.types.has("task_struct", "exec_state"):
        k.cpu.call(image.address("put_task_exec_state"), _get(k, task, "exec_state"))
    return 0


def _release(k: Core, image: MappedImage, task: Task) -> None:
    """__exit_signal() of a process, and exit_creds(), of release_task()."""
    if task.group.leader is task:
        k.sighands.free(task)
    if _get(k, task, "cred") != image.address("init_cred"):
        nproc.uncharge(k, image, task)
        k.cpu.call(image.address("exit_creds"), task.address)
        for name in ("cred", "real_cred"):
            _set(k, task, name, image.address("init_cred"))


def _get(k: Core, task: Task, member: str) -> int:
    return k.memory.u64(task.address + k.types.offset("task_struct", member))


def _set(k: Core, task: Task, member: str, value: int) -> None:
    k.memory.set_u64(task.address + k.types.offset("task_struct", member), value)


def _no_memory(what: str) -> LimitError:
    return LimitError(f"the machine has no memory for a process's {what}", errno=ENOMEM)


def _check(what: str, result: int) -> None:
    """Raise LimitError if a function has returned a negative errno, an int."""
    if error := signed(result, 4):
        raise LimitError(f"a process cannot have {what} of its own", errno=-error)


def _made(what: str, pointer: int) -> int:
    """Return ``pointer``. Raises LimitError if it is NULL or an ERR_PTR()."""
    if not pointer or is_err(pointer):
        raise _no_memory(what)
    return pointer


# -- files ----------------------------------------------------------------------------------------------


def _copied_files(k: Core, image: MappedImage, files: int) -> int:
    """dup_fd(): a copy of a table of open files. Until v6.12 it gives its error apart."""
    prototype = k.types.prototype("dup_fd")
    if prototype is not None and len(prototype.parameters) == 2:
        return k.cpu.call(image.address("dup_fd"), files, 0)
    error = k.slab.kernel_object(8)
    try:
        return k.cpu.call(image.address("dup_fd"), files, NR_OPEN_MAX, error)
    finally:
        k.slab.kfree(error)


# -- the address space ------------------------------------------------------------------------------------


def _new_mm(k: Core, image: MappedImage) -> int:
    """mm_alloc() and arch_pick_mmap_layout(): an empty address space that shares the kernel's half."""
    template = k.memory.u64(image.address("init_mm") + k.types.offset("mm_struct", "pgd"))
    k.memory.write(template + PAGE_SIZE // 2, k.memory.kernel_half(), force=True)
    mm = _made("address space", k.cpu.call(image.address("mm_alloc")))
    limit = k.slab.kernel_object(16)
    k.memory.write(limit, STACK_LIMIT.to_bytes(8, "little") + RLIM_INFINITY.to_bytes(8, "little"))
    k.cpu.call(image.address("arch_pick_mmap_layout"), mm, limit)
    k.slab.kfree(limit)
    return mm
