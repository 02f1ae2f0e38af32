"""Rescuers: the thread of each workqueue with WQ_MEM_RECLAIM (Linux: kernel/workqueue.c).

If no more workers can be created, a queue's rescuer executes its work, so that memory reclaim, which may wait
for that work, can continue. All other time it sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ukmod.kernel.kthread import STOP
from ukmod.kernel.sched.core import PF_WQ_WORKER, TASK_IDLE, TASK_RUNNING
from ukmod.kernel.sched.prio import MIN_NICE, set_nice
from ukmod.kernel.workqueue.pool import Item, Worker, WorkerPool

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


class Rescuer:
    """The rescuer named ``name`` of the workqueue whose items on ``pool`` are those that ``mine`` accepts.

    Raises LimitError if its thread cannot be created.
    """

    def __init__(self, kernel: Core, name: str, pool: WorkerPool, mine: Callable[[Item], bool]) -> None:
        self._k = kernel
        self._pool = pool
        self._mine = mine
        self._called = False
        self._task = kernel.kthreads.create(name, self._main)
        self._task.owner = ""
        self._thread = kernel.kthreads.of(self._task.address, STOP)
        kernel.kthreads.bind(self._task)
        pool.attach(Worker(self._task, 0, managed=False))
        kernel.sched.wake_new(self._task)

    def summon(self) -> None:
        """send_mayday(): have it execute the work of its queue that waits for a worker."""
        self._called = True
        self._k.sched.wake(self._task, TASK_IDLE)

    def stop(self) -> None:
        """End the thread, and wait for that."""
        if not self._task.exited:
            self._k.kthreads.stop(self._thread)

    def _main(self) -> int:
        """rescuer_thread()."""
        tasks, task = self._k.tasks, self._task
        set_nice(self._k, task, MIN_NICE)
        tasks.set_pf(task, PF_WQ_WORKER)
        while True:
            tasks.set_state(task, TASK_IDLE)
            should_stop = self._thread.should_stop
            if self._called:
                tasks.set_state(task, TASK_RUNNING)
                self._called = False
                self._pool.rescue(task, self._mine)
            if should_stop:
                tasks.set_state(task, TASK_RUNNING)
                tasks.set_pf(task, PF_WQ_WORKER, to=False)
                return 0
            self._k.sched.schedule(rest=self._main)
