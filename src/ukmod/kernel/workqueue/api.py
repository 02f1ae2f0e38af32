"""The functions of kernel/workqueue.c that modules call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.lib import vsprintf
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.workqueue.work import GuestWork
from ukmod.kernel.workqueue.workqueue import WQ_NAME_LEN, WQ_UNBOUND, Workqueue
from ukmod.machine.abi import Bool, CStr, Int, Long, Ptr, UInt, ULong, VaList, VarArgs
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

WORK_BUSY_PENDING: Final = 1 << 0
WORK_BUSY_RUNNING: Final = 1 << 1

NOT_UNBOUND: Final = Site("kernel/workqueue.c", 1625, "queue_work_node")
WRONG_FUNCTION: Final = Site("kernel/workqueue.c", 1657, "__queue_delayed_work", nth=1, of=4)
TIMER_PENDING: Final = Site("kernel/workqueue.c", 1658, "__queue_delayed_work", nth=2, of=4)
ON_A_LIST: Final = Site("kernel/workqueue.c", 1659, "__queue_delayed_work", nth=3, of=4)
NO_FUNCTION: Final = Site("kernel/workqueue.c", 3073, "flush_work")
NO_FUNCTION_CANCELLED: Final = Site("kernel/workqueue.c", 3073, "__flush_work")


@record
class DelayedWork:
    """A struct delayed_work at ``address``."""

    k: Core
    address: int

    def _at(self, member: str) -> int:
        return self.address + self.k.types.offset("delayed_work", member)

    @property
    def work(self) -> GuestWork:
        """``&dwork->work``."""
        return GuestWork(self.k, self._at("work"))

    @property
    def timer(self) -> int:
        """``&dwork->timer``."""
        return self._at("timer")

    @property
    def wq(self) -> Workqueue:
        """``dwork->wq``. Raises Fault if that is not a workqueue."""
        return self.k.workqueues.at(self.k.memory.u64(self._at("wq")))

    def start(self, wq: Workqueue, delay: int) -> None:
        """__queue_delayed_work(): queue work that the caller has marked pending, in ``delay`` jiffies."""
        k, timer, work = self.k, self.timer, self.work
        if not k.symbols.is_function(k.timers.function(timer), "delayed_work_timer_fn"):
            warn_once(k, WRONG_FUNCTION)
        if k.timers.pending(timer):
            warn_once(k, TIMER_PENDING)
        if not work.may_queue():
            warn_once(k, ON_A_LIST)
        if not delay:
            k.workqueues.insert(wq, work)
            return
        k.memory.set_u64(self._at("wq"), wq.address)
        k.timers.mod(timer, k.clock.jiffies + delay)

    def grab(self) -> int:
        """try_to_grab_pending(work, is_dwork = true): also stops its timer."""
        return 1 if self.k.timers.delete(self.timer) else self.k.workqueues.grab(self.work)


@export("alloc_workqueue", "alloc_workqueue_noprof", gpl=True)
def alloc_workqueue(k: Core, fmt: CStr, flags: UInt, max_active: Int, args: VarArgs) -> Ptr:
    """``struct workqueue_struct *alloc_workqueue(const char *fmt, unsigned flags, int max_active, ...)``"""
    return _alloc(k, vsprintf.vformat(k, fmt, args), flags, max_active)


@export("__alloc_workqueue")
def alloc_workqueue_va(k: Core, fmt: CStr, flags: UInt, max_active: Int, args: Ptr) -> Ptr:
    """``struct workqueue_struct *__alloc_workqueue(const char *fmt, unsigned flags, int, va_list)``"""
    return _alloc(k, vsprintf.vformat(k, fmt, VaList(k.memory, args)), flags, max_active)


def _alloc(k: Core, name: bytes, flags: int, max_active: int) -> int:
    """The address of a new workqueue, or NULL without memory for its rescuer or with wrong flags."""
    if k.workqueues.refuses(flags, max_active):
        return 0
    try:
        return k.workqueues.alloc(name[: WQ_NAME_LEN - 1].decode("latin-1"), flags, max_active).address
    except LimitError:
        return 0


@export(gpl=True)
def destroy_workqueue(k: Core, wq: Ptr) -> None:
    """void destroy_workqueue(struct workqueue_struct *)."""
    k.workqueues.destroy(k.workqueues.at(wq))


@export(gpl=True)
def workqueue_set_max_active(k: Core, wq: Ptr, max_active: Int) -> None:
    """void workqueue_set_max_active(struct workqueue_struct *, int max_active)."""
    k.workqueues.set_max_active(k.workqueues.at(wq), max_active)


@export(gpl=True)
def workqueue_congested(k: Core, cpu: Int, wq: Ptr) -> Bool:
    """``bool workqueue_congested(int cpu, struct workqueue_struct *)``."""
    del cpu
    return bool(k.workqueues.at(wq).inactive)


@export("__init_work", gpl=True)
def init_work(k: Core, work: Ptr, on_stack: Int) -> None:
    """void __init_work(struct work_struct *, int onstack): only debug objects use it."""
    del k, work, on_stack


@export("destroy_work_on_stack", "destroy_delayed_work_on_stack", gpl=True)
def destroy_work_on_stack(k: Core, work: Ptr) -> None:
    """void destroy_work_on_stack(struct work_struct *): only debug objects use it."""
    del k, work


@export()
def queue_work_on(k: Core, cpu: Int, wq: Ptr, work: Ptr) -> Bool:
    """``bool queue_work_on(int cpu, wq, struct work_struct *)``: false if pending or disabled."""
    del cpu
    item = GuestWork(k, work)
    if not k.workqueues.claim(item):
        return False
    k.workqueues.insert(k.workqueues.at(wq), item)
    return True


@export(gpl=True)
def queue_work_node(k: Core, node: Int, wq: Ptr, work: Ptr) -> Bool:
    """``bool queue_work_node(int node, wq, struct work_struct *)``: only for unbound workqueues."""
    if not k.workqueues.at(wq).flags & WQ_UNBOUND:
        warn_once(k, NOT_UNBOUND)
    return queue_work_on(k, node, wq, work)


@export()
def delayed_work_timer_fn(k: Core, timer: Ptr) -> None:
    """void delayed_work_timer_fn(struct timer_list *): queue the work whose timer has fired."""
    dwork = DelayedWork(k, timer - k.types.offset("delayed_work", "timer"))
    k.workqueues.insert(dwork.wq, dwork.work)


@export()
def queue_delayed_work_on(k: Core, cpu: Int, wq: Ptr, dwork: Ptr, delay: ULong) -> Bool:
    """``bool queue_delayed_work_on(int cpu, wq, struct delayed_work *, unsigned long delay)``."""
    del cpu
    delayed = DelayedWork(k, dwork)
    if not k.workqueues.claim(delayed.work):
        return False
    delayed.start(k.workqueues.at(wq), delay)
    return True


@export(gpl=True)
def mod_delayed_work_on(k: Core, cpu: Int, wq: Ptr, dwork: Ptr, delay: ULong) -> Bool:
    """``bool mod_delayed_work_on(int cpu, wq, struct delayed_work *, delay)``: true if it was pending."""
    del cpu
    delayed = DelayedWork(k, dwork)
    grabbed = k.workqueues.busy_grab(delayed.work, delayed.grab)
    if grabbed >= 0:
        delayed.work.clear_pending()
        if k.workqueues.claim(delayed.work):
            delayed.start(k.workqueues.at(wq), delay)
    return grabbed != 0


@export()
def cancel_work(k: Core, work: Ptr) -> Bool:
    """``bool cancel_work(struct work_struct *)``: true if it was pending."""
    return k.workqueues.cancel(GuestWork(k, work))


@export(gpl=True)
def cancel_work_sync(k: Core, work: Ptr) -> Bool:
    """``bool cancel_work_sync(struct work_struct *)``: true if it was pending."""
    return _cancel_sync(GuestWork(k, work))


@export()
def cancel_delayed_work(k: Core, dwork: Ptr) -> Bool:
    """``bool cancel_delayed_work(struct delayed_work *)``: true if it was pending."""
    delayed = DelayedWork(k, dwork)
    return k.workqueues.cancel(delayed.work, delayed.grab)


@export()
def cancel_delayed_work_sync(k: Core, dwork: Ptr) -> Bool:
    """``bool cancel_delayed_work_sync(struct delayed_work *)``: true if it was pending."""
    delayed = DelayedWork(k, dwork)
    return _cancel_sync(delayed.work, delayed.grab)


def _cancel_sync(work: GuestWork, grab: Callable[[], int] | None = None) -> bool:
    """__cancel_work_timer(): the kernel warns of a work item that was never initialised."""
    pending = work.k.workqueues.cancel_sync(work, grab)
    if not work.function():
        warn(work.k, NO_FUNCTION_CANCELLED)
    return pending


@export(gpl=True)
def disable_work(k: Core, work: Ptr) -> Bool:
    """``bool disable_work(struct work_struct *)``: cancel it, and refuse to queue it; since v6.10."""
    return k.workqueues.disable(GuestWork(k, work))


@export(gpl=True)
def disable_work_sync(k: Core, work: Ptr) -> Bool:
    """``bool disable_work_sync(struct work_struct *)``: the same, and wait until it is not running."""
    return k.workqueues.disable_sync(GuestWork(k, work))


@export(gpl=True)
def enable_work(k: Core, work: Ptr) -> Bool:
    """``bool enable_work(struct work_struct *)``: true if it can be queued again."""
    return k.workqueues.enable(GuestWork(k, work))


@export(gpl=True)
def disable_delayed_work(k: Core, dwork: Ptr) -> Bool:
    """``bool disable_delayed_work(struct delayed_work *)``."""
    delayed = DelayedWork(k, dwork)
    return k.workqueues.disable(delayed.work, delayed.grab)


@export(gpl=True)
def disable_delayed_work_sync(k: Core, dwork: Ptr) -> Bool:
    """``bool disable_delayed_work_sync(struct delayed_work *)``."""
    delayed = DelayedWork(k, dwork)
    return k.workqueues.disable_sync(delayed.work, delayed.grab)


@export(gpl=True)
def enable_delayed_work(k: Core, dwork: Ptr) -> Bool:
    """``bool enable_delayed_work(struct delayed_work *)``."""
    delayed = DelayedWork(k, dwork)
    return k.workqueues.enable(delayed.work, delayed.grab)


@export(gpl=True)
def flush_work(k: Core, work: Ptr) -> Bool:
    """``bool flush_work(struct work_struct *)``: false if it was idle."""
    item = GuestWork(k, work)
    if not item.function():
        warn(k, NO_FUNCTION)
        return False
    return k.workqueues.flush(item)


@export()
def flush_delayed_work(k: Core, dwork: Ptr) -> Bool:
    """``bool flush_delayed_work(struct delayed_work *)``: false if it was idle."""
    delayed = DelayedWork(k, dwork)
    if k.timers.delete_sync(delayed.timer):
        k.workqueues.insert(delayed.wq, delayed.work)
    return flush_work(k, delayed.work.address)


@export()
def queue_rcu_work(k: Core, wq: Ptr, rwork: Ptr) -> Bool:
    """``bool queue_rcu_work(wq, struct rcu_work *)``: queue it after a grace period; false if pending."""
    work = GuestWork(k, rwork + k.types.offset("rcu_work", "work"))
    at = rwork + k.types.offset("rcu_work", "wq")
    if not k.workqueues.claim(work):
        return False
    k.memory.set_u64(at, wq)
    k.rcu.call(lambda: k.workqueues.insert(k.workqueues.at(k.memory.u64(at)), work))
    return True


@export()
def flush_rcu_work(k: Core, rwork: Ptr) -> Bool:
    """``bool flush_rcu_work(struct rcu_work *)``: false if it was idle."""
    work = GuestWork(k, rwork + k.types.offset("rcu_work", "work"))
    if not work.pending:
        return flush_work(k, work.address)
    k.rcu.barrier()
    flush_work(k, work.address)
    return True


@export("__flush_workqueue", "flush_workqueue")
def flush_workqueue(k: Core, wq: Ptr) -> None:
    """void __flush_workqueue(struct workqueue_struct *): named flush_workqueue() before v6.1."""
    k.workqueues.flush_all(k.workqueues.at(wq))


@export(gpl=True)
def drain_workqueue(k: Core, wq: Ptr) -> None:
    """void drain_workqueue(struct workqueue_struct *)."""
    k.workqueues.drain(k.workqueues.at(wq))


@export("__warn_flushing_systemwide_wq", image_first=True)
def warn_flushing_systemwide_wq(k: Core) -> None:
    """void __warn_flushing_systemwide_wq(void): only the compiler warns, before v6.6 (an image knows)."""
    del k


@export()
def current_work(k: Core) -> Ptr:
    """``struct work_struct *current_work(void)``: the work item the current worker executes, or NULL."""
    worker = k.workqueues.current_worker()
    return k.workqueues.address_of(worker.current) if worker is not None else 0


@export(gpl=True)
def current_is_workqueue_mem_reclaim(k: Core) -> Bool:
    """bool current_is_workqueue_mem_reclaim(void), since v7.3: it must not wait for other queues."""
    return k.workqueues.reclaiming() is not None


@export(gpl=True)
def work_busy(k: Core, work: Ptr) -> UInt:
    """``unsigned int work_busy(struct work_struct *)``: WORK_BUSY_ bits."""
    item = GuestWork(k, work)
    pending = WORK_BUSY_PENDING if item.pending else 0
    return pending | (WORK_BUSY_RUNNING if k.workqueues.running(item) else 0)


@export(gpl=True)
def set_worker_desc(k: Core, fmt: CStr, args: VarArgs) -> None:
    """void set_worker_desc(const char *fmt, ...): a description shown in reports of a worker's crash."""
    worker = k.workqueues.current_worker()
    if worker is not None:
        worker.description = vsprintf.vformat(k, fmt, args)[: WQ_NAME_LEN - 1].decode("latin-1")


@export(gpl=True)
def execute_in_process_context(k: Core, function: Ptr, ew: Ptr) -> Int:
    """``int execute_in_process_context(work_func_t, struct execute_work *)``: 0 if run at once, else 1."""
    if not k.percpu.preempt_count() & k.percpu.count.interrupt_mask:
        k.cpu.call(function, ew)
        return 0
    queues, memory = k.workqueues, k.memory
    memory.set_u64(ew + queues.layout.data, queues.no_pool)
    init_list_head(memory, ew + queues.layout.entry)
    memory.set_u64(ew + queues.layout.func, function)
    queues.queue(queues.events, GuestWork(k, ew))
    return 1


@export("work_on_cpu_key", "work_on_cpu_safe_key", "work_on_cpu", "work_on_cpu_safe", gpl=True)
def work_on_cpu(k: Core, cpu: Int, function: Ptr, argument: Ptr) -> Long:
    """``long work_on_cpu_key(int cpu, long (*fn)(void *), void *arg[, struct lock_class_key *])``."""
    del cpu
    results: list[int] = []
    queues = k.workqueues
    queues.call(queues.events, lambda: results.append(k.cpu.call(function, argument)))
    return results[0] if results else 0  # empty if the function ended in an oops
