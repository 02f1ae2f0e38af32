"""Simple wait queues: kernel/sched/swait.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site
from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.list import init_list_head, list_add_tail, list_del_init, list_empty
from ukmod.kernel.lib.walk import steps
from ukmod.kernel.locking.lockdep import CHECKED_LOCKS
from ukmod.kernel.sched.core import ERESTARTSYS, TASK_RUNNING
from ukmod.machine.abi import Int, Long, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_WAKE_ALL: Final = Site("kernel/sched/swait.c", 74, "swake_up_all")


class SwaitQueues:
    """The layout of struct swait_queue_head and swait_queue, and operations on them."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self.queue = Layout(kernel.types, "swait_queue_head")
        self.waiter = Layout(kernel.types, "swait_queue")

    def prepare(self, queue: int, waiter: int, state: int) -> None:
        """prepare_to_swait_exclusive()."""
        k, memory, entry = self._k, self._k.memory, waiter + self.waiter.task_list
        task = k.sched.task()
        memory.set_u64(waiter + self.waiter.task, task.address)
        if list_empty(memory, entry):
            list_add_tail(memory, entry, queue + self.queue.task_list)
        k.tasks.set_state(task, state)

    def wake_one(self, queue: int) -> bool:
        """swake_up_one(): remove the first waiter and wake it; False if there is none."""
        k, memory, head = self._k, self._k.memory, queue + self.queue.task_list
        if list_empty(memory, head):
            return False
        entry = memory.u64(head)
        k.sched.wake(k.tasks.at(memory.u64(entry - self.waiter.task_list + self.waiter.task)))
        list_del_init(memory, entry)
        return True


@export("__init_swait_queue_head", unless=CHECKED_LOCKS)
def init_swait_queue_head(k: Core, queue: Ptr, name: Ptr, key: Ptr) -> None:
    """void __init_swait_queue_head(struct swait_queue_head *, const char *name, struct lock_class_key *)."""
    del name, key
    k.memory.set_u32(queue + k.swaitqueues.queue.lock, 0)
    init_list_head(k.memory, queue + k.swaitqueues.queue.task_list)


@export("swake_up_one", "swake_up_locked")
def swake_up_one(k: Core, queue: Ptr) -> None:
    """void swake_up_one(struct swait_queue_head *)."""
    k.swaitqueues.wake_one(queue)


@export()
def swake_up_all(k: Core, queue: Ptr) -> None:
    """void swake_up_all(struct swait_queue_head *)."""
    for _ in steps(_WAKE_ALL, "swait queue", queue):
        if not k.swaitqueues.wake_one(queue):
            return


@export()
def prepare_to_swait_exclusive(k: Core, queue: Ptr, waiter: Ptr, state: Int) -> None:
    """void prepare_to_swait_exclusive(struct swait_queue_head *, struct swait_queue *, int state)."""
    k.swaitqueues.prepare(queue, waiter, state)


@export()
def prepare_to_swait_event(k: Core, queue: Ptr, waiter: Ptr, state: Int) -> Long:
    """``long prepare_to_swait_event(q, wait, int state)``: -ERESTARTSYS if a signal is pending."""
    if k.tasks.signal_pending_state(state, k.sched.task()):
        list_del_init(k.memory, waiter + k.swaitqueues.waiter.task_list)
        return -ERESTARTSYS
    k.swaitqueues.prepare(queue, waiter, state)
    return 0


@export()
def finish_swait(k: Core, queue: Ptr, waiter: Ptr) -> None:
    """void finish_swait(struct swait_queue_head *, struct swait_queue *)."""
    del queue
    k.tasks.set_state(k.sched.task(), TASK_RUNNING)
    entry = waiter + k.swaitqueues.waiter.task_list
    if not list_empty(k.memory, entry):
        list_del_init(k.memory, entry)
