"""Sleepable RCU: kernel/rcu/srcutree.c.

Modules' readers are counted here. Those of an image's own code count themselves in the per-CPU srcu_data, as
do those whose srcu_read_lock_fast() is inlined (v6.15). Such readers say nothing when they leave: they are
looked for at every tick while a grace period waits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn
from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.mm.kmem_cache import CACHE_LINE
from ukmod.kernel.preempt_count import SOFTIRQ_DISABLE_OFFSET
from ukmod.kernel.rcu.rcu import SEQ_CTR_SHIFT
from ukmod.kernel.sched.waiters import Waiters
from ukmod.kernel.workqueue.work import Work
from ukmod.kernel.workqueue.workqueue import WQ_MEM_RECLAIM
from ukmod.machine.abi import Bool, Int, Ptr, ULong
from ukmod.machine.registers import MASK64
from ukmod.record import field, mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.main import Module

TINY: Final = ("srcu_struct.srcu_gp_running",)
"""kernel/rcu/srcutiny.c, of an image for one processor, keeps all of its state in the struct."""
READERS_LEFT: Final = Site("kernel/rcu/srcutree.c", 600, "cleanup_srcu_struct", nth=1, of=6)


@mutable
class Domain:
    """The state of a struct srcu_struct."""

    readers: list[int] = field(default_factory=lambda: [0, 0])
    """The number of readers by index."""
    index: int = 0
    grace_periods: list[tuple[int, Callable[[], object]]] = field(default_factory=list)
    """In order: the index whose readers must have left, and the function to call then."""
    completed: int = 0
    """The number of grace periods that have ended."""
    ready: int = 0
    """Callbacks whose grace period has ended, and that have not run yet."""
    percpu: int | None = None
    """The struct srcu_data that init_srcu_struct() has allocated."""
    polled: bool = False
    """True if the next tick looks for readers again."""


class Srcu:
    """The SRCU domains, by the address of their struct srcu_struct."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._head = Layout(kernel.types, "callback_head")
        self._layout = Layout(kernel.types, "srcu_struct")
        self._data = Layout(kernel.types, "srcu_data")
        self._domains: dict[int, Domain] = {}
        self._wq = kernel.workqueues.alloc("rcu_gp", WQ_MEM_RECLAIM)
        """rcu_gp_wq: callbacks run in its workers, with softirqs disabled."""
        self.heads: set[int] = set()
        """The addresses of the struct rcu_heads whose functions have not been called."""

    def init(self, address: int) -> None:
        """Forget what is known of a domain: nobody uses it yet."""
        self._domains[address] = Domain()

    def init_dynamic(self, address: int) -> None:
        """init_srcu_struct(): also allocates the counters, which a static domain has already."""
        self.init(address)
        if self._k.image is None or not self._layout.has("sda"):
            return
        domain, memory = self._domains[address], self._k.memory
        domain.percpu = self._k.percpu.reserve(self._k.types.sizeof("srcu_data"), CACHE_LINE)
        memory.set_u64(address + self._layout.sda, domain.percpu & MASK64)
        self._set_index(address, domain)

    def _set_index(self, address: int, domain: Domain) -> None:
        """Tell readers that count themselves which counter to use."""
        memory, layout = self._k.memory, self._layout
        if self._k.image is None:
            return
        if layout.has("srcu_ctrp"):
            counter = self._data.srcu_ctrs + domain.index * self._k.types.sizeof("srcu_ctr")
            memory.set_u64(address + layout.srcu_ctrp, memory.u64(address + layout.sda) + counter)
        elif layout.has("srcu_idx"):
            memory.set_u32(address + layout.srcu_idx, domain.index)

    def _counted(self, address: int, index: int) -> int:
        """The number of readers that count themselves."""
        k, memory = self._k, self._k.memory
        if (
            k.image is None
            or not self._layout.has("sda")
            or not (data := memory.s64(address + self._layout.sda))
        ):
            return 0
        data = data + k.percpu.base & MASK64  # since v6.15, the address of a variable is no offset
        if self._data.has("srcu_ctrs"):
            counter = Layout(k.types, "srcu_ctr")
            at = data + self._data.srcu_ctrs + index * k.types.sizeof("srcu_ctr")
            locks, unlocks = at + counter.srcu_locks, at + counter.srcu_unlocks
        else:
            locks, unlocks = (
                data + self._data.srcu_lock_count + 8 * index,
                data + self._data.srcu_unlock_count + 8 * index,
            )
        return memory.s64(locks) - memory.s64(unlocks)

    def _readers(self, address: int, index: int) -> int:
        return self.domain(address).readers[index] + self._counted(address, index)

    def domain(self, address: int) -> Domain:
        """The domain of a srcu_struct; created on first use, as DEFINE_SRCU() of the image calls no init."""
        if address not in self._domains:
            self.init(address)
        return self._domains[address]

    def cleanup(self, address: int) -> None:
        """cleanup_srcu_struct()."""
        if any(self._readers(address, index) for index in (0, 1)):
            warn(self._k, READERS_LEFT)
            return
        self.barrier(address)  # flush_delayed_work(), flush_work(): callbacks still run
        if (percpu := self._domains.pop(address).percpu) is not None:
            self._k.percpu.release(percpu)
            self._k.memory.set_u64(address + self._layout.sda, 0)

    def enter(self, address: int) -> int:
        """__srcu_read_lock(): returns the index to pass to ``leave``."""
        domain = self.domain(address)
        domain.readers[domain.index] += 1
        return domain.index

    def leave(self, address: int, index: int) -> None:
        """__srcu_read_unlock()."""
        domain = self.domain(address)
        domain.readers[index & 1] -= 1
        self._advance(address, domain)

    def call(self, address: int, action: Callable[[], object]) -> None:
        """call_srcu(): call ``action`` after all present readers have left."""
        domain = self.domain(address)
        self._k.clock.at(self._k.clock.now + self._k.clock.tick, partial(self._advance, address, domain))
        domain.grace_periods.append((domain.index, action))
        if len(domain.grace_periods) == 1:
            domain.index ^= 1
            self._set_index(address, domain)

    def _advance(self, address: int, domain: Domain) -> None:
        if self._domains.get(address) is not domain:
            return
        while domain.grace_periods and not self._readers(address, domain.grace_periods[0][0]):
            _, action = domain.grace_periods.pop(0)
            domain.completed += 1
            self._invoke(domain, action)
            if domain.grace_periods:
                domain.index = domain.grace_periods[0][0] ^ 1
                self._set_index(address, domain)
        if domain.grace_periods and not domain.polled and self._counted(address, domain.grace_periods[0][0]):
            domain.polled = True
            self._k.clock.at(self._k.clock.now + self._k.clock.tick, partial(self._poll, address, domain))

    def _poll(self, address: int, domain: Domain) -> None:
        domain.polled = False
        self._advance(address, domain)

    def _invoke(self, domain: Domain, action: Callable[[], object]) -> None:
        """Have ``action`` called by a worker, after those before it: srcu_invoke_callbacks()."""
        k = self._k

        def invoke() -> None:
            k.percpu.add_preempt(SOFTIRQ_DISABLE_OFFSET)
            action()
            domain.ready -= 1
            k.percpu.add_preempt(-SOFTIRQ_DISABLE_OFFSET)
            k.softirqs.run()

        domain.ready += 1
        k.workqueues.queue(self._wq, Work(invoke, "srcu_invoke_callbacks"))

    def state(self, address: int) -> int:
        """get_state_synchronize_srcu(): a cookie for the next grace period that anything starts."""
        domain = self.domain(address)
        return domain.completed + len(domain.grace_periods) + 1 << SEQ_CTR_SHIFT

    def poll_start(self, address: int) -> int:
        """start_poll_synchronize_srcu(): start a grace period; returns its cookie."""
        cookie = self.state(address)
        self.call(address, int)
        return cookie

    def poll(self, address: int, cookie: int) -> bool:
        """poll_state_synchronize_srcu(): true if the cookie's grace period is over."""
        return self.domain(address).completed >= cookie >> SEQ_CTR_SHIFT

    def synchronize(self, address: int) -> None:
        """synchronize_srcu()."""
        self._wait(partial(self.call, address))

    def barrier(self, address: int) -> None:
        """srcu_barrier(): wait for the callbacks that are queued now; at once if there are none.

        srcu_barrier_one_cpu() puts its own callback behind the last one, into the same grace period.
        """
        domain = self.domain(address)
        if domain.grace_periods:
            last, _ = domain.grace_periods[-1]
            self._wait(lambda wake: domain.grace_periods.append((last, wake)))
        elif domain.ready:
            self._wait(partial(self._invoke, domain))

    def _wait(self, queue: Callable[[Callable[[], object]], object]) -> None:
        """Have ``queue`` queue a callback, and sleep until it is called: wakeme_after_rcu()."""
        waiters, called = Waiters(self._k), False

        def wake() -> None:
            nonlocal called
            called = True
            waiters.wake_all()

        queue(wake)
        waiters.wait_event(lambda: called)

    def module_coming(self, module: Module) -> None:
        """srcu_module_coming(): initialise what the module defines with DEFINE_SRCU()."""
        for address in self._of(module):
            self.init(address)

    def module_going(self, module: Module) -> None:
        """srcu_module_going(): run the callbacks that are still queued, and forget the domains."""
        for address in self._of(module):
            self.cleanup(address)

    def _of(self, module: Module) -> list[int]:
        if self._k.image is not None:
            return []  # the image's own srcu_module_notify() is one of the module notifiers
        start, size = module.layout.sections.get("___srcu_struct_ptrs", (0, 0))
        return list(struct.unpack(f"<{size // 8}Q", self._k.memory.read(start, size)))

    def call_head(self, address: int, head: int, function: int) -> None:
        """call_srcu() of a struct rcu_head in guest memory."""
        self._k.memory.set_u64(head + self._head.func, function)
        self.call(address, partial(self._call_head, head))
        self.heads.add(head)

    def _call_head(self, head: int) -> None:
        self.heads.discard(head)
        self._k.cpu.call(self._k.memory.u64(head + self._head.func), head)


@export(
    "init_srcu_struct",
    "init_srcu_struct_generic",
    "init_srcu_struct_fast",
    "init_srcu_struct_fast_updown",
    gpl=True,
    unless=TINY,
)
def init_srcu_struct(k: Core, ssp: Ptr) -> Int:
    """``int init_srcu_struct(struct srcu_struct *)``, since v7.3 init_srcu_struct_generic().

    The others, since v6.19, declare a kind of reader.
    """
    k.srcu.init_dynamic(ssp)
    return 0


@export("__init_srcu_struct", gpl=True, unless=TINY)
def init_srcu_struct_with_key(k: Core, ssp: Ptr, name: Ptr, key: Ptr) -> Int:
    """``int __init_srcu_struct(struct srcu_struct *, const char *name, struct lock_class_key *)``."""
    if k.types.has("srcu_struct", "dep_map"):
        k.lockdep.init_map(ssp + k.types.offset("srcu_struct", "dep_map"), name, key)
    return init_srcu_struct(k, ssp)


@export(gpl=True, unless=TINY)
def cleanup_srcu_struct(k: Core, ssp: Ptr) -> None:
    """void cleanup_srcu_struct(struct srcu_struct *)."""
    k.srcu.cleanup(ssp)


@export("__srcu_read_lock", gpl=True, native=True, unless=TINY)
def srcu_read_lock(k: Core, ssp: Ptr) -> Int:
    """``int __srcu_read_lock(struct srcu_struct *)``."""
    return k.srcu.enter(ssp)


@export("__srcu_read_unlock", gpl=True, native=True, unless=TINY)
def srcu_read_unlock(k: Core, ssp: Ptr, index: Int) -> None:
    """void __srcu_read_unlock(struct srcu_struct *, int idx)."""
    k.srcu.leave(ssp, index)


@export("synchronize_srcu", "synchronize_srcu_expedited", gpl=True, unless=TINY)
def synchronize_srcu(k: Core, ssp: Ptr) -> None:
    """void synchronize_srcu(struct srcu_struct *)."""
    k.srcu.synchronize(ssp)


@export("srcu_barrier", gpl=True, unless=TINY)
def srcu_barrier(k: Core, ssp: Ptr) -> None:
    """void srcu_barrier(struct srcu_struct *)."""
    k.srcu.barrier(ssp)


@export(gpl=True, unless=TINY)
def call_srcu(k: Core, ssp: Ptr, head: Ptr, function: Ptr) -> None:
    """void call_srcu(struct srcu_struct *, struct rcu_head *, rcu_callback_t)."""
    k.srcu.call_head(ssp, head, function)


@export(gpl=True, unless=TINY)
def get_state_synchronize_srcu(k: Core, ssp: Ptr) -> ULong:
    """``unsigned long get_state_synchronize_srcu(struct srcu_struct *)``: starts no grace period."""
    return k.srcu.state(ssp)


@export(gpl=True, unless=TINY)
def start_poll_synchronize_srcu(k: Core, ssp: Ptr) -> ULong:
    """``unsigned long start_poll_synchronize_srcu(struct srcu_struct *)``."""
    return k.srcu.poll_start(ssp)


@export(gpl=True, unless=TINY)
def poll_state_synchronize_srcu(k: Core, ssp: Ptr, cookie: ULong) -> Bool:
    """``bool poll_state_synchronize_srcu(struct srcu_struct *, unsigned long cookie)``."""
    return k.srcu.poll(ssp, cookie)


@export(gpl=True, unless=TINY)
def srcu_batches_completed(k: Core, ssp: Ptr) -> ULong:
    """``unsigned long srcu_batches_completed(struct srcu_struct *)``: how many grace periods have ended."""
    return k.srcu.domain(ssp).completed


@export(gpl=True, unless=TINY)
def srcu_expedite_current(k: Core, ssp: Ptr) -> None:
    """void srcu_expedite_current(struct srcu_struct *): a grace period never waits for more than readers."""
    del k, ssp
