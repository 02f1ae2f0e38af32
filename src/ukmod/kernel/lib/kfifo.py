"""Ring buffers: lib/kfifo.c. Inlined code in modules reads and advances ``in`` and ``out`` itself."""

from __future__ import annotations

from errno import EINVAL, ENOMEM
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.x86.traps import divide_error
from ukmod.machine.abi import GfpT, Int, Ptr, SizeT, UInt

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_U32 = 0xFFFF_FFFF


class Fifo:
    """A struct __kfifo. ``in`` and ``out`` count elements and wrap at 32 bits; the size is a power of two."""

    def __init__(self, kernel: Core, address: int) -> None:
        self._memory = kernel.memory
        self._at = {
            name: address + kernel.types.offset("__kfifo", name)
            for name in ("in", "out", "mask", "esize", "data")
        }

    def get(self, name: str) -> int:
        """A member of the struct."""
        at = self._at[name]
        return self._memory.u64(at) if name == "data" else self._memory.u32(at)

    def set(self, **values: int) -> None:
        """Set members of the struct."""
        for name, value in values.items():
            (self._memory.set_u64 if name == "data" else self._memory.set_u32)(self._at[name], value)

    def used(self) -> int:
        """The number of elements in the buffer."""
        return (self.get("in") - self.get("out")) & _U32

    def put(self, source: int, count: int) -> int:
        """Copy in as many elements as fit; returns their number."""
        count = min(count, self.get("mask") + 1 - self.used())
        start = self.get("in")
        for index in range(count):
            self._memory.write(self._slot(start + index), self._element(source, index))
        self.set(**{"in": (start + count) & _U32})
        return count

    def peek(self, target: int, count: int) -> int:
        """Copy out up to ``count`` elements without removing them; returns their number."""
        count = min(count, self.used())
        start, size = self.get("out"), self.get("esize")
        for index in range(count):
            self._memory.write(target + index * size, self._memory.read(self._slot(start + index), size))
        return count

    def _slot(self, index: int) -> int:
        return self.get("data") + (index & self.get("mask")) * self.get("esize")

    def _element(self, base: int, index: int) -> bytes:
        size = self.get("esize")
        return self._memory.read(base + index * size, size)


@export("__kfifo_alloc", native=True)
def kfifo_alloc(k: Core, fifo: Ptr, size: UInt, esize: SizeT, gfp: GfpT) -> Int:
    """``int __kfifo_alloc(struct __kfifo *fifo, unsigned int size, size_t esize, gfp_t gfp_mask)``."""
    ring = Fifo(k, fifo)
    room = 1 << max(size - 1, 0).bit_length() & _U32  # an unsigned int: more than half of them is none
    ring.set(**{"in": 0, "out": 0, "esize": esize, "data": 0, "mask": 0})
    if room < 2:
        return -EINVAL
    data = k.slab.kmalloc(room * esize, gfp)
    if not data:
        return -ENOMEM
    ring.set(data=data, mask=room - 1)
    return 0


@export("__kfifo_init", native=True)
def kfifo_init(k: Core, fifo: Ptr, buffer: Ptr, size: UInt, esize: SizeT) -> Int:
    """``int __kfifo_init(struct __kfifo *fifo, void *buffer, unsigned int size, size_t esize)``."""
    if not esize:
        divide_error(k)
    count = size // esize
    room = 1 << (count.bit_length() - 1) if count else 0
    ring = Fifo(k, fifo)
    ring.set(**{"in": 0, "out": 0, "esize": esize, "data": buffer, "mask": max(room - 1, 0)})
    return 0 if room >= 2 else -EINVAL


@export("__kfifo_free", native=True)
def kfifo_free(k: Core, fifo: Ptr) -> None:
    """``void __kfifo_free(struct __kfifo *fifo)``."""
    ring = Fifo(k, fifo)
    k.slab.kfree(ring.get("data"))
    ring.set(**{"in": 0, "out": 0, "esize": 0, "data": 0, "mask": 0})


@export("__kfifo_in", native=True)
def kfifo_in(k: Core, fifo: Ptr, source: Ptr, count: UInt) -> UInt:
    """``unsigned int __kfifo_in(struct __kfifo *fifo, const void *buf, unsigned int len)``."""
    return Fifo(k, fifo).put(source, count)


@export("__kfifo_out_peek", native=True)
def kfifo_out_peek(k: Core, fifo: Ptr, target: Ptr, count: UInt) -> UInt:
    """``unsigned int __kfifo_out_peek(struct __kfifo *fifo, void *buf, unsigned int len)``."""
    return Fifo(k, fifo).peek(target, count)


@export("__kfifo_out", native=True)
def kfifo_out(k: Core, fifo: Ptr, target: Ptr, count: UInt) -> UInt:
    """``unsigned int __kfifo_out(struct __kfifo *fifo, void *buf, unsigned int len)``."""
    ring = Fifo(k, fifo)
    taken = ring.peek(target, count)
    ring.set(out=(ring.get("out") + taken) & _U32)
    return taken
