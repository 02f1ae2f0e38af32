"""The lists that hold processes together, as modules walk them: for_each_process(), children, threads.

copy_process() of kernel/fork.c links a new task, release_task() of kernel/exit.c unlinks it. Only the leader
of a group of threads is on the list of processes, and a child of its parent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.list import init_list_head, list_add_tail, list_del_init, list_del_rcu
from ukmod.kernel.sched.core import Task
from ukmod.machine.memory import Fault

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_HEADS: Final = (
    *("children", "sibling", "tasks", "thread_group", "thread_node", "pending.list"),
    *("pi_state_list", "futex.pi_state_list", "sysvshm.shm_clist"),
)
"""The lists that copy_process() makes empty: those of futexes are any task's, as a program may name init."""


class ProcessLists:
    """Links tasks and unlinks them. The idle task heads the list of processes."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        types = kernel.types
        members = (name for name in _HEADS if types.has("task_struct", name))
        self._offsets = {name: types.offset("task_struct", name) for name in members}
        threads = types.has("signal_struct", "thread_head") and "thread_node" in self._offsets
        self._threads = types.offset("signal_struct", "thread_head") if threads else None
        self._children: dict[Task, dict[Task, None]] = {}
        self._published = kernel.image is None
        """An image's early initialisation checks that there is no process yet."""

    def _head(self, task: Task, member: str) -> int:
        return task.address + self._offsets[member]

    def link(self, task: Task) -> None:
        """Link a new task, whose parent is known; the idle task has none."""
        k, memory = self._k, self._k.memory
        for offset in self._offsets.values():
            init_list_head(memory, task.address + offset)
        is_leader = task.group.leader is task
        if self._threads is not None:
            signal = memory.u64(task.address + k.types.offset("task_struct", "signal"))
            if is_leader:
                init_list_head(memory, signal + self._threads)
            list_add_tail(memory, self._head(task, "thread_node"), signal + self._threads)
        if not is_leader:
            if "thread_group" in self._offsets:  # until v6.6
                leader = self._head(task.group.leader, "thread_group")
                list_add_tail(memory, self._head(task, "thread_group"), leader)
            if task.parent is not None:
                self._set_parent(task, task.parent)
            return
        if task.parent is None:
            self._set_parent(task, task)
            return
        self._adopt(task, task.parent)
        if self._published:
            self._publish(task)

    def publish(self, tasks: Iterable[Task]) -> None:
        """Put these tasks, and from now on each new one, on the list of processes."""
        self._published = True
        for task in tasks:
            if task.parent is not None:
                self._publish(task)

    def _publish(self, task: Task) -> None:
        if "tasks" in self._offsets:
            list_add_tail(self._k.memory, self._head(task, "tasks"), self._head(self._k.idle, "tasks"))

    def _set_parent(self, task: Task, parent: Task) -> None:
        for name in ("real_parent", "parent"):
            self._k.memory.set_u64(task.address + self._k.types.offset("task_struct", name), parent.address)

    def _adopt(self, task: Task, parent: Task) -> None:
        task.parent = parent
        self._set_parent(task, parent)
        self._children.setdefault(parent, {})[task] = None
        if "sibling" in self._offsets:
            list_add_tail(self._k.memory, self._head(task, "sibling"), self._head(parent, "children"))

    def reparent(self, task: Task, reaper: Task) -> None:
        """forget_original_parent(): the children of a task that ends become the reaper's.

        Nothing happens to lists that the guest has destroyed.
        """
        with contextlib.suppress(Fault):
            for child in self._children.pop(task, ()):
                list_del_init(self._k.memory, self._head(child, "sibling"))
                self._adopt(child, reaper)

    def lead(self, task: Task, before: Task) -> None:
        """de_thread(): a thread takes the place of the group's leader. The image has changed the lists."""
        task.parent = before.parent
        if before.parent is not None:
            children = self._children.setdefault(before.parent, {})
            children.pop(before, None)
            children[task] = None

    def unlink_thread(self, task: Task) -> None:
        """__unhash_process(): take a task off the lists of its group's threads."""
        for name in ("thread_group", "thread_node"):
            if name in self._offsets:
                list_del_rcu(self._k.memory, self._head(task, name))

    def unlink(self, task: Task, reaper: Task) -> None:
        """release_task(): take a task off all lists; see ``reparent``."""
        self.reparent(task, reaper)
        if task.group.leader is not task:
            return
        with contextlib.suppress(Fault):
            if task.parent is not None:
                self._children.get(task.parent, {}).pop(task, None)
                list_del_init(self._k.memory, self._head(task, "sibling"))
            list_del_rcu(self._k.memory, self._head(task, "tasks"))
