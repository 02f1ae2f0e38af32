"""String and memory functions: lib/string.c and mm/util.c."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from errno import E2BIG
from typing import TYPE_CHECKING

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.lib.ctype import lower
from ukmod.kernel.lib.limits import INT_MAX
from ukmod.machine.abi import Char, CStr, GfpT, Int, Ptr, SizeT, SSizeT, UInt, ULong
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


# -- memory -----------------------------------------------------------------------------------------------


@export("memcpy", "__memcpy", "memmove", "__memmove", native=True)
def memmove(k: Core, dest: Ptr, src: Ptr, count: SizeT) -> Ptr:
    """``void *memmove(void *dest, const void *src, size_t count)``."""
    k.memory.write(dest, _read(k, src, count))
    return dest


_CHUNK = 1 << 20


def _read(k: Core, address: int, count: int) -> bytes:
    """Read guest memory; a negative size faults before the host's memory is exhausted."""
    if count <= _CHUNK:
        return k.memory.read(address, count)
    k.memory.read(address, _CHUNK)
    k.memory.translate(address + count - 1)
    return k.memory.read(address, count)


def _pieces(k: Core, count: int, *addresses: int) -> Iterator[list[bytes]]:
    """Read ``count`` bytes at each address in pieces, all of a size, which do not cross pages.

    A function that needs no more of them leaves the pages that follow alone, as the kernel's own does.
    """
    done = 0
    while done < count:
        step = min(PAGE_SIZE - (address + done) % PAGE_SIZE for address in addresses)
        step = min(step, count - done)
        yield [k.memory.read(address + done, step) for address in addresses]
        done += step


@export("memset", "__memset", native=True)
def memset(k: Core, dest: Ptr, byte: Int, count: SizeT) -> Ptr:
    """``void *memset(void *s, int c, size_t count)``."""
    at, left = dest, count
    while left:
        step = min(left, PAGE_SIZE - (at & (PAGE_SIZE - 1)))
        k.memory.write(at, bytes((byte & 0xFF,)) * step)
        at += step
        left -= step
    return dest


def _fill(k: Core, dest: int, value: bytes, count: int) -> int:
    k.memory.fill_with(dest, value, count)
    return dest


@export(native=True)
def memset16(k: Core, dest: Ptr, value: UInt, count: SizeT) -> Ptr:
    """``void *memset16(uint16_t *s, uint16_t v, size_t count)``."""
    return _fill(k, dest, (value & 0xFFFF).to_bytes(2, "little"), count)


@export(native=True)
def memset32(k: Core, dest: Ptr, value: UInt, count: SizeT) -> Ptr:
    """``void *memset32(uint32_t *s, uint32_t v, size_t count)``."""
    return _fill(k, dest, value.to_bytes(4, "little"), count)


@export(native=True)
def memset64(k: Core, dest: Ptr, value: ULong, count: SizeT) -> Ptr:
    """``void *memset64(uint64_t *s, uint64_t v, size_t count)``."""
    return _fill(k, dest, value.to_bytes(8, "little"), count)


def _difference(a: bytes, b: bytes) -> int:
    """The difference of the first pair of bytes that differ, as memcmp() returns it."""
    for left, right in zip(a, b, strict=False):
        if left != right:
            return left - right
    return 0


@export("memcmp", "bcmp", native=True)
def memcmp(k: Core, a: Ptr, b: Ptr, count: SizeT) -> Int:
    """``int memcmp(const void *cs, const void *ct, size_t count)``."""
    return next((found for pair in _pieces(k, count, a, b) if (found := _difference(*pair))), 0)


def _search(k: Core, area: int, count: int, found: Callable[[bytes], int]) -> int:
    """The offset in an area of what ``found`` finds in a piece of it, or ``count``."""
    before = 0
    for (piece,) in _pieces(k, count, area):
        if (at := found(piece)) >= 0:
            return before + at
        before += len(piece)
    return count


@export(native=True)
def memchr(k: Core, area: Ptr, byte: Int, count: SizeT) -> Ptr:
    """``void *memchr(const void *s, int c, size_t n)``."""
    at = _search(k, area, count, lambda piece: piece.find(byte & 0xFF))
    return area + at if at < count else 0


@export(native=True)
def memscan(k: Core, area: Ptr, byte: Int, count: SizeT) -> Ptr:
    """``void *memscan(void *addr, int c, size_t size)``: the byte's address, or the end of the area."""
    return area + _search(k, area, count, lambda piece: piece.find(byte & 0xFF))


@export(native=True)
def memchr_inv(k: Core, area: Ptr, byte: Int, count: SizeT) -> Ptr:
    """``void *memchr_inv(const void *start, int c, size_t bytes)``: the first byte that is not ``c``."""

    def other(piece: bytes) -> int:
        rest = piece.lstrip(bytes((byte & 0xFF,)))
        return len(piece) - len(rest) if rest else -1

    at = _search(k, area, count, other)
    return area + at if at < count else 0


@export(native=True)
def memcpy_and_pad(k: Core, dest: Ptr, size: SizeT, src: Ptr, count: SizeT, pad: Int) -> None:
    """``void memcpy_and_pad(void *dest, size_t dest_len, const void *src, size_t count, int pad)``."""
    data = k.memory.read(src, min(size, count))
    k.memory.write(dest, data)
    k.memory.fill(dest + len(data), pad & 0xFF, size - len(data))


# -- length, copying, joining -----------------------------------------------------------------------------


@export(native=True)
def strlen(k: Core, text: CStr) -> SizeT:
    """``size_t strlen(const char *s)``."""
    del k
    return len(text)


@export(native=True)
def strnlen(k: Core, text: Ptr, count: SizeT) -> SizeT:
    """``size_t strnlen(const char *s, size_t count)``."""
    return len(k.memory.cstring(text, count))


@export(native=True)
def strcpy(k: Core, dest: Ptr, src: CStr) -> Ptr:
    """``char *strcpy(char *dest, const char *src)``."""
    k.memory.write(dest, src + b"\0")
    return dest


@export(native=True)
def stpcpy(k: Core, dest: Ptr, src: CStr) -> Ptr:
    """``char *stpcpy(char *dest, const char *src)``: the address of the copied NUL."""
    k.memory.write(dest, src + b"\0")
    return dest + len(src)


@export(native=True)
def strncpy(k: Core, dest: Ptr, src: Ptr, count: SizeT) -> Ptr:
    """``char *strncpy(char *, const char *, size_t count)``: padded with NULs; without one if cut."""
    text = k.memory.cstring(src, count)
    k.memory.write(dest, text)
    k.memory.fill(dest + len(text), 0, count - len(text))
    return dest


@export(native=True)
def strlcpy(k: Core, dest: Ptr, src: CStr, size: SizeT) -> SizeT:
    """``size_t strlcpy(char *dest, const char *src, size_t size)``: the length of ``src``."""
    if size:
        k.memory.write(dest, src[: size - 1] + b"\0")
    return len(src)


def _strscpy(k: Core, dest: int, src: int, count: int, *, pad: bool) -> int:
    if not count:
        return -E2BIG
    if count > INT_MAX:
        warn_once(k, Site("lib/string.c", 181, "strscpy"))
        return -E2BIG
    text = k.memory.cstring(src, count)
    if len(text) == count:
        k.memory.write(dest, text[:-1] + b"\0")
        return -E2BIG
    k.memory.write(dest, text.ljust(count if pad else _whole_words(src, len(text), count), b"\0"))
    return len(text)


def _whole_words(src: int, length: int, count: int) -> int:
    """The bytes strscpy() writes: up to the word with the NUL, unless ``count`` or a page ends first."""
    limit = min(count, PAGE_SIZE - src % PAGE_SIZE) if src % 8 else count
    words = length // 8 * 8 + 8
    return words if words <= limit else length + 1


@export("strscpy", "sized_strscpy", native=True)
def strscpy(k: Core, dest: Ptr, src: Ptr, count: SizeT) -> SSizeT:
    """``ssize_t strscpy(char *dest, const char *src, size_t count)``: the length, or -E2BIG if cut."""
    return _strscpy(k, dest, src, count, pad=False)


@export(native=True)
def strscpy_pad(k: Core, dest: Ptr, src: Ptr, count: SizeT) -> SSizeT:
    """``ssize_t strscpy_pad(char *dest, const char *src, size_t count)``: fills the rest with NULs."""
    return _strscpy(k, dest, src, count, pad=True)


@export(native=True)
def strcat(k: Core, dest: Ptr, src: CStr) -> Ptr:
    """``char *strcat(char *dest, const char *src)``."""
    k.memory.write(dest + len(k.memory.cstring(dest)), src + b"\0")
    return dest


@export(native=True)
def strncat(k: Core, dest: Ptr, src: Ptr, count: SizeT) -> Ptr:
    """``char *strncat(char *dest, const char *src, size_t count)``."""
    if count:
        k.memory.write(dest + len(k.memory.cstring(dest)), k.memory.cstring(src, count) + b"\0")
    return dest


@export(native=True)
def strlcat(k: Core, dest: Ptr, src: CStr, count: SizeT) -> SizeT:
    """``size_t strlcat(char *dest, const char *src, size_t count)``: the length without the limit."""
    before = len(k.memory.cstring(dest, count))
    if before >= count:
        k.crash.bug(Site("lib/string.c", 337, "strlcat"))
    k.memory.write(dest + before, src[: count - before - 1] + b"\0")
    return before + len(src)


# -- comparing --------------------------------------------------------------------------------------------


def compare(a: bytes, b: bytes) -> int:
    """strcmp(): -1, 0 or 1, the kernel's own results."""
    return (a > b) - (a < b)


@export(native=True)
def strcmp(k: Core, a: CStr, b: CStr) -> Int:
    """``int strcmp(const char *cs, const char *ct)``."""
    del k
    return compare(a, b)


@export(native=True)
def strncmp(k: Core, a: Ptr, b: Ptr, count: SizeT) -> Int:
    """``int strncmp(const char *cs, const char *ct, size_t count)``."""
    return compare(k.memory.cstring(a, count), k.memory.cstring(b, count))


@export(native=True)
def strcasecmp(k: Core, a: CStr, b: CStr) -> Int:
    """``int strcasecmp(const char *s1, const char *s2)``: the difference of the first letters that differ."""
    del k
    return _difference(lower(a) + b"\0", lower(b) + b"\0")


@export(native=True)
def strncasecmp(k: Core, a: Ptr, b: Ptr, count: SizeT) -> Int:
    """``int strncasecmp(const char *s1, const char *s2, size_t len)``.

    At the end of the shorter string, the other one's letter is compared without conversion to lower case.
    """
    left, right = ((k.memory.cstring(text, count) + b"\0")[:count] for text in (a, b))
    for one, other in zip(left, right, strict=False):
        if not one or not other:
            return one - other
        if difference := _difference(lower(bytes((one,))), lower(bytes((other,)))):
            return difference
    return 0


# -- searching --------------------------------------------------------------------------------------------


@export(native=True)
def strchr(k: Core, text: Ptr, letter: Int) -> Ptr:
    """``char *strchr(const char *s, int c)``; the NUL can be searched for too."""
    at = (k.memory.cstring(text) + b"\0").find(letter & 0xFF)
    return text + at if at >= 0 else 0


@export(native=True)
def strchrnul(k: Core, text: Ptr, letter: Int) -> Ptr:
    """``char *strchrnul(const char *s, int c)``: the letter's address, or that of the NUL."""
    given = k.memory.cstring(text)
    at = given.find(letter & 0xFF)
    return text + (at if at >= 0 else len(given))


@export(native=True)
def strrchr(k: Core, text: Ptr, letter: Int) -> Ptr:
    """``char *strrchr(const char *s, int c)``."""
    at = (k.memory.cstring(text) + b"\0").rfind(letter & 0xFF)
    return text + at if at >= 0 else 0


@export(native=True)
def strnchr(k: Core, text: Ptr, count: SizeT, letter: Int) -> Ptr:
    """``char *strnchr(const char *s, size_t count, int c)``."""
    given = k.memory.cstring(text, count)
    at = (given + b"\0")[:count].find(letter & 0xFF)
    return text + at if at >= 0 else 0


@export(native=True)
def strstr(k: Core, text: Ptr, wanted: CStr) -> Ptr:
    """``char *strstr(const char *s1, const char *s2)``."""
    at = k.memory.cstring(text).find(wanted)
    return text + at if at >= 0 else 0


@export(native=True)
def strnstr(k: Core, text: Ptr, wanted: CStr, count: SizeT) -> Ptr:
    """``char *strnstr(const char *s1, const char *s2, size_t len)``; a NUL in ``s1`` does not end it."""
    if not wanted or count < len(wanted):
        return 0 if wanted else text
    here, left = text, b""
    for (piece,) in _pieces(k, count, text):  # beyond a NUL too: the length alone limits the search
        if (at := (left + piece).find(wanted)) >= 0:
            return here - len(left) + at
        here += len(piece)
        left = (left + piece)[max(len(left) + len(piece) - len(wanted) + 1, 0) :]  # it may begin there
    return 0


@export(native=True)
def strspn(k: Core, text: CStr, accept: CStr) -> SizeT:
    """``size_t strspn(const char *s, const char *accept)``."""
    del k
    return len(text) - len(text.lstrip(accept)) if accept else 0


@export(native=True)
def strcspn(k: Core, text: CStr, reject: CStr) -> SizeT:
    """``size_t strcspn(const char *s, const char *reject)``."""
    del k
    return next((at for at, byte in enumerate(text) if byte in reject), len(text))


@export(native=True)
def strpbrk(k: Core, text: Ptr, accept: CStr) -> Ptr:
    """``char *strpbrk(const char *cs, const char *ct)``."""
    return next((text + at for at, byte in enumerate(k.memory.cstring(text)) if byte in accept), 0)


@export(native=True)
def strsep(k: Core, at: Ptr, separators: CStr) -> Ptr:
    """``char *strsep(char **s, const char *ct)``: split off the next token, which may be empty."""
    token = k.memory.u64(at)
    if not token:
        return 0
    text = k.memory.cstring(token)
    end = next((n for n, byte in enumerate(text) if byte in separators), -1)
    if end >= 0:
        k.memory.set_u8(token + end, 0)
    k.memory.set_u64(at, token + end + 1 if end >= 0 else 0)
    return token


@export("strreplace", native=True)
def strreplace(k: Core, text: Ptr, old: Char, new: Char) -> Ptr:
    """``char *strreplace(char *str, char old, char new)``; up to v6.4 it returns the end of the string."""
    given = k.memory.cstring(text)
    k.memory.write(text, given.replace(bytes((old & 0xFF,)), bytes((new & 0xFF,))))
    # v6.5 changed the result and, visibly in the prototype, the parameter's name from "s" to "str".
    prototype = k.types.prototype("strreplace")
    gives_start = prototype is not None and prototype.parameters[0].name == "str"
    return text if gives_start else text + len(given)


# -- copies in new memory: mm/util.c ----------------------------------------------------------------------


def _duplicate(k: Core, data: bytes, gfp: int) -> int:
    address = k.slab.kmalloc(len(data), gfp)
    if address:
        k.memory.write(address, data)
    return address


@export("kstrdup_const", image_first=True)
@export(native=True)
def kstrdup(k: Core, text: Ptr, gfp: GfpT) -> Ptr:
    """``char *kstrdup(const char *s, gfp_t gfp)``; NULL for NULL."""
    return _duplicate(k, k.memory.cstring(text) + b"\0", gfp) if text else 0


@export(native=True)
def kstrndup(k: Core, text: Ptr, count: SizeT, gfp: GfpT) -> Ptr:
    """``char *kstrndup(const char *s, size_t max, gfp_t gfp)``."""
    return _duplicate(k, k.memory.cstring(text, count) + b"\0", gfp) if text else 0


@export("kmemdup", "kmemdup_noprof", native=True)
def kmemdup(k: Core, src: Ptr, count: SizeT, gfp: GfpT) -> Ptr:
    """``void *kmemdup(const void *src, size_t len, gfp_t gfp)``."""
    return _duplicate(k, _read(k, src, count), gfp)


@export(native=True)
def kmemdup_nul(k: Core, text: Ptr, count: SizeT, gfp: GfpT) -> Ptr:
    """``char *kmemdup_nul(const char *s, size_t len, gfp_t gfp)``: a copy terminated with a NUL."""
    return _duplicate(k, k.memory.read(text, count) + b"\0", gfp) if text else 0
