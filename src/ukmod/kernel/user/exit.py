"""How the threads of a program end, and how its process reaches its parent then: kernel/exit.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel import jobctl
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.mm.switch import mm_of
from ukmod.kernel.pid_namespace import child_reaper, namespace_member, task_active_pid_ns
from ukmod.kernel.sched.core import PF_EXITING, TASK_NOLOAD, TASK_UNINTERRUPTIBLE, Task
from ukmod.kernel.signal import SIGNAL_GROUP_EXIT
from ukmod.kernel.signal_numbers import SIGCHLD

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_EXIT_ZOMBIE: Final = 0x20
_PF_SIGNALED: Final = 0x400
_EXECUTING: Final = ("group_exec_task", "group_exit_task")
"""signal_struct: the thread that waits in execve() for the end of the others; the second until v5.15."""


def exit_notify(k: Core, image: MappedImage, task: Task) -> int:
    """Tell the parent that the current task ends; the last of its life, except its credentials.

    A leader waits for the other threads first. It stays a zombie until its parent waits for it, unless that
    does not want to know.
    """
    _exit_ptrace(k, task)
    _forget_children(k, image, task)
    k.memory.set_u32(task.address + k.types.offset("task_struct", "exit_code"), task.exit_code)
    if len(task.group.threads) > 1:
        _wait_for_threads(k, task)
    if task.group.leader is not task:
        if jobctl.is_ptraced(k, task):
            _report_thread(k, image, task)
        return 0
    task.exit_code = wait_status(k, task)
    jobctl.kill_orphaned_pgrp(k, task, task.parent, gone=task)
    parent = task.parent.thread if task.parent is not None else None
    if parent is None or task not in parent.children.tasks:
        return 0
    k.memory.set_u32(task.address + k.types.offset("task_struct", "exit_code"), task.exit_code)
    _become_zombie(k, task)
    task.is_zombie = True
    if (tracer := jobctl.other_tracer(k, task)) is None:
        _report_end(k, image, task)
        return 0
    k.cpu.call(image.address("do_notify_parent"), task.address, SIGCHLD)
    if tracer.thread is not None:
        tracer.thread.children.wake_all()
    return 0


def _report_thread(k: Core, image: MappedImage, task: Task) -> None:
    """Have a traced thread, which no parent waits for, be a zombie until its tracer waits for it."""
    tracer = jobctl.tracer_of(k, task)
    _become_zombie(k, task)
    is_unwanted = k.cpu.call(image.address("do_notify_parent"), task.address, SIGCHLD) & 0xFF
    task.is_zombie = not is_unwanted
    if tracer.thread is not None:
        tracer.thread.children.wake_all()


def _report_end(k: Core, image: MappedImage, task: Task) -> None:
    """Tell the parent of a zombie about it."""
    _leave_to_parent(k, task, unwanted=_notify_parent(k, image, task))


def _leave_to_parent(k: Core, child: Task, *, unwanted: bool) -> None:
    """Have its parent wait for a zombie, unless it is unwanted, or init's, which executes no program."""
    parent = child.parent.thread if child.parent is not None else None
    if parent is None:
        k.sched.release_task(child)
        return
    if unwanted:
        release(k, parent.children.tasks, child)
    parent.children.wake_all()


def _notify_parent(k: Core, image: MappedImage, task: Task) -> bool:
    """do_notify_parent(): send the signal of a process's end; true if its parent does not wait for it."""
    signal = k.memory.u32(task.address + k.types.offset("task_struct", "exit_signal"))
    return bool(k.cpu.call(image.address("do_notify_parent"), task.address, signal) & 0xFF)


def _exit_ptrace(k: Core, task: Task) -> None:
    """exit_ptrace(): the tracees of a task that ends run on without it, or are killed (PTRACE_O_EXITKILL).

    Those that have ended are left to their parents.
    """
    tracees = jobctl.tracees(k, task) if k.image is not None else []
    if k.image is None or not tracees:
        return
    zombies = [one for one in tracees if one.is_zombie and _is_only_traced(k, one)]
    dead = k.slab.kernel_object(16)  # a list of those that nobody would wait for
    init_list_head(k.memory, dead)
    k.cpu.call(k.image.address("exit_ptrace"), task.address, dead)
    unwanted = jobctl.on_ptrace_list(k, dead)
    k.slab.kfree(dead)
    for one in zombies:
        if one.group.leader is not one:
            k.sched.release_task(one)
        else:
            _leave_to_parent(k, one, unwanted=one in unwanted)


def _is_only_traced(k: Core, task: Task) -> bool:
    """True if the tracer of a task does not wait for it as its parent."""
    return task.group.leader is not task or jobctl.other_tracer(k, task) is not None


def _ptrace_release_task(k: Core, task: Task) -> None:
    """ptrace_release_task(): its tracer no longer has it on its list."""
    if k.image is not None and jobctl.is_ptraced(k, task):
        k.cpu.call(k.image.address("__ptrace_unlink"), task.address)


def _become_zombie(k: Core, task: Task) -> None:
    k.memory.set_u32(task.address + k.types.offset("task_struct", "exit_state"), _EXIT_ZOMBIE)


def _wait_for_threads(k: Core, task: Task) -> None:
    """delay_group_leader(): a leader is a zombie that nobody can wait for, as long as there are others.

    It is no leader any longer if one of them executes a program: see ``release_leader``.
    """
    _become_zombie(k, task)
    group = task.group
    if group.leader is not task or task.thread is None:
        return
    if k.memory.u32(_shared(k, task, "notify_count")) >> 31:
        _wake_executing(k, task)
    task.thread.children.wait_event(
        lambda: group.leader is not task or group.threads == [task], TASK_UNINTERRUPTIBLE | TASK_NOLOAD
    )


def wait_status(k: Core, task: Task) -> int:
    """The wait status of a task that ends: the one with which all threads were ended, or its own."""
    if k.memory.u32(_shared(k, task, "flags")) & SIGNAL_GROUP_EXIT:
        return k.memory.u32(_shared(k, task, "group_exit_code"))
    return task.exit_code


def _shared(k: Core, task: Task, member: str) -> int:
    """The address of a member of a task's signal_struct."""
    signal = k.memory.u64(task.address + k.types.offset("task_struct", "signal"))
    return signal + k.types.offset("signal_struct", member)


def _forget_children(k: Core, image: MappedImage, task: Task) -> None:
    """forget_original_parent(): another thread, or else a reaper, waits for the children of a task."""
    thread = task.thread
    if thread is None:
        return
    others = (one for one in task.group.threads if one is not task)
    alive = next((one for one in others if not k.tasks.pf(one) & PF_EXITING), None)
    if alive is not None:
        _hand_on(k, task, alive)
        return
    if child_reaper(k, task) is task:
        k.cpu.call(image.address("zap_pid_ns_processes"), task_active_pid_ns(k, task))
    left = list(thread.children.tasks)
    thread.children.tasks.clear()
    reaper = _find_new_reaper(k, task)
    k.process_lists.reparent(task, reaper)
    for child in left:
        is_alive = not child.is_zombie
        _reparent_leader(k, image, child, reaper)
        if is_alive:
            jobctl.kill_orphaned_pgrp(k, child, task, gone=task)


def _hand_on(k: Core, task: Task, alive: Task) -> None:
    """Have another thread of a process get the children of one that ends, and be its namespace's init."""
    if child_reaper(k, task) is task:
        namespace = task_active_pid_ns(k, task)
        k.memory.set_u64(namespace_member(k, namespace, "child_reaper"), alive.address)
    k.process_lists.reparent(task, alive)


def _find_new_reaper(k: Core, task: Task) -> Task:
    """find_new_reaper(): a subreaper above a process that ends, or else an init."""
    last, namespace = child_reaper(k, task), task_active_pid_ns(k, task)
    if last is task:
        return k.tasks.init
    found = task.parent if _is_flagged(k, task, "has_child_subreaper") else None
    while found is not None and found is not last and task_active_pid_ns(k, found) == namespace:
        alive = next((one for one in found.group.threads if not k.tasks.pf(one) & PF_EXITING), None)
        if alive is not None and _is_flagged(k, found, "is_child_subreaper"):
            return alive
        found = found.parent
    return last


def inherit_subreaper(k: Core, child: Task) -> None:
    """copy_process(): a new process knows whether there is a subreaper above it."""
    names = ("has_child_subreaper", "is_child_subreaper")
    if child.parent is not None and any(_is_flagged(k, child.parent, name) for name in names):
        bit = k.types.member("signal_struct", names[0]).bit_offset
        at = _shared(k, child, names[0])
        k.memory.write(at, bytes((k.memory.u8(at) | 1 << bit,)))


def _is_flagged(k: Core, task: Task, member: str) -> bool:
    """A bit of a task's signal_struct."""
    bit = k.types.member("signal_struct", member).bit_offset
    return bool(k.memory.u8(_shared(k, task, member)) >> bit & 1)


def _reparent_leader(k: Core, image: MappedImage, child: Task, reaper: Task) -> None:
    """Have another process wait for one; if that executes no program, it waits at once."""
    init = reaper.thread
    adopted = init.children.tasks if init is not None else []
    adopted.append(child)
    k.memory.set_u32(child.address + k.types.offset("task_struct", "exit_signal"), SIGCHLD)
    if (
        child.is_zombie
        and not jobctl.is_ptraced(k, child)
        and (init is None or _notify_parent(k, image, child))
    ):
        release(k, adopted, child)
    if init is not None:
        init.children.wake_all()


def release_tracee(k: Core, child: Task) -> None:
    """wait_task_zombie(): a tracer knows of an end; now the parent can wait, unless that was a thread's."""
    _ptrace_release_task(k, child)
    if child.group.leader is not child:
        k.sched.release_task(child)
    elif k.image is not None:
        _report_end(k, k.image, child)


def release(k: Core, children: list[Task], child: Task) -> None:
    """wait_task_zombie(): the parent of a process knows that it has ended."""
    _ptrace_release_task(k, child)
    children.remove(child)
    k.sched.release_task(child)


# -- threads ----------------------------------------------------------------------------------------------


def count_thread(k: Core, task: Task) -> None:
    """copy_process(): one more thread shares the structs of its group."""
    for member in ("nr_threads", "live", "quick_threads"):
        _count(k, task, member, 1)
    k.sighands.count(task, 1)


def _count(k: Core, task: Task, member: str, change: int) -> int:
    """Change a count in the signal_struct that threads share, if there is one; returns it."""
    if not k.types.has("signal_struct", member):
        return 0
    at = _shared(k, task, member)
    count = (k.memory.u32(at) + change) & 0xFFFF_FFFF
    k.memory.set_u32(at, count)
    return count


def is_last(k: Core, task: Task) -> bool:
    """do_exit(): count a thread that ends; true if all others of its group have ended, or do."""
    return _count(k, task, "live", -1) == 0


def note_exit(k: Core, task: Task, code: int) -> None:
    """synchronize_group_exit(): the last thread that ends by itself has the exit code of all."""
    flags = _shared(k, task, "flags")
    others = (one for one in task.group.threads if one is not task)
    if not k.memory.u32(flags) & SIGNAL_GROUP_EXIT and all(one.is_leaving for one in others):
        k.memory.set_u32(flags, SIGNAL_GROUP_EXIT)
        k.memory.set_u32(_shared(k, task, "group_exit_code"), code)


def release_thread(k: Core, task: Task) -> None:
    """__exit_signal(): a thread has left its group, for which its leader and execve() may wait."""
    group = task.group
    if group.leader is task or task not in group.threads:
        return
    _ptrace_release_task(k, task)
    group.threads.remove(task)
    k.process_lists.unlink_thread(task)
    _count(k, task, "nr_threads", -1)
    k.sighands.count(task, -1)
    awaited = k.memory.u32(_shared(k, task, "notify_count"))
    if awaited and not awaited >> 31 and not _count(k, task, "notify_count", -1):
        _wake_executing(k, task)
    if group.leader.thread is not None:  # one that could not be made has none of its own
        group.leader.thread.children.wake_all()


def _wake_executing(k: Core, task: Task) -> None:
    member = next(name for name in _EXECUTING if k.types.has("signal_struct", name))
    if address := k.memory.u64(_shared(k, task, member)):
        k.sched.wake(k.tasks.at(address))


def release_leader(k: Core, before: Task) -> None:
    """release_task(), of de_thread(): the current thread, which executes a program, leads its group now."""
    task = k.sched.task()
    group = task.group
    group.leader = task
    k.process_lists.lead(task, before)
    parent = task.parent.thread if task.parent is not None else None
    if parent is not None and before in parent.children.tasks:
        parent.children.tasks[parent.children.tasks.index(before)] = task
    release_thread(k, before)


def _core_state(k: Core, task: Task) -> int:
    """The struct core_state while a core dump of the process is written: the mm's, until v5.15; or 0."""
    if k.types.has("signal_struct", "core_state"):
        return k.memory.u64(_shared(k, task, "core_state"))
    mm = mm_of(k, task)
    return k.memory.u64(mm + k.types.offset("mm_struct", "core_state")) if mm else 0


def coredump_task_exit(k: Core, task: Task) -> None:
    """Wait until a thread that writes a core dump has read what it needs from this one."""
    if not (state := _core_state(k, task)):
        return
    dumper = state + k.types.offset("core_state", "dumper")
    entry = k.slab.kernel_object(k.types.sizeof("core_thread"))
    of_task, of_next = (entry + k.types.offset("core_thread", name) for name in ("task", "next"))
    if k.tasks.pf(task) & _PF_SIGNALED:
        k.memory.set_u64(of_task, task.address)
        following = dumper + k.types.offset("core_thread", "next")
        k.memory.set_u64(of_next, k.memory.u64(following))
        k.memory.set_u64(following, entry)
    threads = state + k.types.offset("core_state", "nr_threads")
    k.memory.set_u32(threads, k.memory.u32(threads) - 1 & 0xFFFF_FFFF)
    if not k.memory.u32(threads):
        k.cpu.call(k.symbols.address("complete"), state + k.types.offset("core_state", "startup"))
    while k.memory.u64(of_task):
        k.tasks.set_state(task, TASK_UNINTERRUPTIBLE | TASK_NOLOAD)
        k.sched.schedule()
    k.slab.kfree(entry)
