"""The lock validator of an image that has one: kernel/locking/lockdep.c, which runs as the image's own code.

With it, locks are the image's too, and report to it when they are taken and released. Python reports whether
interrupts are enabled, new tasks, and the memory of modules that go with their keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.preempt_count import SOFTIRQ_MASK
from ukmod.kernel.x86.unwind import registers_at_trap
from ukmod.machine.registers import MASK64

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

CHECKED_LOCKS: Final = ("raw_spinlock.magic", "raw_spinlock.dep_map")
"""The members of a lock that checks itself: CONFIG_DEBUG_SPINLOCK, CONFIG_DEBUG_LOCK_ALLOC."""
_ANY_SUBCLASS, _LD_LOCK_NORMAL, _LD_WAIT_INV = 0, 0, 0
INITIAL_CHAIN_KEY: Final = MASK64
"""include/linux/lockdep.h: no lock is held."""


def checks_locks(k: Core) -> bool:
    """Whether the kernel's locks check themselves."""
    return any(k.types.has(*member.split(".")) for member in CHECKED_LOCKS)


class Lockdep:
    """Python's reports to the lockdep of an image, if it has one."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        image = kernel.image
        enabled = image.get("hardirqs_enabled") if image is not None else None
        self._enabled = kernel.percpu.base + enabled if enabled is not None else 0
        """The address of the CPU's own word for whether interrupts are enabled; 0 without lockdep."""
        context = image.get("hardirq_context") if image is not None else None
        self._context = kernel.percpu.base + context if context is not None else 0
        """The address of the CPU's own word for whether it is in a hard interrupt."""

    def reports(self) -> bool:
        """Whether the current kernel function was called by the image, of a kernel that checks its locks."""
        k = self._k
        return bool(self._enabled and k.image is not None and k.image.contains(registers_at_trap(k).rip))

    def follow_interrupts(self) -> None:
        """lockdep_hardirqs_on(), lockdep_hardirqs_off(): Python has changed the CPU's flag, or may have."""
        if self._enabled:
            self._k.memory.set_u32(self._enabled, self._k.cpu.interrupts_enabled())

    def hardirq(self, *, entered: bool) -> None:
        """lockdep_hardirq_enter(), lockdep_hardirq_exit(): a hard interrupt begins or ends."""
        if self._context:
            self._k.memory.set_u32(self._context, entered)
            self.follow_interrupts()

    def softirq(self, *, entered: bool) -> None:
        """lockdep_softirq_enter(), lockdep_softirq_exit(): a soft interrupt begins or ends."""
        self._set("softirq_context", entered)

    def follow_softirqs(self) -> None:
        """lockdep_softirqs_on(), lockdep_softirqs_off(): the preempt count has changed."""
        if self._context:
            self._set("softirqs_enabled", not self._k.percpu.preempt_count() & SOFTIRQ_MASK)

    def _set(self, member: str, value: int) -> None:
        """Set a member of the current task, for a kernel that traces interrupts."""
        if self._context and self._k.types.has("task_struct", member):
            task = self._k.sched.current or self._k.idle
            self._k.memory.set_u32(task.address + self._k.types.offset("task_struct", member), value)

    def init_task(self, task: int) -> None:
        """lockdep_init_task(): the task, a copy of another one, holds no lock."""
        if self._k.types.has("task_struct", "lockdep_depth"):
            self._k.memory.set_u32(task + self._k.types.offset("task_struct", "lockdep_depth"), 0)
            chain = task + self._k.types.offset("task_struct", "curr_chain_key")
            self._k.memory.set_u64(chain, INITIAL_CHAIN_KEY)
            self._k.memory.set_u32(task + self._k.types.offset("task_struct", "lockdep_recursion"), 0)
        if self._k.types.has("task_struct", "softirqs_enabled"):
            self._k.memory.set_u32(task + self._k.types.offset("task_struct", "softirqs_enabled"), 1)
            self._k.memory.set_u32(task + self._k.types.offset("task_struct", "softirq_context"), 0)

    def init_map(self, lock: int, name: int, key: int) -> None:
        """lockdep_init_map(): a lock's struct lockdep_map begins. Without lockdep, nothing."""
        arguments = (lock, name, key, _ANY_SUBCLASS, _LD_WAIT_INV, _LD_WAIT_INV, _LD_LOCK_NORMAL)
        self._call("lockdep_init_map_type", *arguments)

    def forget(self, start: int, size: int) -> None:
        """lockdep_free_key_range(): the memory of a module goes, and the keys in it."""
        self._call("lockdep_free_key_range", start, size)

    def show_held_locks(self, task: int) -> None:
        """debug_show_held_locks(): log the locks that a task holds."""
        self._call("debug_show_held_locks", task)

    def show_interrupts(self, task: int) -> None:
        """print_irqtrace_events(): log where a task has last enabled and disabled interrupts."""
        self._call("print_irqtrace_events", task)

    def _call(self, name: str, *arguments: int) -> None:
        if self._enabled and self._k.image is not None and (function := self._k.image.get(name)) is not None:
            self._k.cpu.call(function, *arguments)
