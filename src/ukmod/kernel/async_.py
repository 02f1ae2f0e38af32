"""Asynchronous function calls: kernel/async.c. The module loader waits for them.

A struct async_domain in a module's memory only says whether its calls count among those that everyone waits
for; the calls themselves are listed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.sched.core import Task, cond_resched
from ukmod.kernel.sched.waiters import Waiters
from ukmod.kernel.workqueue.work import Work
from ukmod.machine.abi import Bool, Int, Ptr, ULong
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

COOKIE_MAX: Final = (1 << 64) - 1
"""Waiting for this cookie is waiting for all calls."""
MAX_WORK: Final = 32768
"""If more calls are pending, another one is made at once, by its caller."""
_DEFAULT_DOMAIN: Final = 0
_REGISTERED: Final = 16
"""The offset of ``registered`` in struct async_domain, a bit field after a list_head."""


@record
class AsyncEntry:
    """A struct async_entry: a call that has not returned yet."""

    cookie: int
    function: int
    data: int
    domain: int
    """The address of its struct async_domain; _DEFAULT_DOMAIN for the kernel's own."""
    everyones: bool
    """True if async_synchronize_full() waits for it, as its domain is registered."""


class AsyncCalls:
    """The pending calls, in the order of their cookies."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._pending: dict[int, AsyncEntry] = {}
        self._callers: set[Task] = set()
        """The workers that execute a call."""
        self._next = 1
        self._done = Waiters(kernel)

    def schedule(self, function: int, data: int, domain: int = _DEFAULT_DOMAIN) -> int:
        """async_schedule_domain(): have a worker call ``function(data, cookie)``; returns the cookie."""
        if len(self._pending) <= MAX_WORK:
            return self._queue(function, data, domain)
        cookie = self._new_cookie()
        self._k.cpu.call(function, data, cookie)
        return cookie

    def schedule_only(self, function: int, data: int) -> bool:
        """async_schedule_dev_nocall(): the same, but False instead of a call by the caller."""
        if len(self._pending) > MAX_WORK:
            return False
        self._queue(function, data, _DEFAULT_DOMAIN)
        return True

    def synchronize(self, cookie: int = COOKIE_MAX, domain: int | None = None) -> None:
        """async_synchronize_cookie_domain(): wait for the calls before ``cookie``, of one domain or all."""
        cond_resched(self._k)  # might_sleep(), of wait_event(): a call that was just scheduled may begin
        self._done.wait_event(lambda: self._lowest(domain) >= cookie)

    def current_is_async(self) -> bool:
        """True if the current task is a worker that executes a call."""
        sched = self._k.sched
        return not sched.in_interrupt and sched.current in self._callers

    def unwaited(self) -> Iterator[AsyncEntry]:
        """The calls that unloading a module does not wait for."""
        return (entry for entry in self._pending.values() if not entry.everyones)

    def _new_cookie(self) -> int:
        cookie, self._next = self._next, self._next + 1
        return cookie

    def _queue(self, function: int, data: int, domain: int) -> int:
        k = self._k
        everyones = domain == _DEFAULT_DOMAIN or bool(k.memory.u8(domain + _REGISTERED) & 1)
        entry = AsyncEntry(self._new_cookie(), function, data, domain, everyones)
        self._pending[entry.cookie] = entry
        work = Work(lambda: self._run(entry), name="async_run_entry_fn")
        k.workqueues.queue(k.workqueues.system("system_unbound_wq"), work)
        return entry.cookie

    def _run(self, entry: AsyncEntry) -> None:
        """async_run_entry_fn()."""
        task = self._k.sched.task()
        self._callers.add(task)
        try:
            self._k.cpu.call(entry.function, entry.data, entry.cookie)
        finally:
            self._callers.remove(task)
        # A call that oopsed has not returned: a task that waits for it waits for ever, as in the kernel.
        del self._pending[entry.cookie]
        self._done.wake_all()

    def _lowest(self, domain: int | None) -> int:
        """lowest_in_progress()."""
        for entry in self._pending.values():
            if entry.everyones if domain is None else entry.domain == domain:
                return entry.cookie
        return COOKIE_MAX


@export(gpl=True)
def async_schedule_node_domain(k: Core, function: Ptr, data: Ptr, node: Int, domain: Ptr) -> ULong:
    """``async_cookie_t async_schedule_node_domain(func, void *data, int node, struct async_domain *)``."""
    del node
    return k.async_calls.schedule(function, data, domain)


@export(gpl=True)
def async_schedule_node(k: Core, function: Ptr, data: Ptr, node: Int) -> ULong:
    """``async_cookie_t async_schedule_node(async_func_t func, void *data, int node)``."""
    del node
    return k.async_calls.schedule(function, data)


@export(gpl=True)
def async_schedule_dev_nocall(k: Core, function: Ptr, device: Ptr) -> Bool:
    """``bool async_schedule_dev_nocall(async_func_t func, struct device *dev)``."""
    return k.async_calls.schedule_only(function, device)


@export(gpl=True)
def async_synchronize_full(k: Core) -> None:
    """``void async_synchronize_full(void)``."""
    k.async_calls.synchronize()


@export(gpl=True)
def async_synchronize_full_domain(k: Core, domain: Ptr) -> None:
    """``void async_synchronize_full_domain(struct async_domain *)``; NULL stands for all of them."""
    k.async_calls.synchronize(domain=domain or None)


@export(gpl=True)
def async_synchronize_cookie_domain(k: Core, cookie: ULong, domain: Ptr) -> None:
    """``void async_synchronize_cookie_domain(async_cookie_t cookie, struct async_domain *)``."""
    k.async_calls.synchronize(cookie, domain or None)


@export(gpl=True)
def async_synchronize_cookie(k: Core, cookie: ULong) -> None:
    """``void async_synchronize_cookie(async_cookie_t cookie)``."""
    k.async_calls.synchronize(cookie, _DEFAULT_DOMAIN)


@export(gpl=True)
def current_is_async(k: Core) -> Bool:
    """``bool current_is_async(void)``."""
    return k.async_calls.current_is_async()
