"""Ring buffers: lib/kfifo.c. ``in`` and ``out`` count elements and are never reduced."""

from __future__ import annotations

from errno import EINVAL

import pytest
from tests.kernel.conftest import Guest

GFP_KERNEL = 0xCC0


class Fifo:
    """A struct __kfifo, and access to it in elements of some bytes."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.memory = guest, guest.kernel.memory
        self.address = guest.put(b"", guest.kernel.types.sizeof("__kfifo"))

    def member(self, name: str) -> int:
        size = 8 if name == "data" else 4
        return self.memory.uint(self.address + self.guest.kernel.types.offset("__kfifo", name), size)

    def alloc(self, size: int, element: int = 1) -> int:
        return self.guest.call_int("__kfifo_alloc", self.address, size, element, GFP_KERNEL)

    def put(self, data: bytes, element: int = 1) -> int:
        return self.guest.call_int("__kfifo_in", self.address, data, len(data) // element)

    def take(self, count: int, function: str = "__kfifo_out") -> bytes:
        target = self.guest.put(bytes(64))
        taken = self.guest.call_int(function, self.address, target, count)
        return self.memory.read(target, taken * self.member("esize"))


@pytest.fixture
def fifo(guest: Guest) -> Fifo:
    return Fifo(guest)


class TestSize:
    @pytest.mark.parametrize(("wanted", "size"), [(2, 2), (3, 4), (6, 8), (8, 8), (1000, 1024)])
    def test_an_allocated_buffer_is_rounded_up_to_a_power_of_two(
        self, fifo: Fifo, wanted: int, size: int
    ) -> None:
        assert fifo.alloc(wanted) == 0
        assert fifo.member("mask") + 1 == size

    @pytest.mark.parametrize(("given", "element", "size"), [(7, 1, 4), (8, 1, 8), (31, 4, 4), (64, 5, 8)])
    def test_a_given_buffer_is_rounded_down(self, fifo: Fifo, given: int, element: int, size: int) -> None:
        """Its size is in bytes, and what is left of it is not used."""
        buffer = fifo.guest.put(bytes(64))
        assert fifo.guest.call_int("__kfifo_init", fifo.address, buffer, given, element) == 0
        assert (fifo.member("mask") + 1, fifo.member("esize")) == (size, element)
        assert fifo.member("data") == buffer

    def test_less_than_two_elements_are_refused(self, fifo: Fifo) -> None:
        assert fifo.alloc(1) == -EINVAL
        assert fifo.guest.call_int("__kfifo_init", fifo.address, fifo.guest.put(bytes(8)), 7, 4) == -EINVAL
        assert fifo.member("mask") == 0

    def test_more_than_half_of_an_unsigned_int_is_no_size(self, fifo: Fifo) -> None:
        assert fifo.alloc((1 << 31) + 1) == -EINVAL

    def test_elements_of_0_bytes_divide_by_0(self, fifo: Fifo) -> None:
        assert fifo.guest.oops("__kfifo_init", fifo.address, fifo.guest.put(bytes(8)), 8, 0)[0].startswith(
            "divide error: 0000"
        )

    def test_freeing_it_frees_the_buffer_and_leaves_nothing(self, fifo: Fifo) -> None:
        fifo.alloc(8)
        fifo.put(b"abc")
        buffer = fifo.member("data")
        fifo.guest.call("__kfifo_free", fifo.address)
        assert [fifo.member(name) for name in ("in", "out", "mask", "esize", "data")] == [0] * 5
        found = fifo.guest.kernel.slab.fence.object_near(buffer)
        assert found is not None
        assert found.freed is not None


class TestContent:
    def test_elements_come_out_in_order_and_wrap_around(self, fifo: Fifo) -> None:
        fifo.alloc(6)
        assert fifo.put(b"abcdefghij") == 8, "no more fit"
        assert fifo.take(5) == b"abcde"
        assert fifo.put(b"XYZ") == 3
        assert fifo.take(64) == b"fghXYZ", "no more are there"
        assert fifo.member("in") == fifo.member("out") == 11

    def test_a_peek_takes_nothing_out(self, fifo: Fifo) -> None:
        fifo.alloc(4)
        fifo.put(b"abc")
        assert fifo.take(2, "__kfifo_out_peek") == fifo.take(2, "__kfifo_out_peek") == b"ab"
        assert fifo.take(3) == b"abc"
        assert fifo.take(1, "__kfifo_out_peek") == b""

    def test_counts_are_of_elements(self, fifo: Fifo) -> None:
        fifo.alloc(2, element=3)
        assert fifo.put(b"aaabbbccc", element=3) == 2
        assert fifo.take(1) == b"aaa"
        assert fifo.take(1) == b"bbb"

    def test_the_indexes_overflow_without_harm(self, fifo: Fifo) -> None:
        fifo.alloc(4)
        for name in ("in", "out"):
            at = fifo.address + fifo.guest.kernel.types.offset("__kfifo", name)
            fifo.memory.set_u32(at, (1 << 32) - 2)
        assert fifo.put(b"abcd") == 4
        assert fifo.member("in") == 2
        assert fifo.put(b"e") == 0, "it is full"
        assert fifo.take(4) == b"abcd"
