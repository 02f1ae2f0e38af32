"""Kernel threads: kernel/kthread.c."""

from __future__ import annotations

from collections.abc import Callable
from errno import EBUSY, EINTR, ENOSYS
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.lib import vsprintf
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.sched.core import (
    PF_KTHREAD,
    PF_NO_SETAFFINITY,
    TASK_UNINTERRUPTIBLE,
    Task,
    TaskExitError,
    block,
)
from ukmod.kernel.sched.waiters import Waiters
from ukmod.machine.abi import Bool, CStr, Int, Long, Ptr, UInt, VarArgs
from ukmod.machine.memory import Fault
from ukmod.machine.registers import MASK64
from ukmod.record import field, mutable, record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

TASK_PARKED: Final = 0x40
_PARK_EXITED: Final = Site("kernel/kthread.c", 658, "kthread_park", nth=1, of=4)
_BIND_RUNNING: Final = Site("kernel/kthread.c", 524, "__kthread_bind")
_PARK_TWICE: Final = Site("kernel/kthread.c", 661, "kthread_park", nth=2, of=4)
_MEMBERS: Final = {"flags": 0, "result": 12, "data": 24}
"""The offsets of members of struct kthread in bytes, up to v7.2."""


@record
class Use:
    """How a function uses the task that it is passed, which need not be a kernel thread.

    function, others, warnings: where to_kthread() warns then, as in a Site.
    member, write: the access to struct kthread that follows.
    first: the member of struct task_struct that is accessed before. An atomic instruction reads it first.
    """

    function: str
    others: tuple[str, ...] = ()
    warnings: int = 1
    member: str = "flags"
    write: bool = False
    first: str = "flags"


STOP: Final = Use("kthread_stop", first="usage")
SHOULD_STOP: Final = Use("kthread_should_stop")
FREEZABLE: Final = Use("kthread_freezable_should_stop")
_SHOULD_PARK: Final = Use("__kthread_should_park")
_PARK: Final = Use("kthread_park", warnings=4)
_UNPARK: Final = Use("kthread_unpark")
_PARKME: Final = Use("kthread_parkme")
_DATA: Final = Use("kthread_data", member="data")
_EXIT: Final = Use("kthread_exit", member="result", write=True)
_BODY: Final = Use("kthread")


@mutable
class Kthread:
    """A struct kthread, which only the kernel itself accesses."""

    task: Task
    function: int = 0
    """The address of the guest function it runs; 0 if it runs a Python function."""
    data: int = 0
    should_stop: bool = False
    should_park: bool = False
    parked: bool = False
    result: int = 0
    waiters: Waiters = field(kw_only=True)

    def ended(self, task: Task) -> None:
        """Called when its task has exited: wake the tasks that wait for that."""
        del task
        self.waiters.wake_all()


class Kthreads:
    """Creates and stops kernel threads."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel

    def create(self, name: str, run: Callable[[], int], *, function: int = 0, data: int = 0) -> Task:
        """A new kernel thread, which calls ``run`` once it is woken, unless it is stopped before."""
        k = self._k
        task = k.tasks.create(name, partial(self._body, run), kthread=True, parent=k.tasks.kthreadd)
        task.kthread = thread = Kthread(task, function, data, waiters=Waiters(k))
        task.on_exit.append(thread.ended)
        if k.sched.current is not None:
            task.owner = k.sched.current.owner
        if (module := k.modules.of_code(function)) is not None:
            task.owner = module.name
        k.tasks.set_state(task, TASK_UNINTERRUPTIBLE)
        return task

    def run(self, name: str, run: Callable[[], int]) -> Task:
        """kthread_run() of a Python function."""
        task = self.create(name, run)
        self._k.sched.wake_new(task)
        return task

    def create_guest(self, function: int, data: int, name: str) -> Task:
        """kthread_create() of a guest function."""
        run = partial(self._k.cpu.call, function, data)
        return self.create(name, run, function=function, data=data)

    def _body(self, run: Callable[[], int]) -> int:
        thread = self.current(_BODY)
        if thread.should_stop:
            thread.result = -EINTR
            return 0
        self._parkme(thread)
        return self.finish(run)

    def finish(self, run: Callable[[], int]) -> int:
        """Run ``run``, the rest of the current thread's work, and end the thread."""
        thread = self.current(_BODY)
        thread.result = signed(run(), 4)
        return 0

    def of(self, address: int, use: Use) -> Kthread:
        """The kernel thread of a task_struct, for a function that uses it like this.

        Raises Fault if there is no such task or it is not a kthread.
        """
        try:
            task = self._k.tasks.at(address)
        except Fault:
            at = address + self._k.types.offset("task_struct", use.first)
            raise Fault(at & MASK64) from None
        return self._of(task, use)

    def current(self, use: Use) -> Kthread:
        """The current task's struct kthread. Raises Fault if it is not a kernel thread."""
        return self._of(self._k.sched.task(), use)

    def _of(self, task: Task, use: Use) -> Kthread:
        """to_kthread(), and the use of what it returns: NULL for a task that is not a kthread."""
        if task.kthread is None:
            if not self._k.tasks.pf(task) & PF_KTHREAD:
                warn(self._k, Site("kernel/kthread.c", 75, use.function, use.others, of=use.warnings))
            raise Fault(_MEMBERS[use.member], write=use.write)
        return task.kthread

    def exit(self, result: int) -> None:
        """kthread_exit(): end the current thread; ``result`` is returned by kthread_stop()."""
        self.current(_EXIT).result = result
        raise TaskExitError(0)

    def stop(self, thread: Kthread) -> int:
        """kthread_stop(): ask the thread to end, wait for that, and return its function's result."""
        k, task = self._k, thread.task
        k.tasks.get(task)
        thread.should_stop = True
        self.unpark(thread)
        # Since v6.1 (commit a7c01fa93aeb) the thread sees a pending signal, so that it leaves its sleep.
        k.tasks.set_flag(task, k.tasks.tif.notify_signal)
        k.sched.wake(task)
        thread.waiters.wait_event(lambda: task.exited)
        k.tasks.put(task)
        return thread.result

    def _parkme(self, thread: Kthread) -> None:
        while thread.should_park:
            thread.parked = True
            thread.waiters.wake_all()
            block(self._k, TASK_PARKED)
        thread.parked = False

    def parkme(self) -> None:
        """kthread_parkme()."""
        self._parkme(self.current(_PARKME))

    def unpark(self, thread: Kthread) -> None:
        """kthread_unpark()."""
        thread.should_park = False
        self._k.sched.wake(thread.task, TASK_PARKED)

    def park(self, thread: Kthread) -> int:
        """kthread_park(): wait until the thread has parked itself; returns 0.

        Misuse is warned about: -ENOSYS (the thread has ended), -EBUSY (it is already being parked).
        """
        if thread.task.exited:
            warn(self._k, _PARK_EXITED)
            return -ENOSYS
        if thread.should_park:
            warn_once(self._k, _PARK_TWICE)
            return -EBUSY
        thread.should_park = True
        if thread.task is not self._k.sched.task():
            self._k.sched.wake(thread.task)
            thread.waiters.wait_event(lambda: thread.parked or thread.task.exited)
        return 0

    def bind(self, task: Task) -> None:
        """__kthread_bind_mask(): forbid a thread that sleeps where it was created to be moved."""
        if self._k.tasks.state(task) != TASK_UNINTERRUPTIBLE or task.exited:
            warn(self._k, _BIND_RUNNING)
            return
        self._k.tasks.set_pf(task, PF_NO_SETAFFINITY)

    def running(self) -> list[Task]:
        """The threads that have not ended."""
        return [task for task in self._k.tasks.all() if task.kthread is not None]


@export()
def kthread_create_on_node(k: Core, function: Ptr, data: Ptr, node: Int, fmt: CStr, args: VarArgs) -> Ptr:
    """``struct task_struct *kthread_create_on_node(int (*threadfn)(void *), void *data, node, fmt, ...)``"""
    del node
    name = vsprintf.vformat(k, fmt, args).decode("latin-1")
    return _create(k, function, data, name)


def _create(k: Core, function: int, data: int, name: str) -> int:
    try:
        return k.kthreads.create_guest(function, data, name).address
    except LimitError as error:
        return -error.errno


@export()
def kthread_create_on_cpu(k: Core, function: Ptr, data: Ptr, cpu: UInt, fmt: CStr) -> Ptr:
    """``struct task_struct *kthread_create_on_cpu(threadfn, data, unsigned int cpu, const char *namefmt)``"""
    name = fmt.decode("latin-1").replace("%u", str(cpu)).replace("%d", str(cpu))
    created = _create(k, function, data, name)
    if created > 0:
        kthread_bind(k, created, cpu)
    return created


@export()
def kthread_stop(k: Core, task: Ptr) -> Int:
    """``int kthread_stop(struct task_struct *k)``: the thread function's result; -EINTR if it never ran."""
    return k.kthreads.stop(k.kthreads.of(task, STOP))


@export()
def kthread_stop_put(k: Core, task: Ptr) -> Int:
    """``int kthread_stop_put(struct task_struct *k)``: kthread_stop(), and drop the caller's reference."""
    result = kthread_stop(k, task)
    k.tasks.put(k.tasks.at(task))
    return result


@export()
def kthread_should_stop(k: Core) -> Bool:
    """``bool kthread_should_stop(void)``."""
    return k.kthreads.current(SHOULD_STOP).should_stop


@export(gpl=True)
def kthread_should_park(k: Core) -> Bool:
    """``bool kthread_should_park(void)``."""
    return k.kthreads.current(_SHOULD_PARK).should_park


@export("__kthread_should_park", gpl=True)
def task_should_park(k: Core, task: Ptr) -> Bool:
    """``bool __kthread_should_park(struct task_struct *k)``."""
    return k.kthreads.of(task, _SHOULD_PARK).should_park


@export(gpl=True)
def kthread_park(k: Core, task: Ptr) -> Int:
    """``int kthread_park(struct task_struct *k)``."""
    return k.kthreads.park(k.kthreads.of(task, _PARK))


@export(gpl=True)
def kthread_unpark(k: Core, task: Ptr) -> None:
    """void kthread_unpark(struct task_struct *k)."""
    k.kthreads.unpark(k.kthreads.of(task, _UNPARK))


@export(gpl=True)
def kthread_parkme(k: Core) -> None:
    """void kthread_parkme(void)."""
    k.kthreads.parkme()


@export(gpl=True)
def kthread_data(k: Core, task: Ptr) -> Ptr:
    """void *kthread_data(struct task_struct *k)."""
    return k.kthreads.of(task, _DATA).data


@export(gpl=True)
def kthread_func(k: Core, task: Ptr) -> Ptr:
    """void *kthread_func(struct task_struct *k): NULL if it is a process."""
    thread = k.tasks.at(task).kthread
    return thread.function if thread is not None else 0


@export()
def kthread_exit(k: Core, result: Long) -> None:
    """void __noreturn kthread_exit(long result)."""
    k.kthreads.exit(result)


@export("kthread_complete_and_exit", "complete_and_exit")
def kthread_complete_and_exit(k: Core, completion: Ptr, code: Long) -> None:
    """void __noreturn kthread_complete_and_exit(struct completion *comp, long code)."""
    if completion:
        k.cpu.call(k.symbols.address("complete"), completion)
    k.kthreads.exit(code)


@export()
def kthread_bind(k: Core, task: Ptr, cpu: UInt) -> None:
    """void kthread_bind(struct task_struct *k, unsigned int cpu): before its first run; one CPU exists."""
    del cpu
    k.kthreads.bind(k.tasks.at(task))


@export(gpl=True)
def kthread_bind_mask(k: Core, task: Ptr, mask: Ptr) -> None:
    """void kthread_bind_mask(struct task_struct *k, const struct cpumask *mask)."""
    del mask
    k.kthreads.bind(k.tasks.at(task))


@export("__get_task_comm", gpl=True)
def get_task_comm(k: Core, buffer: Ptr, size: Long, task: Ptr) -> Ptr:
    """``char *__get_task_comm(char *buf, size_t buf_size, struct task_struct *tsk)``."""
    name = k.tasks.comm(k.tasks.at(task)).encode("latin-1")[: size - 1]
    k.memory.write(buffer, name.ljust(size, b"\0"))
    return buffer


@export("__put_task_struct", gpl=True)
def put_task_struct(k: Core, task: Ptr) -> None:
    """void __put_task_struct(struct task_struct *tsk): called after the last reference was dropped."""
    k.tasks.free(k.tasks.at(task))


@export("do_exit")
def do_exit(k: Core, code: Long) -> None:
    """void __noreturn do_exit(long code): kthread_stop() returns the code, where modules may call this."""
    if (thread := k.sched.task().kthread) is not None:
        thread.result = code
    raise TaskExitError(code, k.cpu.sp)
