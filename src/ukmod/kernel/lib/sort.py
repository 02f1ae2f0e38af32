"""Sorting and searching with a module's comparison function: lib/sort.c, lib/bsearch.c, lib/list_sort.c."""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.lib.list import list_entries
from ukmod.kernel.lib.printf_spec import signed
from ukmod.machine.abi import Ptr, SizeT

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def _heapsort(order: Callable[[int, int], int], swap: Callable[[int, int], None], count: int) -> None:
    """Sort in place; ``order`` and ``swap`` take the indices of elements."""

    def sift(root: int, end: int) -> None:
        while (child := 2 * root + 1) < end:
            if child + 1 < end and order(child, child + 1) < 0:
                child += 1
            if order(root, child) >= 0:
                return
            swap(root, child)
            root = child

    for root in range(count // 2 - 1, -1, -1):
        sift(root, count)
    for end in range(count - 1, 0, -1):
        swap(0, end)
        sift(0, end)


def _swapper(k: Core, base: int, size: int, swap: int, extra: tuple[int, ...]) -> Callable[[int, int], None]:
    """A function that swaps two elements with the module's own function, or byte by byte if it has none."""

    def exchange(a: int, b: int) -> None:
        left, right = base + a * size, base + b * size
        if swap:
            k.cpu.call(swap, left, right, size, *extra)
            return
        data = k.memory.read(left, size)
        k.memory.write(left, k.memory.read(right, size))
        k.memory.write(right, data)

    return exchange


@export(native=True)
def sort_r(k: Core, base: Ptr, count: SizeT, size: SizeT, compare: Ptr, swap: Ptr, private: Ptr) -> None:
    """``void sort_r(void *base, size_t num, size_t size, cmp_r_func_t, swap_r_func_t, const void *priv)``."""
    _sort(k, base, count, size, compare, swap, (private,))


@export(native=True)
def sort(k: Core, base: Ptr, count: SizeT, size: SizeT, compare: Ptr, swap: Ptr) -> None:
    """``void sort(void *base, size_t num, size_t size, cmp_func_t cmp_func, swap_func_t swap_func)``."""
    _sort(k, base, count, size, compare, swap, ())


def _sort(k: Core, base: int, count: int, size: int, compare: int, swap: int, extra: tuple[int, ...]) -> None:
    def order(a: int, b: int) -> int:
        return signed(k.cpu.call(compare, base + a * size, base + b * size, *extra), 4)

    _heapsort(order, _swapper(k, base, size, swap, extra), count)


@export(native=True)
def bsearch(k: Core, key: Ptr, base: Ptr, count: SizeT, size: SizeT, compare: Ptr) -> Ptr:
    """``void *bsearch(const void *key, const void *base, size_t num, size_t size, cmp_func_t cmp)``."""
    while count:
        pivot = base + (count >> 1) * size
        order = signed(k.cpu.call(compare, key, pivot), 4)
        if not order:
            return pivot
        if order > 0:
            base = pivot + size
            count -= 1
        count >>= 1
    return 0


@export(native=True)
def list_sort(k: Core, private: Ptr, head: Ptr, compare: Ptr) -> None:
    """``void list_sort(void *priv, struct list_head *head, list_cmp_func_t cmp)``: stable."""

    def order(a: int, b: int) -> int:
        # The comparison says only whether a comes after b; the two may be equal if it does not.
        return -1 if signed(k.cpu.call(compare, private, b, a), 4) > 0 else 1

    entries = sorted(list_entries(k.memory, head), key=cmp_to_key(order))
    before = head
    for entry in [*entries, head]:
        k.memory.set_u64(before, entry)
        k.memory.set_u64(entry + 8, before)
        before = entry
