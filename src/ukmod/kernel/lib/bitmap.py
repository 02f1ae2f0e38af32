"""Bitmaps: lib/bitmap.c, lib/find_bit.c and lib/hweight.c.

A bitmap in guest memory is read as one integer, whose bit n is bit n of the map.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EBUSY, EFAULT, EINVAL, ENOMEM, EOVERFLOW
from operator import and_, or_, xor
from typing import TYPE_CHECKING, Any

from ukmod.kernel.export import export
from ukmod.kernel.lib.bitmap_text import hex_chunks, list_regions
from ukmod.kernel.lib.printf_spec import FormatType, Spec
from ukmod.kernel.lib.vsprintf_pointer import pointer
from ukmod.kernel.mm.gfp import GFP_ZERO
from ukmod.kernel.mm.uaccess import copied_string
from ukmod.machine.abi import Bool, CStr, GfpT, Int, Ptr, UInt, ULong
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def _size(bits: int) -> int:
    """The size of a map of ``bits`` bits in bytes: a whole number of longs."""
    return -(-bits // 64) * 8


def load(k: Core, address: int, bits: int) -> int:
    """The first ``bits`` bits of a map."""
    return k.memory.uint(address, _size(bits)) & ((1 << bits) - 1) if bits else 0


def load_words(k: Core, address: int, bits: int) -> int:
    """All longs of a map of ``bits`` bits, including the bits after its last one."""
    return k.memory.uint(address, _size(bits)) if bits else 0


def store(k: Core, address: int, bits: int, value: int) -> None:
    """Store a map of ``bits`` bits; the unused bits of its last long are stored as they are in ``value``."""
    if bits:
        k.memory.set_uint(address, value, _size(bits))


# -- operations on whole maps -----------------------------------------------------------------------------


def _andnot(a: int, b: int) -> int:
    return a & ~b


def _binary(name: str, operation: Callable[[int, int], int]) -> Callable[..., Any]:
    @export(name, native=True)
    def apply(k: Core, dst: Ptr, a: Ptr, b: Ptr, bits: UInt) -> Bool:
        """``bool __bitmap_OP(unsigned long *dst, const unsigned long *, const unsigned long *, uint)``."""
        value = operation(load(k, a, bits), load(k, b, bits))
        store(k, dst, bits, value)
        return bool(value)

    return apply


def _binary_words(name: str, operation: Callable[[int, int], int]) -> Callable[..., Any]:
    @export(name, native=True)
    def apply(k: Core, dst: Ptr, a: Ptr, b: Ptr, bits: UInt) -> None:
        """``void __bitmap_OP(unsigned long *dst, const unsigned long *, const unsigned long *, uint)``."""
        store(k, dst, bits, operation(load_words(k, a, bits), load_words(k, b, bits)))

    return apply


bitmap_and = _binary("__bitmap_and", and_)
bitmap_or = _binary_words("__bitmap_or", or_)
bitmap_xor = _binary_words("__bitmap_xor", xor)
bitmap_andnot = _binary("__bitmap_andnot", _andnot)


def _test(name: str, holds: Callable[[int, int], bool]) -> Callable[..., Any]:
    @export(name, native=True)
    def test(k: Core, a: Ptr, b: Ptr, bits: UInt) -> Bool:
        """``bool __bitmap_TEST(const unsigned long *, const unsigned long *, unsigned int bits)``."""
        return holds(load(k, a, bits), load(k, b, bits))

    return test


bitmap_equal = _test("__bitmap_equal", lambda a, b: a == b)
bitmap_intersects = _test("__bitmap_intersects", lambda a, b: bool(a & b))
bitmap_subset = _test("__bitmap_subset", lambda a, b: not a & ~b)


@export("__bitmap_complement", native=True)
def bitmap_complement(k: Core, dst: Ptr, src: Ptr, bits: UInt) -> None:
    """``void __bitmap_complement(unsigned long *dst, const unsigned long *src, unsigned int bits)``."""
    store(k, dst, bits, ~load_words(k, src, bits))


@export("__bitmap_replace", native=True)
def bitmap_replace(k: Core, dst: Ptr, old: Ptr, new: Ptr, mask: Ptr, bits: UInt) -> None:
    """``void __bitmap_replace(dst, old, new, mask, unsigned int nbits)``: new bits where the mask is set."""
    chosen = load_words(k, mask, bits)
    store(k, dst, bits, load_words(k, old, bits) & ~chosen | load_words(k, new, bits) & chosen)


@export("__bitmap_shift_right", native=True)
def bitmap_shift_right(k: Core, dst: Ptr, src: Ptr, shift: UInt, bits: UInt) -> None:
    """``void __bitmap_shift_right(dst, src, unsigned shift, unsigned nbits)``."""
    store(k, dst, bits, load(k, src, bits) >> shift)


@export("__bitmap_shift_left", native=True)
def bitmap_shift_left(k: Core, dst: Ptr, src: Ptr, shift: UInt, bits: UInt) -> None:
    """``void __bitmap_shift_left(dst, src, unsigned shift, unsigned nbits)``."""
    store(k, dst, bits, load_words(k, src, bits) << shift)


@export("bitmap_cut", native=True)
def bitmap_cut(k: Core, dst: Ptr, src: Ptr, first: UInt, cut: UInt, bits: UInt) -> None:
    """``void bitmap_cut(dst, src, unsigned first, unsigned cut, unsigned nbits)``: remove ``cut`` bits."""
    value = load_words(k, src, bits)
    store(k, dst, bits, value & ((1 << first) - 1) | value >> (first + cut) << first)


@export("__bitmap_weight", native=True)
def bitmap_weight(k: Core, bitmap: Ptr, bits: UInt) -> UInt:
    """``unsigned int __bitmap_weight(const unsigned long *bitmap, unsigned int bits)``."""
    return load(k, bitmap, bits).bit_count()


@export("__bitmap_weight_and", native=True)
def bitmap_weight_and(k: Core, a: Ptr, b: Ptr, bits: UInt) -> UInt:
    """``unsigned int __bitmap_weight_and(const unsigned long *, const unsigned long *, unsigned bits)``."""
    return (load(k, a, bits) & load(k, b, bits)).bit_count()


def _change(k: Core, bitmap: int, start: int, length: int, *, to: bool) -> None:
    if length <= 0:
        return
    end = start + length
    value, mask = k.memory.uint(bitmap, _size(end)), ((1 << length) - 1) << start
    k.memory.set_uint(bitmap, value | mask if to else value & ~mask, _size(end))


@export("__bitmap_set", native=True)
def bitmap_set(k: Core, bitmap: Ptr, start: UInt, length: Int) -> None:
    """``void __bitmap_set(unsigned long *map, unsigned int start, int len)``."""
    _change(k, bitmap, start, length, to=True)


@export("__bitmap_clear", native=True)
def bitmap_clear(k: Core, bitmap: Ptr, start: UInt, length: Int) -> None:
    """``void __bitmap_clear(unsigned long *map, unsigned int start, int len)``."""
    _change(k, bitmap, start, length, to=False)


# -- finding bits -----------------------------------------------------------------------------------------


def first_set(value: int, limit: int, start: int = 0) -> int:
    """The lowest set bit at or after ``start``, or ``limit``."""
    value >>= start
    found = start + (value & -value).bit_length() - 1 if value else limit
    return min(found, limit)


@export("_find_first_bit", native=True)
def find_first_bit(k: Core, bitmap: Ptr, size: ULong) -> ULong:
    """``unsigned long _find_first_bit(const unsigned long *addr, unsigned long size)``, or ``size``."""
    return first_set(load(k, bitmap, size), size)


@export("_find_first_and_bit", native=True)
def find_first_and_bit(k: Core, a: Ptr, b: Ptr, size: ULong) -> ULong:
    """``unsigned long _find_first_and_bit(addr1, addr2, unsigned long size)``."""
    return first_set(load(k, a, size) & load(k, b, size), size)


@export("_find_first_zero_bit", "_find_first_zero_bit_le", native=True)
def find_first_zero_bit(k: Core, bitmap: Ptr, size: ULong) -> ULong:
    """``unsigned long _find_first_zero_bit(const unsigned long *addr, unsigned long size)``."""
    return first_set(~load(k, bitmap, size), size)


@export("_find_next_bit", "_find_next_bit_le", native=True)
def find_next_bit(k: Core, bitmap: Ptr, size: ULong, start: ULong) -> ULong:
    """``unsigned long _find_next_bit(addr, unsigned long nbits, unsigned long start)``."""
    return size if start >= size else first_set(load(k, bitmap, size), size, start)


@export("_find_next_zero_bit", "_find_next_zero_bit_le", native=True)
def find_next_zero_bit(k: Core, bitmap: Ptr, size: ULong, start: ULong) -> ULong:
    """``unsigned long _find_next_zero_bit(addr, unsigned long nbits, unsigned long start)``."""
    return size if start >= size else first_set(~load(k, bitmap, size), size, start)


@export("_find_next_and_bit", native=True)
def find_next_and_bit(k: Core, a: Ptr, b: Ptr, size: ULong, start: ULong) -> ULong:
    """``unsigned long _find_next_and_bit(addr1, addr2, unsigned long nbits, unsigned long start)``."""
    return size if start >= size else first_set(load(k, a, size) & load(k, b, size), size, start)


@export("_find_next_andnot_bit", native=True)
def find_next_andnot_bit(k: Core, a: Ptr, b: Ptr, size: ULong, start: ULong) -> ULong:
    """``unsigned long _find_next_andnot_bit(addr1, addr2, unsigned long nbits, unsigned long start)``."""
    return size if start >= size else first_set(load(k, a, size) & ~load(k, b, size), size, start)


@export("_find_last_bit", native=True)
def find_last_bit(k: Core, bitmap: Ptr, size: ULong) -> ULong:
    """``unsigned long _find_last_bit(const unsigned long *addr, unsigned long size)``, or ``size``."""
    value = load(k, bitmap, size)
    return value.bit_length() - 1 if value else size


@export(native=True)
def find_next_clump8(k: Core, clump: Ptr, bitmap: Ptr, size: ULong, offset: ULong) -> ULong:
    """``unsigned long find_next_clump8(unsigned long *clump, addr, unsigned long size, offset)``."""
    found = find_next_bit(k, bitmap, size, offset)
    if found == size:
        return size
    found &= ~7
    k.memory.set_u64(clump, load(k, bitmap, size) >> found & 0xFF)
    return found


@export(native=True)
def bitmap_find_next_zero_area_off(
    k: Core, bitmap: Ptr, size: ULong, start: ULong, count: UInt, align_mask: ULong, align_offset: ULong
) -> ULong:
    """``unsigned long bitmap_find_next_zero_area_off(map, size, start, nr, align_mask, align_offset)``."""
    value = load(k, bitmap, size)
    while True:
        index = size if start >= size else first_set(~value, size, start)
        index = (index + align_offset + align_mask & ~align_mask) - align_offset
        end = index + count
        if end > size:
            return end
        taken = first_set(value, end, index)
        if taken >= end:
            return index
        start = taken + 1


def _region(value: int, bits: int, position: int, order: int) -> bool:
    length = 1 << (order & 31)
    return position + length <= bits and not value >> position & ((1 << length) - 1)


@export(native=True)
def bitmap_find_free_region(k: Core, bitmap: Ptr, bits: UInt, order: Int) -> Int:
    """``int bitmap_find_free_region(unsigned long *, unsigned int bits, int order)``: start or -ENOMEM."""
    value = load(k, bitmap, bits)
    for position in range(0, bits, 1 << (order & 31)):
        if _region(value, bits, position, order):
            _change(k, bitmap, position, 1 << (order & 31), to=True)
            return position
    return -ENOMEM


@export(native=True)
def bitmap_allocate_region(k: Core, bitmap: Ptr, position: UInt, order: Int) -> Int:
    """``int bitmap_allocate_region(unsigned long *bitmap, unsigned int pos, int order)``: 0 or -EBUSY."""
    bits = position + (1 << (order & 31))
    if not _region(load(k, bitmap, bits), bits, position, order):
        return -EBUSY
    _change(k, bitmap, position, 1 << (order & 31), to=True)
    return 0


@export(native=True)
def bitmap_release_region(k: Core, bitmap: Ptr, position: UInt, order: Int) -> None:
    """``void bitmap_release_region(unsigned long *bitmap, unsigned int pos, int order)``."""
    _change(k, bitmap, position, 1 << (order & 31), to=False)


# -- memory, arrays, text ---------------------------------------------------------------------------------


@export("bitmap_alloc", "bitmap_alloc_node", native=True)
def bitmap_alloc(k: Core, bits: UInt, gfp: GfpT) -> Ptr:
    """``unsigned long *bitmap_alloc(unsigned int nbits, gfp_t flags)``."""
    return k.slab.kmalloc(_size(bits), gfp)


@export("bitmap_zalloc", "bitmap_zalloc_node", native=True)
def bitmap_zalloc(k: Core, bits: UInt, gfp: GfpT) -> Ptr:
    """``unsigned long *bitmap_zalloc(unsigned int nbits, gfp_t flags)``."""
    address = k.slab.kmalloc(_size(bits), gfp | GFP_ZERO)
    if address:
        k.memory.write(address, bytes(_size(bits)))
    return address


@export(native=True)
def bitmap_free(k: Core, bitmap: Ptr) -> None:
    """``void bitmap_free(const unsigned long *bitmap)``."""
    k.slab.kfree(bitmap)


@export("bitmap_from_arr32", "bitmap_from_arr64", native=True)
def bitmap_from_array(k: Core, bitmap: Ptr, words: Ptr, bits: UInt) -> None:
    """``void bitmap_from_arr32(unsigned long *bitmap, const u32 *buf, unsigned int nbits)``."""
    value = k.memory.uint(words, -(-bits // 32) * 4) if bits else 0
    store(k, bitmap, bits, value & ((1 << bits) - 1))


@export("bitmap_to_arr32", native=True)
def bitmap_to_array(k: Core, words: Ptr, bitmap: Ptr, bits: UInt) -> None:
    """``void bitmap_to_arr32(u32 *buf, const unsigned long *bitmap, unsigned int nbits)``."""
    if bits:
        k.memory.set_uint(words, load(k, bitmap, bits), -(-bits // 32) * 4)


@export(native=True)
def bitmap_print_to_pagebuf(k: Core, as_list: Bool, buffer: Ptr, bitmap: Ptr, bits: Int) -> Int:
    """``int bitmap_print_to_pagebuf(bool list, char *buf, const unsigned long *maskp, int nmaskbits)``."""
    room = PAGE_SIZE - buffer % PAGE_SIZE
    spec = Spec(FormatType.PTR, extension=b"bl" if as_list else b"b")
    text = pointer(k, bitmap, spec.with_width(bits)) + b"\n"
    k.memory.write(buffer, text[: room - 1] + b"\0")
    return min(len(text), room - 1)


@export(image_first=True)
def bitmap_parselist(k: Core, text: CStr, bitmap: Ptr, bits: Int) -> Int:
    """``int bitmap_parselist(const char *buf, unsigned long *, int nmaskbits)``: 0 or a negative errno.

    After an error the map holds the regions that precede it.
    """
    bits &= 0xFFFF_FFFF  # struct region has an unsigned number
    k.memory.fill(bitmap, 0, _size(bits))
    value = error = 0
    try:
        for region in list_regions(text, bits):
            value |= region
    except OSError as problem:
        error = problem.errno or EINVAL
    store(k, bitmap, value.bit_length(), value)
    return -error


def _parse(k: Core, text: bytes, bitmap: int, bits: int) -> int:
    end = 0
    try:
        for chunk in hex_chunks(text, bits):
            k.memory.set_u32(bitmap + end // 8, chunk)
            end += 32
    except OSError as problem:
        return -(problem.errno or EINVAL)
    if end < bits:
        _change(k, bitmap, end, bits - end, to=False)
    elif bits > 0 and load(k, bitmap, end) >> bits:  # find_next_bit() finds nothing from a negative bit on
        return -EOVERFLOW
    return 0


@export(native=True)
def bitmap_parse(k: Core, start: Ptr, count: UInt, bitmap: Ptr, bits: Int) -> Int:
    """``int bitmap_parse(const char *start, unsigned int buflen, unsigned long *maskp, int nmaskbits)``."""
    return _parse(k, k.memory.cstring(start, count), bitmap, bits)


@export(native=True)
def bitmap_parse_user(k: Core, start: Ptr, count: UInt, bitmap: Ptr, bits: Int) -> Int:
    """``int bitmap_parse_user(const char __user *ubuf, unsigned int ulen, maskp, int nmaskbits)``."""
    text = copied_string(k, start, count)
    return -EFAULT if text is None else _parse(k, text, bitmap, bits)


# -- counting bits ----------------------------------------------------------------------------------------


@export("__sw_hweight32", "__sw_hweight16", "__sw_hweight8", native=True)
def hweight32(k: Core, word: UInt) -> UInt:
    """``unsigned int __sw_hweight32(unsigned int w)``."""
    del k
    return word.bit_count()


@export("__sw_hweight64", native=True)
def hweight64(k: Core, word: ULong) -> ULong:
    """``unsigned long __sw_hweight64(__u64 w)``."""
    del k
    return word.bit_count()
