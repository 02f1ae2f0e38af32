"""Workqueues: the half of kernel/workqueue.c that queues, cancels and flushes. pool.py executes the work.

Inlined code in modules reads one bit of a struct work_struct, WORK_STRUCT_PENDING, so that bit is
authoritative. A workqueue_struct is opaque to modules: its address is that of a placeholder page.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn, warn_once
from ukmod.kernel.layout import Layout
from ukmod.kernel.mm.account import admit
from ukmod.kernel.mm.quarantine import Quarantine
from ukmod.kernel.sched.core import PF_MEMALLOC, TASK_UNINTERRUPTIBLE, Task, block, cond_resched
from ukmod.kernel.sched.prio import MIN_NICE
from ukmod.kernel.sched.waiters import Waiters
from ukmod.kernel.softirq import HI_SOFTIRQ, TASKLET_SOFTIRQ
from ukmod.kernel.watchdog import deadlock
from ukmod.kernel.workqueue.bh import UNLIMITED, BhPool
from ukmod.kernel.workqueue.pool import Item, Worker, WorkerPool
from ukmod.kernel.workqueue.rescuer import Rescuer
from ukmod.kernel.workqueue.work import DisableBits, GuestWork, Work
from ukmod.machine.memory import PAGE_SIZE, Fault
from ukmod.record import field, mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

DRAINING: Final = Site("kernel/workqueue.c", 1441, "__queue_work")
NOT_INITIALISED: Final = Site("kernel/workqueue.c", 1502, "__queue_work")
FLUSHED_BY_RECLAIM: Final = Site("kernel/workqueue.c", 2632, "check_flush_dependency", nth=0, of=2)
FLUSHED_BY_RECLAIMER: Final = Site("kernel/workqueue.c", 2635, "check_flush_dependency", nth=1, of=2)
BH_REFUSED: Final = tuple(Site("kernel/workqueue.c", line, "__alloc_workqueue") for line in (5718, 5720))
"""Their lines are v6.12's."""
FREEZING: Final = Site("kernel/workqueue.c", 5261, "freeze_workqueues_begin")
NOT_FREEZING: Final = Site("kernel/workqueue.c", 5295, "freeze_workqueues_busy", nth=0, of=2)
SET_MAX_ACTIVE: Final = Site("kernel/workqueue.c", 4517, "workqueue_set_max_active")

# include/linux/workqueue.h
WQ_UNBOUND: Final = 1 << 1
WQ_FREEZABLE: Final = 1 << 2
WQ_MEM_RECLAIM: Final = 1 << 3
WQ_HIGHPRI: Final = 1 << 4
WQ_CPU_INTENSIVE: Final = 1 << 5
WQ_POWER_EFFICIENT: Final = 1 << 7
WQ_PERCPU: Final = 1 << 8
"""Since v6.17."""
WQ_DRAINING: Final = 1 << 16
WQ_ORDERED: Final = 1 << 17
WQ_LEGACY: Final = 1 << 18
WQ_ORDERED_EXPLICIT: Final = 1 << 19
WQ_MAX_ACTIVE: Final = 512
"""enum wq_consts; 2048 since v6.16. Half of it is the default."""
WQ_NAME_LEN: Final = 24
WORK_OFFQ_POOL_NONE: Final = (1 << 31) - 1
_QUARANTINE: Final = 64

_SYSTEM: Final = {
    "system_wq": ("events", 0),
    "system_highpri_wq": ("events_highpri", WQ_HIGHPRI),
    "system_long_wq": ("events_long", 0),
    "system_unbound_wq": ("events_unbound", WQ_UNBOUND),
    "system_freezable_wq": ("events_freezable", WQ_FREEZABLE),
    "system_power_efficient_wq": ("events_power_efficient", WQ_POWER_EFFICIENT),
    "system_freezable_power_efficient_wq": (
        "events_freezable_power_efficient",
        WQ_FREEZABLE | WQ_POWER_EFFICIENT,
    ),
    "system_percpu_wq": ("events", 0),
    "system_dfl_wq": ("events_unbound", WQ_UNBOUND),
    "system_dfl_long_wq": ("events_dfl_long", WQ_UNBOUND),
}
"""The kernel's own workqueues by variable: name and flags. The last three exist since v6.17."""


@mutable
class Workqueue:
    """A struct workqueue_struct, with its only pool_workqueue, that of the only CPU."""

    name: str
    flags: int
    max_active: int
    pool: WorkerPool | BhPool
    address: int
    waiters: Waiters
    """Tasks that wait for work on this queue to finish."""
    drainers: int = 0
    nr_active: int = 0
    inactive: OrderedDict[Queued, None] = field(default_factory=OrderedDict)
    in_flight: dict[Queued, None] = field(default_factory=dict)
    """Work items queued and not yet finished, in the order they were queued."""
    rescuer: Rescuer | None = None


class Queued:
    """One queueing of a work item: from queue_work() until its function has returned."""

    def __init__(self, owner: Workqueues, wq: Workqueue, work: Work | GuestWork) -> None:
        self._owner = owner
        self.wq = wq
        self.work = work
        self.done = False
        self._identity: object = None
        self._call: tuple[Callable[[], object], str] | None = None

    @property
    def begun(self) -> bool:
        """True if a worker has begun executing it."""
        return self._call is not None

    def begin(self) -> None:
        """Prepare to run: after this the work_struct is not accessed, since its function may free it."""
        self._identity = self.work.identity()
        self._call = self.work.take()
        self._owner.forget(self.work)
        self.work.clear_pending()

    def run(self) -> None:
        """Call the work's function."""
        assert self._call is not None
        self._call[0]()

    def end(self) -> None:
        """Called after the function has returned."""
        self._owner.finish(self)

    def key(self) -> object:
        """The identity of work that must not run twice at the same time."""
        return self._identity if self.begun else self.work.identity()

    def function_name(self) -> str:
        """The name of the work's function, for reports."""
        return (self._call or self.work.take())[1]

    def queue_name(self) -> str:
        """The name of the workqueue it is on, for reports."""
        return self.wq.name

    def cpu_intensive(self) -> bool:
        """True if its worker does not count as running."""
        return bool(self.wq.flags & WQ_CPU_INTENSIVE)

    def send_mayday(self) -> None:
        """Summon the rescuer of its workqueue, if that has one."""
        if self.wq.rescuer is not None:
            self.wq.rescuer.summon()


class Workqueues:
    """All workqueues and worker pools."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self.layout = Layout(kernel.types, "work_struct")
        consts = kernel.types.enum("wq_consts").values if kernel.types.has("wq_consts") else {}
        self._max_active = consts.get("WQ_MAX_ACTIVE", WQ_MAX_ACTIVE)
        bits = kernel.types.enum("work_bits").values if kernel.types.has("work_bits") else {}
        shift, width = bits.get("WORK_OFFQ_DISABLE_SHIFT", 0), bits.get("WORK_OFFQ_DISABLE_BITS", 0)
        self.disable_bits = DisableBits(shift, width)
        self.no_pool = WORK_OFFQ_POOL_NONE << bits.get("WORK_OFFQ_POOL_SHIFT", 5)
        """WORK_STRUCT_NO_POOL: ``work->data`` of an item that was never queued, as INIT_WORK() writes it."""
        self._by_address: dict[int, Workqueue] = {}
        self._is_freezing = False
        """workqueue_freezing: queues with WQ_FREEZABLE start no work."""
        self._pending: dict[Work | GuestWork, Queued] = {}
        self._canceling: set[Work | GuestWork] = set()
        self._cancelers = Waiters(kernel)
        self.quarantine = Quarantine(kernel.memory, _QUARANTINE)
        """The destroyed workqueues."""
        self.online = False
        """wq_online: the machine has booted. A workqueue made before has no rescuer."""
        renamed = kernel.image is not None and kernel.image.image.has_text("kworker/R-%s")
        self._rescuer_name = "kworker/R-" if renamed else ""
        self._normal = WorkerPool(kernel, "kworker/0:{}", managed=True)
        self._highpri = WorkerPool(kernel, "kworker/0:{}H", managed=True, nice=MIN_NICE)
        known = kernel.types.enum("wq_flags").values if kernel.types.has("wq_flags") else {}
        self._bh_flag = known.get("WQ_BH", 0)
        self._bh = BhPool(kernel, TASKLET_SOFTIRQ)
        self._bh_highpri = BhPool(kernel, HI_SOFTIRQ)
        self._unbound = WorkerPool(kernel, "kworker/u2:{}", managed=False)
        self._unbound_highpri = WorkerPool(kernel, "kworker/u3:{}", managed=False, nice=MIN_NICE)
        if kernel.image is None:  # an image makes its own, in workqueue_init_early()
            for symbol, (name, flags) in _SYSTEM.items():
                variable = kernel.symbols.add_variable(symbol, 8, gpl=symbol != "system_wq")
                kernel.memory.set_u64(variable, self.alloc(name, flags).address)

    # -- workqueues -----------------------------------------------------------------------------------

    def alloc(self, name: str, flags: int, max_active: int = 0) -> Workqueue:
        """alloc_workqueue().

        max_active: the maximum number of its work items in progress; 0 is the kernel's default.

        Raises LimitError if there is no memory for its rescuer.
        """
        if flags & WQ_UNBOUND and max_active == 1:
            flags |= WQ_ORDERED
        if flags & self._bh_flag:
            max_active = UNLIMITED
        else:
            max_active = self._clamp(max_active or self._max_active // 2, name)
        pool = self._pool(flags)
        memory = self._k.memory
        address = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE)
        wq = Workqueue(name, flags, max_active, pool, address, Waiters(self._k))
        self._by_address[address] = wq
        if self.online and flags & WQ_MEM_RECLAIM and isinstance(pool, WorkerPool):
            wq.rescuer = self._rescuer(wq, pool)
        return wq

    def _pool(self, flags: int) -> WorkerPool | BhPool:
        """The pool that executes the work of a queue with these flags."""
        is_high = bool(flags & WQ_HIGHPRI)
        if flags & self._bh_flag:
            return self._bh_highpri if is_high else self._bh
        if flags & WQ_UNBOUND:
            return self._unbound_highpri if is_high else self._unbound
        return self._highpri if is_high else self._normal

    def refuses(self, flags: int, max_active: int) -> bool:
        """True, with a warning, if a queue with WQ_BH shall have what such a queue cannot have."""
        if not flags & self._bh_flag:
            return False
        wrong = (bool(flags & ~(self._bh_flag | WQ_HIGHPRI | WQ_PERCPU)), bool(max_active))
        site = next((site for site, is_wrong in zip(BH_REFUSED, wrong, strict=True) if is_wrong), None)
        if site is not None:
            warn_once(self._k, site)
        return site is not None

    def _rescuer(self, wq: Workqueue, pool: WorkerPool) -> Rescuer:
        """init_rescuer(). Raises LimitError, and frees the queue, if there is no memory for the thread."""

        def mine(item: Item) -> bool:
            return isinstance(item, Queued) and item.wq is wq

        try:
            return Rescuer(self._k, self._rescuer_name + wq.name, pool, mine)
        except LimitError:
            self._free(wq)
            raise

    def _free(self, wq: Workqueue) -> None:
        del self._by_address[wq.address]
        self.quarantine.add(wq.address)

    def _clamp(self, max_active: int, name: str) -> int:
        if not 1 <= max_active <= self._max_active:
            text = f"workqueue: max_active {max_active} requested for {name} is out of range"
            self._k.printk(f"{text}, clamping between 1 and {self._max_active}\n", level=4)
        return max(1, min(max_active, self._max_active))

    def system(self, *names: str) -> Workqueue:
        """The workqueue that the first of these variables points to, of those that the kernel has."""
        found = map(self._k.symbols.find, names)
        variable = next(symbol for symbol in found if symbol is not None)
        return self.at(self._k.memory.u64(variable.address))

    @property
    def events(self) -> Workqueue:
        """The workqueue of schedule_work()."""
        return self.system("system_wq", "system_percpu_wq")

    def at(self, address: int) -> Workqueue:
        """The workqueue whose struct is at ``address``. Raises Fault if there is none (any more)."""
        if (wq := self._by_address.get(address)) is None:
            raise Fault(address)
        return wq

    def set_max_active(self, wq: Workqueue, max_active: int) -> None:
        """workqueue_set_max_active()."""
        if wq.flags & WQ_ORDERED_EXPLICIT:
            warn(self._k, SET_MAX_ACTIVE)
            return
        wq.flags &= ~WQ_ORDERED
        wq.max_active = self._clamp(max_active, wq.name)
        self._activate(wq)

    def destroy(self, wq: Workqueue) -> None:
        """destroy_workqueue(): finish queued work, then free the queue; a later use of it is a page fault."""
        self.drain(wq)
        if wq.rescuer is not None:
            wq.rescuer.stop()
        self._free(wq)

    # -- queueing -------------------------------------------------------------------------------------

    def queued(self) -> Iterator[int]:
        """The addresses of the struct work_structs that are on a queue and have not begun to run."""
        return (work.address for work in self._pending if isinstance(work, GuestWork))

    def function_at(self, work: int) -> int:
        """``&work->func``."""
        return work + self.layout.func

    def claim(self, work: Work | GuestWork) -> bool:
        """Mark work pending in order to queue it; False if it already is, or is disabled."""
        if work.test_and_set_pending():
            return False
        if work.disabled:
            work.clear_pending()
            return False
        return True

    def queue(self, wq: Workqueue, work: Work | GuestWork | Callable[[], object]) -> bool:
        """queue_work(): False if it is pending or disabled. A bare function is wrapped in a new ``Work``."""
        if not isinstance(work, Work | GuestWork):
            work = Work(work)
        if not self.claim(work):
            return False
        self.insert(wq, work)
        return True

    def insert(self, wq: Workqueue, work: Work | GuestWork) -> None:
        """__queue_work(): queue the work, which the caller has marked pending."""
        if wq.drainers and not self._chained(wq):
            warn_once(self._k, DRAINING)
            return
        if not work.may_queue():
            warn(self._k, NOT_INITIALISED)
            return
        admit(self._k, len(wq.in_flight), "works on a workqueue")
        queued = Queued(self, wq, work)
        self._pending[work] = queued
        wq.in_flight[queued] = wq.inactive[queued] = None
        self._activate(wq)

    def _activate(self, wq: Workqueue) -> None:
        limit = 0 if self._is_freezing and wq.flags & WQ_FREEZABLE else wq.max_active
        while wq.inactive and wq.nr_active < limit:
            wq.nr_active += 1
            wq.pool.insert(wq.inactive.popitem(last=False)[0])

    def freeze_begin(self) -> None:
        """freeze_workqueues_begin(): have queues with WQ_FREEZABLE start no more work."""
        if self._is_freezing:
            warn_once(self._k, FREEZING)
        self._is_freezing = True

    def freeze_busy(self) -> bool:
        """freeze_workqueues_busy(): True if a queue with WQ_FREEZABLE has work that is not done."""
        cond_resched(self._k)  # as in mutex_lock()
        if not self._is_freezing:
            warn_once(self._k, NOT_FREEZING)
        return any(wq.nr_active for wq in self._by_address.values() if wq.flags & WQ_FREEZABLE)

    def thaw(self) -> None:
        """thaw_workqueues(): start the work that was queued meanwhile."""
        if self._is_freezing:
            self._is_freezing = False
            for wq in self._by_address.values():
                self._activate(wq)

    def _chained(self, wq: Workqueue) -> bool:
        worker = self.current_worker()
        return worker is not None and isinstance(worker.current, Queued) and worker.current.wq is wq

    def current_worker(self) -> Worker | None:
        """current_wq_worker()."""
        sched = self._k.sched
        if sched.in_interrupt or sched.current is None:
            return None
        return self._worker_of(sched.current)

    def _worker_of(self, task: Task) -> Worker | None:
        found = (wq.pool.worker_of(task) for wq in self._by_address.values())
        return next((worker for worker in found if worker is not None), None)

    def worker_info(self, task: Task) -> str:
        """print_worker_info(): "Workqueue: NAME FUNCTION (DESCRIPTION)", or "" if it has never worked."""
        worker = self._worker_of(task)
        if worker is None or not worker.description:
            return ""
        current = worker.current
        name, function = (current.queue_name(), current.function_name()) if current else ("", "0x0")
        description = f" ({worker.description})" if worker.description != name else ""
        return f"Workqueue: {name} {function}{description}"

    def forget(self, work: Work | GuestWork) -> None:
        """Record that the work item is on no list any more."""
        self._pending.pop(work, None)

    def finish(self, queued: Queued) -> None:
        """pwq_dec_nr_in_flight(): end this queueing, whose function has run or has been cancelled."""
        queued.wq.nr_active -= 1
        self._activate(queued.wq)
        self._release(queued)

    def _release(self, queued: Queued) -> None:
        queued.done = True
        del queued.wq.in_flight[queued]
        queued.wq.waiters.wake_all()

    def address_of(self, item: object) -> int:
        """The address of the work_struct a worker is executing; 0 if it is not a module's."""
        work = item.work if isinstance(item, Queued) else None
        return work.address if isinstance(work, GuestWork) else 0

    def call(self, wq: Workqueue, function: Callable[[], object]) -> bool:
        """Have a worker call ``function``, and wait for it to return."""
        work = Work(function)
        self.queue(wq, work)
        return self.flush(work)

    # -- cancelling and waiting -----------------------------------------------------------------------

    def grab(self, work: Work | GuestWork) -> int:
        """try_to_grab_pending(): remove the work from its list and leave it pending, owned by the caller.

        Returns 1 if it was pending, 0 if it was idle, -1 if another task is cancelling it.
        """
        if not work.test_and_set_pending():
            return 0
        if work in self._canceling:
            return -1
        if (queued := self._pending.get(work)) is None:
            return -1
        self.forget(work)
        wq = queued.wq
        if queued in wq.inactive:
            del wq.inactive[queued]
            self._release(queued)
        else:
            wq.pool.remove(queued)
            self.finish(queued)
        return 1

    def busy_grab(self, work: Work | GuestWork, grab: Callable[[], int]) -> int:
        """Repeat ``grab`` while the work is pending but on no list, for example on its timer."""
        while (grabbed := grab()) < 0 and work not in self._canceling:
            if self._k.sched.in_interrupt:
                deadlock(self._k)
            block(self._k, TASK_UNINTERRUPTIBLE, 1)
        return grabbed

    def cancel(self, work: Work | GuestWork, grab: Callable[[], int] | None = None) -> bool:
        """cancel_work(): True if it was pending. ``grab`` replaces ``self.grab`` for delayed work."""
        grabbed = self.busy_grab(work, grab or (lambda: self.grab(work)))
        if grabbed < 0:
            return False
        work.clear_pending()
        return grabbed > 0

    def disable(self, work: GuestWork, grab: Callable[[], int] | None = None) -> bool:
        """disable_work(): cancel it, and let it be queued again after as many enable(); True if pending.

        Raises LayoutError if the bits that count are not known.
        """
        if not self.disable_bits.width:
            self._k.types.enum("work_bits")
        grabbed = self.busy_grab(work, grab or (lambda: self.grab(work)))
        work.disable()
        if grabbed >= 0:
            work.clear_pending()
        return grabbed > 0

    def disable_sync(self, work: GuestWork, grab: Callable[[], int] | None = None) -> bool:
        """disable_work_sync(): the same, and wait until it is not running."""
        pending = self.disable(work, grab)
        self.flush(work, cancel=True)
        return pending

    def enable(self, work: GuestWork, grab: Callable[[], int] | None = None) -> bool:
        """enable_work(): True if it can be queued again."""
        grabbed = self.busy_grab(work, grab or (lambda: self.grab(work)))
        work.enable()
        if grabbed >= 0:
            work.clear_pending()
        return not work.disabled

    def cancel_sync(self, work: Work | GuestWork, grab: Callable[[], int] | None = None) -> bool:
        """cancel_work_sync(): cancel it and wait until it is not running; True if it was pending."""
        if self.disable_bits.width and isinstance(work, GuestWork):
            pending = self.disable_sync(work, grab)
            self.enable(work, grab)
            return pending
        grab = grab or (lambda: self.grab(work))
        while (grabbed := self.busy_grab(work, grab)) < 0:
            self._cancelers.wait_event(lambda: work not in self._canceling)
        # While it is marked pending, no code can queue it, not even its own function.
        self._canceling.add(work)
        try:
            self.flush(work, cancel=True)
        finally:
            self._canceling.discard(work)
        work.clear_pending()
        self._cancelers.wake_all()
        return grabbed > 0

    def flush(self, work: Work | GuestWork, *, cancel: bool = False) -> bool:
        """flush_work(): wait until its last queueing has finished; False if it was idle.

        ``cancel``: the caller has cancelled it, so that memory reclaim depends on nothing that is queued.
        """
        cond_resched(self._k)  # might_sleep(): a worker that was just woken may run it now
        queued = self._pending.get(work) or self.running(work)
        if queued is None:
            return False
        waited = queued
        if not cancel:
            self._check_dependency(queued.wq, queued.function_name())
        queued.wq.waiters.wait_event(lambda: waited.done)
        return True

    def _check_dependency(self, wq: Workqueue, function: str = "0x0") -> None:
        """check_flush_dependency(): warn if memory reclaim waits for a queue that guarantees no progress."""
        k = self._k
        if wq.flags & WQ_MEM_RECLAIM:
            return
        text = f"is flushing !WQ_MEM_RECLAIM {wq.name}:{function}"
        task = k.sched.task()
        if k.tasks.pf(task) & PF_MEMALLOC:
            message = f"workqueue: PF_MEMALLOC task {task.pid}({k.tasks.comm(task)}) {text}"
            warn_once(k, FLUSHED_BY_RECLAIM, message)
        if (current := self.reclaiming()) is not None:
            message = f"workqueue: WQ_MEM_RECLAIM {current.wq.name}:{current.function_name()} {text}"
            warn_once(k, FLUSHED_BY_RECLAIMER, message)

    def reclaiming(self) -> Queued | None:
        """The work of the current worker, if it is of a queue on which the reclaim of memory relies."""
        worker = self.current_worker()
        current = worker.current if worker is not None else None
        if isinstance(current, Queued) and current.wq.flags & (WQ_MEM_RECLAIM | WQ_LEGACY) == WQ_MEM_RECLAIM:
            return current
        return None

    def running(self, work: Work | GuestWork) -> Queued | None:
        """The queueing whose function is running, or None."""
        key = work.identity()
        for wq in self._by_address.values():
            item = wq.pool.executing(key)
            if isinstance(item, Queued):
                return item
        return None

    def flush_all(self, wq: Workqueue) -> None:
        """__flush_workqueue(): wait for all work that is on the queue now."""
        self._check_dependency(wq)
        waited = tuple(wq.in_flight)
        wq.waiters.wait_event(lambda: all(queued.done for queued in waited))

    def drain(self, wq: Workqueue) -> None:
        """drain_workqueue(): flush until the queue is empty; only its own work may queue more meanwhile."""
        wq.drainers += 1
        tries = 0
        self.flush_all(wq)
        while wq.in_flight:
            tries += 1
            if tries == 10 or (tries % 100 == 0 and tries <= 1000):
                text = f"workqueue {wq.name}: drain_workqueue() isn't complete after {tries} tries\n"
                self._k.printk(text, level=4)
            self.flush_all(wq)
        wq.drainers -= 1
