"""Kthread workers, which execute work in a dedicated thread: the second half of kernel/kthread.c.

Lists, ``canceling`` and ``current_work`` are in guest memory, since inlined code initialises them.
"""

from __future__ import annotations

from collections.abc import Iterable
from errno import ENOMEM
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.freezer import freezing, set_freezable, try_to_freeze
from ukmod.kernel.kthread import SHOULD_STOP, STOP
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib import vsprintf
from ukmod.kernel.lib.list import init_list_head, list_add_tail, list_del_init, list_empty, list_entries
from ukmod.kernel.sched.core import PF_NO_SETAFFINITY, TASK_INTERRUPTIBLE, TASK_RUNNING, cond_resched
from ukmod.kernel.sched.waiters import Waiters
from ukmod.machine.abi import Bool, CStr, Int, Ptr, UInt, ULong, VarArgs

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


KTW_FREEZABLE: Final = 1 << 0
_ANOTHERS: Final = Site("kernel/kthread.c", 794, "kthread_worker_fn", nth=1, of=2)
_OTHER_WORKER: Final = Site("kernel/kthread.c", 975, "kthread_insert_work", nth=1, of=2)
_NEVER_QUEUED: Final = Site("kernel/kthread.c", 1040, "kthread_delayed_work_timer_fn", of=3)
_WRONG_FUNCTION: Final = Site("kernel/kthread.c", 1064, "__kthread_queue_delayed_work", nth=2, of=3)
_NO_THREAD: Final = Site("kernel/kthread.c", 1401, "kthread_destroy_worker", nth=0, of=2)
_WORK_LEFT: Final = Site("kernel/kthread.c", 1406, "kthread_destroy_worker", nth=1, of=2)


class KthreadWorkers:
    """Executes, queues and flushes struct kthread_work."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self.worker = Layout(kernel.types, "kthread_worker")
        self.work = Layout(kernel.types, "kthread_work")
        self.delayed = Layout(kernel.types, "kthread_delayed_work")
        self._flushes: list[dict[int, int]] = []
        """For each task that waits: how often each work, by its address, has yet to finish."""
        self._waiters = Waiters(kernel)
        self.queued: set[int] = set()
        """The addresses of the struct kthread_works on a worker's list that have not begun to run."""

    def init(self, worker: int) -> None:
        """__kthread_init_worker()."""
        memory = self._k.memory
        memory.fill(worker, 0, self._k.types.sizeof("kthread_worker"))
        init_list_head(memory, worker + self.worker.work_list)
        init_list_head(memory, worker + self.worker.delayed_work_list)

    def run(self, worker: int) -> int:
        """kthread_worker_fn(): execute queued work until the thread is stopped."""
        k, memory, task = self._k, self._k.memory, self._k.sched.task()
        works = worker + self.worker.work_list
        if memory.u64(worker + self.worker.task) not in (0, task.address):
            warn(k, _ANOTHERS)
        memory.set_u64(worker + self.worker.task, task.address)
        if memory.u32(worker + self.worker.flags) & KTW_FREEZABLE:
            set_freezable(k)
        while True:
            k.tasks.set_state(task, TASK_INTERRUPTIBLE)
            if k.kthreads.current(SHOULD_STOP).should_stop:
                k.tasks.set_state(task, TASK_RUNNING)
                memory.set_u64(worker + self.worker.task, 0)
                return 0
            if not list_empty(memory, works):
                k.tasks.set_state(task, TASK_RUNNING)
                self._do(worker, memory.u64(works) - self.work.node)
            elif not freezing(k):
                memory.set_u64(worker + self.worker.current_work, 0)
                k.sched.schedule(rest=partial(self.run, worker))
            k.tasks.set_state(task, TASK_RUNNING)
            try_to_freeze(k)
            cond_resched(k)

    def _do(self, worker: int, work: int) -> None:
        memory = self._k.memory
        self.queued.discard(work)
        list_del_init(memory, work + self.work.node)
        memory.set_u64(worker + self.worker.current_work, work)
        self._k.cpu.call(memory.u64(self.function_at(work)), work)
        memory.set_u64(worker + self.worker.current_work, 0)
        self._finish(work)

    def _finish(self, work: int) -> None:
        for left in self._flushes:
            if left.get(work):
                left[work] -= 1
        self._waiters.wake_all()

    # -- queueing -------------------------------------------------------------------------------------

    def function_at(self, work: int) -> int:
        """``&work->func``."""
        return work + self.work.func

    def blocked(self, work: int) -> bool:
        """queuing_blocked(): True if it is already queued or being cancelled."""
        memory = self._k.memory
        return not list_empty(memory, work + self.work.node) or memory.u32(work + self.work.canceling) > 0

    def insert(self, worker: int, work: int) -> None:
        """kthread_insert_work(): queue it, and wake the worker if that is idle."""
        k, memory = self._k, self._k.memory
        self._check_worker(worker, work)
        list_add_tail(memory, work + self.work.node, worker + self.worker.work_list)
        self.queued.add(work)
        memory.set_u64(work + self.work.worker, worker)
        task = memory.u64(worker + self.worker.task)
        if task and not memory.u64(worker + self.worker.current_work):
            k.sched.wake(k.tasks.at(task))

    def _check_worker(self, worker: int, work: int) -> None:
        """kthread_insert_work_sanity_check(): a work is used with one worker."""
        if self._k.memory.u64(work + self.work.worker) not in (0, worker):
            warn_once(self._k, _OTHER_WORKER)

    def insert_delayed(self, worker: int, dwork: int, delay: int) -> None:
        """__kthread_queue_delayed_work()."""
        k, memory, work = self._k, self._k.memory, dwork + self.delayed.work
        function = k.timers.function(dwork + self.delayed.timer)
        if not k.symbols.is_function(function, "kthread_delayed_work_timer_fn"):
            warn_once(k, _WRONG_FUNCTION)
        if not delay:
            self.insert(worker, work)
            return
        self._check_worker(worker, work)
        list_add_tail(memory, work + self.work.node, worker + self.worker.delayed_work_list)
        memory.set_u64(work + self.work.worker, worker)
        k.timers.mod(dwork + self.delayed.timer, k.clock.jiffies + delay)

    def expired(self, dwork: int) -> None:
        """kthread_delayed_work_timer_fn()."""
        memory, work = self._k.memory, dwork + self.delayed.work
        if not memory.u64(work + self.work.worker):
            warn_once(self._k, _NEVER_QUEUED)
            return
        list_del_init(memory, work + self.work.node)
        if not memory.u32(work + self.work.canceling):
            self.insert(memory.u64(work + self.work.worker), work)

    # -- waiting and cancelling -----------------------------------------------------------------------

    def _running(self, work: int) -> bool:
        memory = self._k.memory
        worker = memory.u64(work + self.work.worker)
        return worker != 0 and memory.u64(worker + self.worker.current_work) == work

    def _wait_for(self, works: Iterable[int]) -> None:
        """Wait until what is queued or running of these works now has finished."""
        memory, node = self._k.memory, self.work.node
        left = {work: (not list_empty(memory, work + node)) + self._running(work) for work in works}
        self._flushes.append(left)
        try:
            self._waiters.wait_event(lambda: not any(left.values()))
        finally:
            self._flushes = [one for one in self._flushes if one is not left]

    def flush(self, work: int) -> None:
        """kthread_flush_work()."""
        self._wait_for([work])

    def flush_worker(self, worker: int) -> None:
        """kthread_flush_worker(): wait for all work that is queued now."""
        memory = self._k.memory
        works = [entry - self.work.node for entry in list_entries(memory, worker + self.worker.work_list)]
        current = memory.u64(worker + self.worker.current_work)
        self._wait_for(work for work in (*works, current) if work)

    def remove(self, work: int, timer: int = 0) -> bool:
        """__kthread_cancel_work(): remove it from its list; False if it was on none."""
        if timer:
            self._k.timers.delete(timer)
        if list_empty(self._k.memory, work + self.work.node):
            return False
        list_del_init(self._k.memory, work + self.work.node)
        self.queued.discard(work)
        self._finish(work)
        return True

    def cancel_sync(self, work: int, timer: int = 0) -> bool:
        """__kthread_cancel_work_sync(): cancel it and wait for its function; True if it was queued."""
        memory, at = self._k.memory, work + self.work.canceling
        if not memory.u64(work + self.work.worker):
            return False
        removed = self.remove(work, timer)
        if self._running(work):
            memory.set_u32(at, memory.u32(at) + 1)
            self.flush(work)
            memory.set_u32(at, memory.u32(at) - 1)
        return removed


@export("__kthread_init_worker", gpl=True)
def kthread_init_worker(k: Core, worker: Ptr, name: Ptr, key: Ptr) -> None:
    """void __kthread_init_worker(struct kthread_worker *, const char *name, struct lock_class_key *)."""
    del name, key
    k.kthread_workers.init(worker)


@export(gpl=True)
def kthread_worker_fn(k: Core, worker: Ptr) -> Int:
    """``int kthread_worker_fn(void *worker_ptr)``."""
    return k.kthread_workers.run(worker)


class _Cpu:
    """The number of a CPU as the arguments of a format."""

    def __init__(self, cpu: int) -> None:
        self._cpu = cpu

    def next(self) -> int:
        """The next argument."""
        return self._cpu


def _create(k: Core, name: str, flags: int, *, bind: bool = False) -> int:
    worker, layout = k.slab.kmalloc(k.types.sizeof("kthread_worker")), k.kthread_workers.worker
    if not worker:
        return -ENOMEM
    k.kthread_workers.init(worker)
    function, run = k.symbols.address("kthread_worker_fn"), partial(k.kthread_workers.run, worker)
    try:
        task = k.kthreads.create(name, run, function=function, data=worker)
    except LimitError as error:
        k.slab.kfree(worker)
        return -error.errno
    if bind:
        k.tasks.set_pf(task, PF_NO_SETAFFINITY)
    k.memory.set_u32(worker + layout.flags, flags)
    k.memory.set_u64(worker + layout.task, task.address)
    k.sched.wake(task)
    return worker


@export()
def kthread_create_worker(k: Core, flags: UInt, fmt: CStr, args: VarArgs) -> Ptr:
    """``struct kthread_worker *kthread_create_worker(unsigned int flags, const char namefmt[], ...)``."""
    return _create(k, vsprintf.vformat(k, fmt, args).decode("latin-1"), flags)


@export()
def kthread_create_worker_on_node(k: Core, flags: UInt, node: Int, fmt: CStr, args: VarArgs) -> Ptr:
    """``struct kthread_worker *kthread_create_worker_on_node(unsigned flags, int node, namefmt, ...)``."""
    del node
    return kthread_create_worker(k, flags, fmt, args)


@export(adapts=True)
def kthread_create_worker_on_cpu(k: Core, cpu: Int, flags: UInt, fmt: CStr, args: VarArgs) -> Ptr:
    """``struct kthread_worker *kthread_create_worker_on_cpu(int cpu, unsigned int flags, namefmt, ...)``.

    Since v6.14 the only argument of the format is the CPU.
    """
    prototype = k.types.prototype("kthread_create_worker_on_cpu")
    given = args if prototype is None or prototype.variadic else _Cpu(cpu)
    return _create(k, vsprintf.vformat(k, fmt, given).decode("latin-1"), flags, bind=cpu >= 0)


@export()
def kthread_destroy_worker(k: Core, worker: Ptr) -> None:
    """void kthread_destroy_worker(struct kthread_worker *)."""
    workers = k.kthread_workers
    task = k.memory.u64(worker + workers.worker.task)
    if not task:
        warn(k, _NO_THREAD)
        return
    workers.flush_worker(worker)
    k.kthreads.stop(k.kthreads.of(task, STOP))
    if not list_empty(k.memory, worker + workers.worker.work_list):
        warn(k, _WORK_LEFT)
    k.slab.kfree(worker)


@export(gpl=True)
def kthread_queue_work(k: Core, worker: Ptr, work: Ptr) -> Bool:
    """``bool kthread_queue_work(struct kthread_worker *, struct kthread_work *)``: false if it was queued."""
    if k.kthread_workers.blocked(work):
        return False
    k.kthread_workers.insert(worker, work)
    return True


@export()
def kthread_delayed_work_timer_fn(k: Core, timer: Ptr) -> None:
    """void kthread_delayed_work_timer_fn(struct timer_list *)."""
    k.kthread_workers.expired(timer - k.kthread_workers.delayed.timer)


@export(gpl=True)
def kthread_queue_delayed_work(k: Core, worker: Ptr, dwork: Ptr, delay: ULong) -> Bool:
    """``bool kthread_queue_delayed_work(worker, struct kthread_delayed_work *, unsigned long delay)``."""
    workers = k.kthread_workers
    if workers.blocked(dwork + workers.delayed.work):
        return False
    workers.insert_delayed(worker, dwork, delay)
    return True


@export(gpl=True)
def kthread_mod_delayed_work(k: Core, worker: Ptr, dwork: Ptr, delay: ULong) -> Bool:
    """``bool kthread_mod_delayed_work(worker, struct kthread_delayed_work *, delay)``: true if queued."""
    workers = k.kthread_workers
    work = dwork + workers.delayed.work
    removed = workers.remove(work, dwork + workers.delayed.timer)
    if workers.blocked(work):  # it is being cancelled: that continues, and counts as queued
        return True
    workers.insert_delayed(worker, dwork, delay)
    return removed


@export(gpl=True)
def kthread_flush_work(k: Core, work: Ptr) -> None:
    """void kthread_flush_work(struct kthread_work *)."""
    k.kthread_workers.flush(work)


@export(gpl=True)
def kthread_flush_worker(k: Core, worker: Ptr) -> None:
    """void kthread_flush_worker(struct kthread_worker *)."""
    k.kthread_workers.flush_worker(worker)


@export(gpl=True)
def kthread_cancel_work_sync(k: Core, work: Ptr) -> Bool:
    """``bool kthread_cancel_work_sync(struct kthread_work *)``: true if it was queued."""
    return k.kthread_workers.cancel_sync(work)


@export(gpl=True)
def kthread_cancel_delayed_work_sync(k: Core, dwork: Ptr) -> Bool:
    """``bool kthread_cancel_delayed_work_sync(struct kthread_delayed_work *)``: true if it was queued."""
    workers = k.kthread_workers
    return workers.cancel_sync(dwork + workers.delayed.work, dwork + workers.delayed.timer)
