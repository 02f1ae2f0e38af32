"""Text to numbers: lib/kstrtox.c, and the older simple_strto*() of lib/vsprintf.c."""

from __future__ import annotations

from collections.abc import Callable
from errno import EFAULT, EINVAL, ERANGE
from typing import TYPE_CHECKING, Any, Final

from ukmod.kernel.export import export
from ukmod.kernel.mm.uaccess import copied_string
from ukmod.kmod import kernelargs
from ukmod.machine.abi import Int, Long, Ptr, SizeT, UInt, ULong
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_U64: Final = 1 << 64
_TEXT_LIMIT = 1 << 16


@record
class IntType:
    """A C integer type: its size in bytes and whether it is signed."""

    size: int
    signed: bool = False

    @property
    def low(self) -> int:
        """The least value."""
        return -(1 << (8 * self.size - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest value."""
        return (1 << (8 * self.size - self.signed)) - 1


U8, U16, U32, U64 = (IntType(size) for size in (1, 2, 4, 8))
S8, S16, S32, S64 = (IntType(size, signed=True) for size in (1, 2, 4, 8))


def fixup_radix(text: bytes, base: int) -> tuple[int, int]:
    """The base (determined from the prefix if 0), and the length of the prefix to skip."""
    hexadecimal = text[:2].lower() == b"0x"
    if base == 0 and text[:1] == b"0":
        base = 16 if hexadecimal and _digit(text[2:3]) < 16 else 8
    base = base or 10
    return base, 2 if base == 16 and hexadecimal else 0


def _digit(letter: bytes) -> int:
    found = b"0123456789abcdef".find(letter.lower()) if letter else -1
    return found if found >= 0 else 99


def parse_integer(text: bytes, base: int, limit: int = _TEXT_LIMIT) -> tuple[int, int]:
    """The number at the start of ``text``, of at most ``limit`` digits, and its number of digits."""
    length = 0
    while length < min(limit, len(text)) and _digit(text[length : length + 1]) < base:
        length += 1
    value = 0
    for n in range(length):
        value = value * base + _digit(text[n : n + 1])
    return value, length


def parse(text: bytes, base: int, kind: IntType) -> int:
    """Parse a whole string, except one final newline, as an integer of this type: kstrtoull() and the like.

    Raises ValueError (not a number; the message is the errno's name) or OverflowError (out of range).
    """
    negative = kind.signed and text[:1] == b"-"
    digits = text[1:] if negative or text[:1] == b"+" else text
    base, skip = fixup_radix(digits, base)
    value, length = parse_integer(digits[skip:], base)
    if value >= _U64:
        raise OverflowError("ERANGE")
    if not length or digits[skip + length :] not in {b"", b"\n"}:
        raise ValueError("EINVAL")
    value = -value if negative else value
    if not kind.low <= value <= kind.high:
        raise OverflowError("ERANGE")
    return value


def parse_bool(text: bytes) -> bool:
    """kstrtobool(). Raises ValueError."""
    if (value := kernelargs.kstrtobool(text.decode("latin-1"))) is None:
        raise ValueError("EINVAL")
    return value


def kstrto(k: Core, text: bytes, base: int, result: int, kind: IntType) -> int:
    """Parse ``text`` and store the result at ``result``; returns 0, -EINVAL or -ERANGE."""
    try:
        value = parse(text, base, kind)
    except ValueError:
        return -EINVAL
    except OverflowError:
        return -ERANGE
    k.memory.set_uint(result, value, kind.size)
    return 0


def _kstrto(*names: str, kind: IntType) -> Callable[..., Any]:
    @export(*names, native=True)
    def convert(k: Core, text: Ptr, base: UInt, result: Ptr) -> Int:
        """``int kstrtoX(const char *s, unsigned int base, X *res)``: 0, -EINVAL or -ERANGE."""
        return kstrto(k, k.memory.cstring(text), base, result, kind)

    return convert


def _from_user(name: str, kind: IntType) -> Callable[..., Any]:
    room = 1 + 8 * kind.size + 1

    @export(name, native=True)
    def convert(k: Core, text: Ptr, count: SizeT, base: UInt, result: Ptr) -> Int:
        """``int kstrtoX_from_user(const char __user *s, size_t count, unsigned int base, X *res)``."""
        given = copied_string(k, text, min(count, room))
        return -EFAULT if given is None else kstrto(k, given, base, result, kind)

    return convert


kstrtoull = _kstrto("kstrtoull", "_kstrtoul", kind=U64)
kstrtoll = _kstrto("kstrtoll", "_kstrtol", kind=S64)
kstrtouint = _kstrto("kstrtouint", kind=U32)
kstrtoint = _kstrto("kstrtoint", kind=S32)
kstrtou16 = _kstrto("kstrtou16", kind=U16)
kstrtos16 = _kstrto("kstrtos16", kind=S16)
kstrtou8 = _kstrto("kstrtou8", kind=U8)
kstrtos8 = _kstrto("kstrtos8", kind=S8)
kstrtoull_from_user = _from_user("kstrtoull_from_user", U64)
kstrtoll_from_user = _from_user("kstrtoll_from_user", S64)
kstrtoul_from_user = _from_user("kstrtoul_from_user", U64)
kstrtol_from_user = _from_user("kstrtol_from_user", S64)
kstrtouint_from_user = _from_user("kstrtouint_from_user", U32)
kstrtoint_from_user = _from_user("kstrtoint_from_user", S32)
kstrtou16_from_user = _from_user("kstrtou16_from_user", U16)
kstrtos16_from_user = _from_user("kstrtos16_from_user", S16)
kstrtou8_from_user = _from_user("kstrtou8_from_user", U8)
kstrtos8_from_user = _from_user("kstrtos8_from_user", S8)


@export(image_first=True)
def kstrtobool(k: Core, text: Ptr, result: Ptr) -> Int:
    """``int kstrtobool(const char *s, bool *res)``: 0 or -EINVAL."""
    try:
        value = parse_bool(k.memory.cstring(text, 2)) if text else None
    except ValueError:
        value = None
    if value is None:
        return -EINVAL
    k.memory.set_u8(result, value)
    return 0


@export(image_first=True)
def kstrtobool_from_user(k: Core, text: Ptr, count: SizeT, result: Ptr) -> Int:
    """``int kstrtobool_from_user(const char __user *s, size_t count, bool *res)``."""
    if (given := copied_string(k, text, min(count, 3))) is None:
        return -EFAULT
    try:
        k.memory.set_u8(result, parse_bool(given))
    except ValueError:
        return -EINVAL
    return 0


def simple_number(k: Core, text: int, end: int, base: int, *, signed: bool = False) -> int:
    """simple_strtoull(), or simple_strtoll() if ``signed``: ``*end`` becomes the end of the number."""
    given = k.memory.cstring(text)
    negative = signed and given[:1] == b"-"
    base, skip = fixup_radix(given[negative:], base)
    value, length = parse_integer(given[negative + skip :], base)
    if end:
        k.memory.set_u64(end, text + negative + skip + length)
    return -value if negative else value


@export("simple_strtoul", "simple_strtoull", native=True)
def simple_strtoul(k: Core, text: Ptr, end: Ptr, base: UInt) -> ULong:
    """``unsigned long simple_strtoul(const char *cp, char **endp, unsigned int base)``."""
    return simple_number(k, text, end, base)


@export("simple_strtol", "simple_strtoll", native=True)
def simple_strtol(k: Core, text: Ptr, end: Ptr, base: UInt) -> Long:
    """``long simple_strtol(const char *cp, char **endp, unsigned int base)``."""
    return simple_number(k, text, end, base, signed=True)
