"""Escaping, and sizes as text: lib/string_helpers.c."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site
from ukmod.kernel.export import export
from ukmod.kernel.lib.escape import escape, unescape
from ukmod.kmod.nextarg import SPACES
from ukmod.machine.abi import Bool, CStr, Int, Ptr, SizeT, UInt, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@export(native=True)
def skip_spaces(k: Core, text: Ptr) -> Ptr:
    """``char *skip_spaces(const char *str)``."""
    given = k.memory.cstring(text)
    return text + len(given) - len(given.lstrip(SPACES))


@export(native=True)
def strim(k: Core, text: Ptr) -> Ptr:
    """``char *strim(char *s)``: cuts trailing spaces in place; returns the first non-space."""
    given = k.memory.cstring(text)
    kept = given.rstrip(SPACES)
    if len(kept) < len(given):
        k.memory.set_u8(text + len(kept), 0)
    return text + len(kept) - len(kept.lstrip(SPACES))


def streq(a: bytes, b: bytes) -> bool:
    """sysfs_streq(): True if the strings are equal, ignoring one final newline."""
    return a == b or a == b + b"\n" or b == a + b"\n"


@export(native=True)
def sysfs_streq(k: Core, a: CStr, b: CStr) -> Bool:
    """``bool sysfs_streq(const char *s1, const char *s2)``."""
    del k
    return streq(a, b)


def _match(k: Core, array: int, count: int, same: Callable[[bytes], bool]) -> int:
    for index in range(count):
        item = k.memory.u64(array + 8 * index)
        if not item:
            break
        if same(k.memory.cstring(item)):
            return index
    return -EINVAL


@export(native=True)
def match_string(k: Core, array: Ptr, count: SizeT, wanted: CStr) -> Int:
    """``int match_string(const char * const *, size_t n, const char *)``: the index, or -EINVAL."""
    return _match(k, array, count, lambda item: item == wanted)


@export("__sysfs_match_string", native=True)
def sysfs_match_string(k: Core, array: Ptr, count: SizeT, wanted: CStr) -> Int:
    """``int __sysfs_match_string(const char * const *array, size_t n, const char *str)``."""
    return _match(k, array, count, lambda item: streq(item, wanted))


@export(image_first=True)
def string_escape_mem(k: Core, src: Ptr, size: SizeT, dst: Ptr, room: SizeT, flags: UInt, only: Ptr) -> Int:
    """``int string_escape_mem(const char *, size_t isz, char *, size_t osz, unsigned, const char *)``."""
    text = escape(k.memory.read(src, size), flags, k.memory.cstring(only) if only else b"")
    if room:
        k.memory.write(dst, text[:room])
    return len(text)


@export(native=True)
def string_unescape(k: Core, src: Ptr, dst: Ptr, room: SizeT, flags: UInt) -> Int:
    """``int string_unescape(char *src, char *dst, size_t size, unsigned int flags)``: the length stored."""
    text = unescape(k.memory.cstring(src), flags, room)
    k.memory.write(dst, text + b"\0")
    return len(text)


_UNITS_10 = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_UNITS_2 = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def size_text(size: int, *, binary: bool) -> str:
    """A size with three significant digits and its unit: string_get_size()."""
    base, units = (1024, _UNITS_2) if binary else (1000, _UNITS_10)
    unit = thousandths = 0
    while size >= base:
        size, thousandths = divmod(size, base)
        unit += 1
    if not size:
        return f"0 {units[0]}"
    places = 3 - len(str(size)) if size < 100 else 0
    thousandths = (thousandths * 1000 // base if binary else thousandths) + 5 * 10 ** (2 - places)
    size, thousandths = size + thousandths // 1000, thousandths % 1000
    fraction = f".{thousandths:03d}"[: places + 1] if places else ""
    return f"{size}{fraction} {units[unit] if unit < len(units) else 'UNK'}"


STRING_UNITS_2: Final = 1
STRING_UNITS_NO_SPACE: Final = 1 << 30
STRING_UNITS_NO_BYTES: Final = 1 << 31


@export(gpl=True, native=True)
def string_get_size(k: Core, size: ULong, block: ULong, units: UInt, buffer: Ptr, room: Int) -> Int:
    """``int string_get_size(u64 size, u64 blk_size, const enum string_size_units, char *buf, int len)``.

    Returns the length of the text. Older kernels return nothing and know only the lowest bit of ``units``.
    """
    text = size_text(size * block, binary=bool(units & STRING_UNITS_2))
    if units & STRING_UNITS_NO_SPACE:
        text = text.replace(" ", "")
    if units & STRING_UNITS_NO_BYTES:
        text = text.removesuffix("B")
    if room > 0:
        k.memory.write(buffer, text.encode()[: room - 1] + b"\0")
    return len(text)


@export(native=True)
def fortify_panic(k: Core, name: CStr) -> None:
    """``void fortify_panic(const char *name)``: called when a checked copy would overflow its buffer."""
    k.printk(f"detected buffer overflow in {name.decode('utf-8', 'replace')}\n", 0)
    k.crash.bug(Site("lib/string_helpers.c", 1027, "fortify_panic"))
