"""Waiting for a bit or a variable: kernel/sched/wait_bit.c.

The queues are in guest memory, in a table hashed by address, since ``wait_var_event()`` is inlined into
modules and adds its entry there.
"""

from __future__ import annotations

from errno import EAGAIN, EINTR
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.list import init_list_head
from ukmod.kernel.sched.core import TASK_NORMAL
from ukmod.machine.abi import Int, Long, Ptr, UInt, ULong
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

WAIT_TABLE_BITS: Final = 8
WAIT_TABLE_SIZE: Final = 1 << WAIT_TABLE_BITS
GOLDEN_RATIO_64: Final = 0x61C8_8646_80B5_83EB
_KEY_BIT_VARIABLE = -1


class WaitBits:
    """The hashed table of wait queues that bits and variables share."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self.entry = Layout(kernel.types, "wait_bit_queue_entry")
        self.key = Layout(kernel.types, "wait_bit_key")
        self._table = 0

    def queue(self, word: int, bit: int) -> int:
        """bit_waitqueue(): the queue of a bit; other bits may share it."""
        return self._hashed(word << 6 | bit)

    def var_queue(self, variable: int) -> int:
        """__var_waitqueue(): the queue of a variable, which bits and other variables may share."""
        return self._hashed(variable)

    def _hashed(self, value: int) -> int:
        """An entry of the table, by hash_64() of include/linux/hash.h."""
        k, size = self._k, self._k.types.sizeof("wait_queue_head")
        if not self._table:
            self._table = self._make_table(WAIT_TABLE_SIZE * size)
            for head in range(self._table, self._table + WAIT_TABLE_SIZE * size, size):
                if not k.memory.u64(head + k.waitqueues.queue.head):
                    init_list_head(k.memory, head + k.waitqueues.queue.head)
        product = value * GOLDEN_RATIO_64 & (1 << 64) - 1
        return self._table + (product >> 64 - WAIT_TABLE_BITS) * size

    def _make_table(self, size: int) -> int:
        """The image's own table, into which its inlined wait_var_event() enters itself; or a new one."""
        k = self._k
        if k.image is not None and (own := k.image.get("bit_wait_table")) is not None:
            return own
        pages = -(-size // PAGE_SIZE)
        return k.memory.map_direct(k.memory.alloc_frames(pages), pages * PAGE_SIZE)

    def test(self, key: int) -> bool:
        """test_bit(key->bit_nr, key->flags)."""
        memory = self._k.memory
        bit = memory.s32(key + self.key.bit_nr)
        return bool(memory.u8(memory.u64(key + self.key.flags) + bit // 8) >> bit % 8 & 1)

    def set(self, key: int) -> None:
        """set_bit(key->bit_nr, key->flags)."""
        memory = self._k.memory
        bit = memory.s32(key + self.key.bit_nr)
        at = memory.u64(key + self.key.flags) + bit // 8
        memory.set_u8(at, memory.u8(at) | 1 << bit % 8)

    def wake(self, queue: int, word: int, bit: int) -> None:
        """__wake_up_bit(): the key is on the current stack while the waiters' wake functions read it."""
        k = self._k
        key = (k.cpu.sp - k.types.sizeof("wait_bit_key")) & ~15
        k.memory.set_u64(key + self.key.flags, word)
        k.memory.set_u32(key + self.key.bit_nr, bit)
        sp, k.cpu.sp = k.cpu.sp, key
        try:
            k.waitqueues.wake(queue, TASK_NORMAL, 1, 0, key)
        finally:
            k.cpu.sp = sp


@export(native=True)
def bit_waitqueue(k: Core, word: Ptr, bit: Int) -> Ptr:
    """wait_queue_head_t *bit_waitqueue(void *word, int bit)."""
    return k.wait_bits.queue(word, bit)


@export("__var_waitqueue", native=True)
def var_waitqueue(k: Core, variable: Ptr) -> Ptr:
    """wait_queue_head_t *__var_waitqueue(void *p)."""
    return k.wait_bits.var_queue(variable)


@export("__wake_up_bit")
def wake_up_bit_in(k: Core, queue: Ptr, word: Ptr, bit: Int) -> None:
    """void __wake_up_bit(struct wait_queue_head *, void *word, int bit)."""
    k.wait_bits.wake(queue, word, bit)


@export()
def wake_up_bit(k: Core, word: Ptr, bit: Int) -> None:
    """void wake_up_bit(void *word, int bit)."""
    k.wait_bits.wake(k.wait_bits.queue(word, bit), word, bit)


@export()
def wake_up_var(k: Core, variable: Ptr) -> None:
    """void wake_up_var(void *var)."""
    k.wait_bits.wake(k.wait_bits.var_queue(variable), variable, _KEY_BIT_VARIABLE)


def _same_key(k: Core, waiter: int, key: int) -> bool:
    own = waiter - k.wait_bits.entry.wq_entry + k.wait_bits.entry.key
    layout, memory = k.wait_bits.key, k.memory
    return memory.u64(own + layout.flags) == memory.u64(key + layout.flags) and memory.u32(
        own + layout.bit_nr
    ) == memory.u32(key + layout.bit_nr)


def _autoremove(k: Core, waiter: int, mode: int, sync: int, key: int) -> int:
    return k.cpu.call(k.symbols.address("autoremove_wake_function"), waiter, mode, sync, key)


@export()
def wake_bit_function(k: Core, waiter: Ptr, mode: UInt, sync: Int, key: Ptr) -> Int:
    """``int wake_bit_function(struct wait_queue_entry *, unsigned mode, int sync, void *arg)``."""
    if not _same_key(k, waiter, key) or k.wait_bits.test(key):
        return 0
    return _autoremove(k, waiter, mode, sync, key)


@export("var_wake_function")
def var_wake_function(k: Core, waiter: Ptr, mode: UInt, sync: Int, key: Ptr) -> Int:
    """``int var_wake_function(struct wait_queue_entry *, unsigned int mode, int sync, void *arg)``."""
    return _autoremove(k, waiter, mode, sync, key) if _same_key(k, waiter, key) else 0


def _init_entry(k: Core, entry: int, word: int, bit: int, function: str) -> None:
    bits, memory = k.wait_bits, k.memory
    memory.set_u64(entry + bits.entry.key + bits.key.flags, word)
    memory.set_u32(entry + bits.entry.key + bits.key.bit_nr, bit)
    memory.set_u64(entry + bits.entry.key + bits.key.timeout, 0)
    waiter = entry + bits.entry.wq_entry
    memory.set_u32(waiter + k.waitqueues.waiter.flags, 0)
    memory.set_u64(waiter + k.waitqueues.waiter.private, k.sched.task().address)
    memory.set_u64(waiter + k.waitqueues.waiter.func, k.symbols.address(function))
    init_list_head(memory, waiter + k.waitqueues.waiter.entry)


@export()
def init_wait_var_entry(k: Core, entry: Ptr, variable: Ptr, flags: Int) -> None:
    """void init_wait_var_entry(struct wait_bit_queue_entry *, void *var, int flags)."""
    _init_entry(k, entry, variable, _KEY_BIT_VARIABLE, "var_wake_function")
    k.memory.set_u32(entry + k.wait_bits.entry.wq_entry + k.waitqueues.waiter.flags, flags)


def _sleep(k: Core, how: str, queue: int, entry: int, action: int, mode: int) -> int:
    """Prepare to wait, and call the action if the bit is set; returns the action's result."""
    key = entry + k.wait_bits.entry.key
    k.cpu.call(k.symbols.address(how), queue, entry + k.wait_bits.entry.wq_entry, mode)
    return k.cpu.call(action, key, mode) & 0xFFFF_FFFF if k.wait_bits.test(key) else 0


def _finish(k: Core, queue: int, entry: int) -> None:
    k.cpu.call(k.symbols.address("finish_wait"), queue, entry + k.wait_bits.entry.wq_entry)


def _wait(k: Core, queue: int, entry: int, action: int, mode: int) -> int:
    """__wait_on_bit()."""
    while True:
        result = _sleep(k, "prepare_to_wait", queue, entry, action, mode)
        if result or not k.wait_bits.test(entry + k.wait_bits.entry.key):
            _finish(k, queue, entry)
            return result


def _wait_lock(k: Core, queue: int, entry: int, action: int, mode: int) -> int:
    """__wait_on_bit_lock(): wait, then set the bit. Waiters are woken one at a time, in order of arrival."""
    bits, key = k.wait_bits, entry + k.wait_bits.entry.key
    while True:
        result = _sleep(k, "prepare_to_wait_exclusive", queue, entry, action, mode)
        free = not bits.test(key)
        if free:
            bits.set(key)
        if free or result:
            _finish(k, queue, entry)
            return 0 if free else result


@export("__wait_on_bit")
def wait_on_bit_in(k: Core, queue: Ptr, entry: Ptr, action: Ptr, mode: UInt) -> Int:
    """``int __wait_on_bit(wq_head, struct wait_bit_queue_entry *, wait_bit_action_f *, unsigned mode)``."""
    return _wait(k, queue, entry, action, mode)


@export("__wait_on_bit_lock")
def wait_on_bit_lock_in(k: Core, queue: Ptr, entry: Ptr, action: Ptr, mode: UInt) -> Int:
    """``int __wait_on_bit_lock(wq_head, struct wait_bit_queue_entry *, wait_bit_action_f *, mode)``."""
    return _wait_lock(k, queue, entry, action, mode)


def _out_of_line(k: Core, word: int, bit: int, action: int, mode: int, timeout: int, *, lock: bool) -> int:
    """Wait with an entry on the current stack, where the kernel's function has it too."""
    bits, sp = k.wait_bits, k.cpu.sp
    entry = k.cpu.sp = (sp - k.types.sizeof("wait_bit_queue_entry")) & ~15
    try:
        _init_entry(k, entry, word, bit, "wake_bit_function")
        k.memory.set_u64(entry + bits.entry.key + bits.key.timeout, k.clock.jiffies + timeout)
        return (_wait_lock if lock else _wait)(k, bits.queue(word, bit), entry, action, mode)
    finally:
        k.cpu.sp = sp


@export()
def out_of_line_wait_on_bit(k: Core, word: Ptr, bit: Int, action: Ptr, mode: UInt) -> Int:
    """``int out_of_line_wait_on_bit(void *word, int bit, wait_bit_action_f *, unsigned mode)``."""
    return _out_of_line(k, word, bit, action, mode, 0, lock=False)


@export(gpl=True)
def out_of_line_wait_on_bit_timeout(
    k: Core, word: Ptr, bit: Int, action: Ptr, mode: UInt, timeout: ULong
) -> Int:
    """``int out_of_line_wait_on_bit_timeout(word, bit, action, mode, unsigned long timeout)``."""
    return _out_of_line(k, word, bit, action, mode, timeout, lock=False)


@export()
def out_of_line_wait_on_bit_lock(k: Core, word: Ptr, bit: Int, action: Ptr, mode: UInt) -> Int:
    """``int out_of_line_wait_on_bit_lock(void *word, int bit, wait_bit_action_f *, unsigned mode)``."""
    return _out_of_line(k, word, bit, action, mode, 0, lock=True)


@export("bit_wait", "bit_wait_io")
def bit_wait(k: Core, key: Ptr, mode: Int) -> Int:
    """``int bit_wait(struct wait_bit_key *, int mode)``: sleep once; -EINTR if a signal is pending."""
    del key
    k.sched.schedule()
    return -EINTR if k.tasks.signal_pending_state(mode, k.sched.task()) else 0


@export("bit_wait_timeout", "bit_wait_io_timeout", gpl=True)
def bit_wait_timeout(k: Core, key: Ptr, mode: Int) -> Long:
    """``int bit_wait_timeout(struct wait_bit_key *, int mode)``: -EAGAIN after the timeout."""
    left = (k.memory.u64(key + k.wait_bits.key.timeout) - k.clock.jiffies) & ((1 << 64) - 1)
    if not left or left >> 63:
        return -EAGAIN
    k.sched.schedule_timeout(left)
    return -EINTR if k.tasks.signal_pending_state(mode, k.sched.task()) else 0
