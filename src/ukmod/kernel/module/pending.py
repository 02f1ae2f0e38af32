"""Functions that the kernel would still call in a module: of timers, work, tasklets, RCU and helpers.

All of it must be gone when the exit function returns. What the unloading itself waits for afterwards is a
matter of luck on real hardware: free_module() waits for a grace period, but not for the callbacks after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ukmod.kernel.module.dangling import Dangling, memory_at, owns, variable_at
from ukmod.kernel.x86.unwind import frame_of
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.main import Module
    from ukmod.kernel.sched.core import Task


@record
class Call:
    """A call that the kernel will make."""

    kind: str
    address: int
    """The address of the object that asks for it."""
    function: int
    """The address of the function; 0 if it is unknown, as the object's memory is in use again."""
    due: int | None = None
    """In virtual nanoseconds since boot; None if it is made as soon as possible."""
    name: str = ""
    """The name of the object, if it has one of its own."""


def thread(k: Core, task: Task) -> Dangling:
    """A kernel thread of a module."""
    function = task.kthread.function if task.kthread is not None else 0
    frame = frame_of(k, function) if function and k.modules.of_code(function) else None
    return Dangling("thread", task.owner, f"{k.tasks.comm(task)} (pid {task.pid}) of {task.owner}", frame)


def threads_in(k: Core, module: Module) -> list[Dangling]:
    """A module's threads that sleep, to continue in freed code. One that runs may be about to end."""
    return [
        thread(k, task)
        for task in k.kthreads.running()
        if task.owner == module.name and not k.tasks.running(task)
    ]


def pending_in(k: Core, module: Module) -> list[Dangling]:
    """The pending calls of a module's functions, or for objects in its memory."""
    return [
        Dangling(
            call.kind,
            module.name,
            call.name or variable_at(k, call.address) or f"in {memory_at(k, call.address)}",
            frame_of(k, call.function) if owns(k, module, call.function) else None,
            due=call.due,
        )
        for call in _calls(k)
        if owns(k, module, call.function) or owns(k, module, call.address)
    ]


def _calls(k: Core) -> Iterator[Call]:
    """Everything that the kernel will call."""
    peek = k.memory.peek
    for timer, due in k.timers.armed().items():
        yield _of_timer(k, timer, due)
    for timer, due in k.hrtimers.armed().items():
        yield Call("hrtimer", timer, peek(k.hrtimers.function_at(timer)), due)
    for work in k.workqueues.queued():
        yield Call("work", work, peek(k.workqueues.function_at(work)))
    for work in k.kthread_workers.queued:
        yield Call("kthread work", work, peek(k.kthread_workers.function_at(work)))
    for tasklet in k.tasklets.queued:
        yield Call("tasklet", tasklet, peek(k.tasklets.function_at(tasklet)))
    for head in k.rcu.heads:
        yield Call("RCU callback", head, peek(k.rcu.function_at(head)))
    for head in k.srcu.heads:
        yield Call("SRCU callback", head, peek(k.rcu.function_at(head)))  # the same struct
    for entry in k.async_calls.unwaited():
        yield Call(
            "async call", entry.data, entry.function, name=k.kallsyms.sprint(entry.function, offset=False)
        )
    for helper, function in k.helpers.unwaited():
        yield Call("usermode helper", helper.address, function, name=helper.path)


def _of_timer(k: Core, timer: int, due: int) -> Call:
    """The call of a timer, or of the delayed work that it is part of."""
    peek, function = k.memory.peek, k.memory.peek(k.timers.function_at(timer))
    if k.symbols.is_function(function, "delayed_work_timer_fn"):
        work = timer - k.types.offset("delayed_work", "timer") + k.types.offset("delayed_work", "work")
        return Call("delayed work", work, peek(k.workqueues.function_at(work)), due)
    if k.symbols.is_function(function, "kthread_delayed_work_timer_fn"):
        workers = k.kthread_workers
        work = timer - workers.delayed.timer + workers.delayed.work
        return Call("delayed kthread work", work, peek(workers.function_at(work)), due)
    return Call("timer", timer, function, due)
