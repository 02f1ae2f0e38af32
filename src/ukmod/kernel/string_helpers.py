"""Escaping and sizes as text: lib/string_helpers.c."""

from __future__ import annotations

import re
from collections.abc import Callable
from errno import EINVAL
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site
from ukmod.kernel.cmdline import SPACES
from ukmod.kernel.export import export
from ukmod.machine.abi import Bool, CStr, Int, Ptr, SizeT, UInt, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel

ESCAPE_SPACE: Final = 1 << 0
ESCAPE_SPECIAL: Final = 1 << 1
ESCAPE_NULL: Final = 1 << 2
ESCAPE_OCTAL: Final = 1 << 3
ESCAPE_ANY: Final = ESCAPE_SPACE | ESCAPE_OCTAL | ESCAPE_SPECIAL | ESCAPE_NULL
ESCAPE_NP: Final = 1 << 4
ESCAPE_ANY_NP: Final = ESCAPE_ANY | ESCAPE_NP
ESCAPE_HEX: Final = 1 << 5
ESCAPE_NA: Final = 1 << 6
ESCAPE_NAP: Final = 1 << 7
ESCAPE_APPEND: Final = 1 << 8

_SPACES = {ord("\n"): b"\\n", ord("\r"): b"\\r", ord("\t"): b"\\t", ord("\v"): b"\\v", ord("\f"): b"\\f"}
_SPECIALS = {ord("\\"): b"\\\\", ord("\a"): b"\\a", 0x1B: b"\\e", ord('"'): b'\\"'}


def isprint(byte: int) -> bool:
    """isprint() of the kernel's ctype table, which is Latin-1's."""
    return 0x20 <= byte < 0x7F or byte >= 0xA0


def escape(data: bytes, flags: int, only: bytes = b"") -> bytes:
    """``data`` with bytes escaped as in C, which of them and how by ``flags``: string_escape_mem().

    ``only`` limits it to these bytes (or, with ESCAPE_APPEND, adds them to what is escaped).
    """
    return b"".join(_escaped(byte, flags, only) for byte in data)


def _escaped(byte: int, flags: int, only: bytes) -> bytes:
    plain = bytes((byte,))
    listed = bool(only) and byte in only
    chosen = listed and bool(flags & ESCAPE_APPEND)
    if only and not listed and not flags & ESCAPE_APPEND:
        return plain
    passes = (
        (flags & ESCAPE_NAP and byte < 0x80 and isprint(byte))
        or (flags & ESCAPE_NP and isprint(byte))
        or (flags & ESCAPE_NA and byte < 0x80)
    )
    if passes and not chosen:
        return plain
    if flags & ESCAPE_SPACE and byte in _SPACES:
        return _SPACES[byte]
    if flags & ESCAPE_SPECIAL and byte in _SPECIALS:
        return _SPECIALS[byte]
    if flags & ESCAPE_NULL and not byte:
        return b"\\0"
    if flags & ESCAPE_OCTAL:
        return f"\\{byte:03o}".encode()
    return f"\\x{byte:02x}".encode() if flags & ESCAPE_HEX else plain


# -- exported ---------------------------------------------------------------------------------------------


@export()
def skip_spaces(k: Kernel, text: Ptr) -> Ptr:
    """``char *skip_spaces(const char *str)``."""
    given = k.memory.cstring(text)
    return text + len(given) - len(given.lstrip(SPACES))


@export()
def strim(k: Kernel, text: Ptr) -> Ptr:
    """``char *strim(char *s)``: the end is cut in place, the start is the result."""
    given = k.memory.cstring(text)
    kept = given.rstrip(SPACES)
    if len(kept) < len(given):
        k.memory.set_u8(text + len(kept), 0)
    return text + len(kept) - len(kept.lstrip(SPACES))


def streq(a: bytes, b: bytes) -> bool:
    """sysfs_streq(): equal, but for one newline at the end."""
    return a == b or a == b + b"\n" or b == a + b"\n"


@export()
def sysfs_streq(k: Kernel, a: CStr, b: CStr) -> Bool:
    """``bool sysfs_streq(const char *s1, const char *s2)``."""
    del k
    return streq(a, b)


def _match(k: Kernel, array: int, count: int, same: Callable[[bytes], bool]) -> int:
    for index in range(count):
        item = k.memory.u64(array + 8 * index)
        if not item:
            break
        if same(k.memory.cstring(item)):
            return index
    return -EINVAL


@export()
def match_string(k: Kernel, array: Ptr, count: SizeT, wanted: CStr) -> Int:
    """``int match_string(const char * const *, size_t n, const char *)``: its index or -EINVAL."""
    return _match(k, array, count, lambda item: item == wanted)


@export("__sysfs_match_string")
def sysfs_match_string(k: Kernel, array: Ptr, count: SizeT, wanted: CStr) -> Int:
    """``int __sysfs_match_string(const char * const *array, size_t n, const char *str)``."""
    return _match(k, array, count, lambda item: streq(item, wanted))


@export()
def string_escape_mem(k: Kernel, src: Ptr, size: SizeT, dst: Ptr, room: SizeT, flags: UInt, only: Ptr) -> Int:
    """``int string_escape_mem(const char *, size_t isz, char *, size_t osz, unsigned, const char *)``."""
    text = escape(k.memory.read(src, size), flags, k.memory.cstring(only) if only else b"")
    if room:
        k.memory.write(dst, text[:room])
    return len(text)


UNESCAPE_SPACE: Final = 1 << 0
UNESCAPE_OCTAL: Final = 1 << 1
UNESCAPE_HEX: Final = 1 << 2
UNESCAPE_SPECIAL: Final = 1 << 3
_ESCAPED = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_SPACE_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"f": b"\f"}
_SPECIAL_LETTERS = {b'"': b'"', b"\\": b"\\", b"a": b"\a", b"e": b"\x1b"}


def unescape(text: bytes, flags: int) -> bytes:
    """Undo the escapes that ``flags`` names: string_unescape()."""

    def plain(match: re.Match[bytes]) -> bytes:
        octal, digits, letter = match.groups()
        if octal is not None and flags & UNESCAPE_OCTAL:
            return bytes((int(octal, 8) & 0xFF,))
        if digits is not None and flags & UNESCAPE_HEX:
            return bytes((int(digits, 16),))
        if flags & UNESCAPE_SPACE and letter in _SPACE_LETTERS:
            return _SPACE_LETTERS[letter]
        if flags & UNESCAPE_SPECIAL and letter in _SPECIAL_LETTERS:
            return _SPECIAL_LETTERS[letter]
        return match.group()

    return _ESCAPED.sub(plain, text)


@export()
def string_unescape(k: Kernel, src: Ptr, dst: Ptr, room: SizeT, flags: UInt) -> Int:
    """``int string_unescape(char *src, char *dst, size_t size, unsigned int flags)``: the length stored."""
    text = unescape(k.memory.cstring(src), flags)
    if room:
        text = text[: room - 1]
    k.memory.write(dst, text + b"\0")
    return len(text)


_UNITS_10 = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_UNITS_2 = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def size_text(size: int, *, binary: bool) -> str:
    """A size in three significant digits with its unit: string_get_size()."""
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
    return f"{size}{fraction} {units[unit]}"


@export(gpl=True)
def string_get_size(k: Kernel, size: ULong, block: ULong, units: Int, buffer: Ptr, room: Int) -> None:
    """``void string_get_size(u64 size, u64 blk_size, enum string_size_units, char *buf, int len)``."""
    if room > 0:
        k.memory.write(buffer, size_text(size * block, binary=bool(units)).encode()[: room - 1] + b"\0")


@export()
def fortify_panic(k: Kernel, name: CStr) -> None:
    """``void fortify_panic(const char *name)``: a copy that the compiler's size check caught."""
    k.printk(f"detected buffer overflow in {name.decode('utf-8', 'replace')}\n", 0)
    k.crash.bug(Site("lib/string_helpers.c", 1027, "fortify_panic"))
