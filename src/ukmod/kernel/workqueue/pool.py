"""Worker pools: the half of kernel/workqueue.c that executes work.

A pool keeps one worker running while there is work: when that worker sleeps, the next one continues with the
list. One idle worker always stands by, so worker names count up as in the kernel.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ukmod.errors import LimitError
from ukmod.kernel.sched.core import PF_NO_SETAFFINITY, PF_WQ_WORKER, TASK_IDLE, Task, cond_resched
from ukmod.kernel.sched.prio import set_nice
from ukmod.record import field, mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


class Item(Protocol):
    """A work item on a queue."""

    def begin(self) -> None:
        """Dequeue it; from now on it can be queued again."""

    def run(self) -> None:
        """Call its function."""

    def end(self) -> None:
        """Called after it has run."""

    def key(self) -> object:
        """The identity of work that must not run twice at the same time."""

    def function_name(self) -> str:
        """The name of its function, for reports."""

    def queue_name(self) -> str:
        """The name of its workqueue, for reports."""

    def cpu_intensive(self) -> bool:
        """True if the worker that runs it does not count as running (WQ_CPU_INTENSIVE)."""

    def send_mayday(self) -> None:
        """Summon the rescuer of its workqueue, if that has one."""


@mutable
class Worker:
    """struct worker."""

    task: Task
    number: int
    current: Item | None = None
    description: str = ""
    """The name of the latest work item's queue, or the text given to set_worker_desc()."""
    scheduled: deque[Item] = field(default_factory=deque)
    """Queueings of the same work item, which have to wait for the current one."""
    managed: bool = True
    """False for a rescuer, which never counts as running."""


class WorkerPool:
    """struct worker_pool. ``name`` is the name of its workers, with {} for a worker's number."""

    def __init__(self, kernel: Core, name: str, *, managed: bool, nice: int = 0) -> None:
        self._k = kernel
        self._name = name
        self._nice = nice
        """The nice value of its workers: ``pool->attrs->nice``."""
        self._managed = managed
        """True if concurrency is managed: one running worker at a time, as in per-CPU pools."""
        self.worklist: OrderedDict[Item, None] = OrderedDict()
        self._idle: list[Worker] = []
        self._busy: list[Worker] = []
        self._count = 0
        self._by_task: dict[Task, Worker] = {}

    # -- queueing -------------------------------------------------------------------------------------

    def insert(self, item: Item) -> None:
        """insert_work(): append work to the list and make sure that a worker executes it."""
        self.worklist[item] = None
        if not self._busy and not self._idle:
            # The kernel creates this worker at boot, so it is woken like a task that has slept.
            self._k.sched.wake(self._create().task)
        self._wake_another()

    def remove(self, item: Item) -> None:
        """Remove a work item that has not begun."""
        if item in self.worklist:
            del self.worklist[item]
            return
        for worker in self._busy:
            if item in worker.scheduled:
                worker.scheduled.remove(item)

    def executing(self, key: object) -> Item | None:
        """find_worker_executing_work(): the item with this key that is running, or None."""
        worker = self._worker_executing(key)
        return worker.current if worker is not None else None

    def _worker_executing(self, key: object) -> Worker | None:
        for worker in self._busy:
            if worker.current is not None and worker.current.key() == key:
                return worker
        return None

    def worker_of(self, task: Task) -> Worker | None:
        """The worker that runs as this task, or None."""
        return self._by_task.get(task)

    # -- workers --------------------------------------------------------------------------------------

    def _create(self) -> Worker:
        number, self._count = self._count, self._count + 1
        task = self._k.kthreads.create(self._name.replace("{}", str(number)), self._main)
        task.owner = ""
        self._k.tasks.set_pf(task, PF_WQ_WORKER | PF_NO_SETAFFINITY)
        set_nice(self._k, task, self._nice)
        worker = Worker(task, number)
        self.attach(worker)
        self._idle.append(worker)
        task.on_sleep = self._wake_another
        return worker

    def attach(self, worker: Worker) -> None:
        """worker_attach_to_pool(): make a task known as this worker until it ends."""
        self._by_task[worker.task] = worker
        worker.task.on_exit.append(self._died)

    def _one_more(self) -> Worker | None:
        """Another worker, or None if there is no memory for one: rescuers and the other workers continue.

        The kernel keeps trying for 10 ms before it summons the rescuers: MAYDAY_INITIAL_TIMEOUT.
        """
        try:
            return self._create()
        except LimitError:
            for item in self.worklist:
                item.send_mayday()
            return None

    def rescue(self, rescuer: Task, mine: Callable[[Item], bool]) -> None:
        """Execute the items that wait and that ``mine`` accepts, in their order, as this task."""
        worker = self._by_task[rescuer]
        self._busy.append(worker)
        while (item := next(filter(mine, self.worklist), None)) is not None:
            del self.worklist[item]
            self._process(worker, item)
            self._process_scheduled(worker)
        self._busy.remove(worker)
        self._wake_another()

    def _died(self, task: Task) -> None:
        worker = self._by_task.pop(task)
        if worker in self._busy:
            self._busy.remove(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        self._wake_another()

    def _running(self) -> bool:
        """True if a worker is executing work without sleeping; always False for an unmanaged pool."""
        if not self._managed:
            return False
        return any(self._counts(worker) for worker in self._busy)

    def _counts(self, worker: Worker) -> bool:
        if not worker.managed or (worker.current is not None and worker.current.cpu_intensive()):
            return False
        return self._k.tasks.running(worker.task)

    def _wake_idle(self) -> None:
        if self._idle:
            task = self._idle[-1].task
            self._k.sched.wake(task, TASK_IDLE)

    def _wake_another(self) -> None:
        """wq_worker_sleeping(): a worker sleeps or ends, so another one continues with the list."""
        if self.worklist and not self._running():
            if not self._idle and (worker := self._one_more()) is not None:
                self._k.sched.wake(worker.task)
            self._wake_idle()

    def _main(self) -> int:
        """worker_thread()."""
        worker = self._by_task[self._k.sched.task()]
        while True:
            if self.worklist and not self._running():
                self._idle.remove(worker)
                self._busy.append(worker)
                if not self._idle and (other := self._one_more()) is not None:
                    self._k.sched.wake_new(other.task)
                self._work(worker)
                self._busy.remove(worker)
                self._idle.append(worker)
                continue
            self._k.tasks.set_state(worker.task, TASK_IDLE)
            self._k.sched.schedule(rest=self._main)

    def _work(self, worker: Worker) -> None:
        while self.worklist:
            self._process(worker, self.worklist.popitem(last=False)[0])
            self._process_scheduled(worker)
            if self._managed and sum(map(self._counts, self._busy)) > 1:
                break

    def _process_scheduled(self, worker: Worker) -> None:
        """process_scheduled_works()."""
        while worker.scheduled:
            self._process(worker, worker.scheduled.popleft())

    def _process(self, worker: Worker, item: Item) -> None:
        """process_one_work()."""
        collision = self._worker_executing(item.key())
        if collision is not None:
            collision.scheduled.append(item)
            return
        worker.current, worker.description = item, item.queue_name()
        item.begin()
        if self.worklist and not self._running():
            self._wake_idle()
        item.run()
        self._check_leak(worker, item)
        cond_resched(self._k)
        worker.current = None
        item.end()

    def _check_leak(self, worker: Worker, item: Item) -> None:
        k = self._k
        if count := k.percpu.preempt_count():
            comm = k.tasks.comm(worker.task)
            k.printk(
                f"BUG: workqueue leaked lock or atomic: {comm}/0x{count:08x}/{worker.task.pid}\n", level=3
            )
            k.printk(f"     last function: {item.function_name()}\n", level=3)
            k.crash.dump_stack(level=4)
