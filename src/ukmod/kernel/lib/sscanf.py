"""sscanf(), from lib/vsprintf.c.

It differs from C's: ``%[`` needs a width and has no ranges, ``%*`` skips to the next space, and ``%p`` does
not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.lib.kstrtox import fixup_radix, parse_integer
from ukmod.kernel.lib.limits import INT_MAX
from ukmod.kernel.lib.vsprintf import Arguments
from ukmod.kmod.nextarg import SPACES
from ukmod.machine.abi import CStr, Int, Ptr, VaList, VarArgs
from ukmod.record import mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

SHRT_MAX: Final = (1 << 15) - 1
_BASES = {ord("o"): 8, ord("x"): 16, ord("X"): 16, ord("i"): 0, ord("d"): 10, ord("u"): 10}
_SIGNED = b"di"
_SIZES = {b"hh": 1, b"h": 2, b"": 4, b"l": 8, b"ll": 8, b"L": 8, b"z": 8}
_DIGITS = {8: b"01234567", 10: b"0123456789", 0: b"0123456789", 16: b"0123456789abcdefABCDEF"}


class _StopScan(Exception):  # noqa: N818 - no error: the text or the format has come to an end
    """The end of the text or a mismatch: the rest of the format is ignored."""


@mutable
class _Text:
    """A string and the position up to which it has been read; past its end it reads a NUL, as in C."""

    content: bytes
    at: int = 0

    def peek(self) -> int:
        return self.content[self.at] if self.at < len(self.content) else 0

    def skip_spaces(self) -> None:
        while self.peek() in SPACES and self.peek():
            self.at += 1

    def take_while(self, allowed: bytes, limit: int, *, negate: bool = False) -> bytes:
        start = self.at
        while self.at - start < limit and self.peek() and (self.peek() in allowed) != negate:
            self.at += 1
        return self.content[start : self.at]


class _Scan:
    """One sscanf() in progress."""

    def __init__(self, kernel: Core, text: bytes, fmt: bytes, args: Arguments) -> None:
        self._memory = kernel.memory
        self._text = _Text(text)
        self._fmt = _Text(fmt)
        self._args = args
        self.count = 0
        """The number of conversions stored."""

    def run(self) -> int:
        """Scan the text; returns the number of conversions stored."""
        try:
            while self._fmt.peek():
                self._step()
        except _StopScan:
            pass
        return self.count

    def _step(self) -> None:
        text, fmt = self._text, self._fmt
        if fmt.peek() in SPACES:
            fmt.skip_spaces()
            text.skip_spaces()
        if fmt.peek() != ord("%"):
            self._literal()
            return
        fmt.at += 1
        if fmt.peek() == ord("*"):
            self._skip()
            return
        width = self._width()
        qualifier = fmt.take_while(b"hlLz", 1)
        if qualifier in {b"h", b"l"}:
            qualifier += fmt.take_while(qualifier, 1)
        self._convert(width, _SIZES[qualifier])

    def _literal(self) -> None:
        if not self._fmt.peek():
            return
        if self._fmt.peek() != self._text.peek():
            raise _StopScan
        self._fmt.at += 1
        self._text.at += 1

    def _skip(self) -> None:
        if not self._text.peek():
            raise _StopScan
        rest = self._fmt.take_while(SPACES + b"%", INT_MAX, negate=True)
        if b"[" in rest:
            raise _StopScan
        self._text.take_while(SPACES, INT_MAX, negate=True)

    def _width(self) -> int:
        digits = self._fmt.take_while(b"0123456789", INT_MAX)
        if not digits:
            return -1
        if not int(digits):
            raise _StopScan
        return min(int(digits), SHRT_MAX)

    def _convert(self, width: int, size: int) -> None:
        text = self._text
        kind = self._fmt.peek()
        self._fmt.at += 1
        if kind == ord("n"):
            self._memory.set_u32(self._args.next(), text.at)
            return
        if not kind or not text.peek():
            raise _StopScan
        if kind == ord("c"):
            data = text.content[text.at : text.at + max(width, 1)]
            text.at += len(data)
            self._memory.write(self._args.next(), data)
            self.count += 1
        elif kind == ord("s"):
            text.skip_spaces()
            self._store_text(text.take_while(SPACES, width if width > 0 else SHRT_MAX, negate=True))
        elif kind == ord("["):
            self._set(width)
        elif kind == ord("%"):
            if text.peek() != ord("%"):
                raise _StopScan
            text.at += 1
        elif kind in _BASES:
            self._number(_BASES[kind], width, size, signed=kind in _SIGNED)
        else:
            raise _StopScan

    def _store_text(self, data: bytes) -> None:
        self._memory.write(self._args.next(), data + b"\0")
        self.count += 1

    def _set(self, width: int) -> None:
        """Match ``%10[abc]`` or ``%10[^abc]``."""
        negate = bool(self._fmt.take_while(b"^", 1))
        allowed = self._fmt.take_while(b"]", INT_MAX, negate=True)
        if width < 0 or not allowed or not self._fmt.take_while(b"]", 1):
            raise _StopScan
        matched = self._text.take_while(allowed, width, negate=negate)
        if not matched:
            raise _StopScan
        self._store_text(matched)

    def _number(self, base: int, width: int, size: int, *, signed: bool) -> None:
        text = self._text
        text.skip_spaces()
        negative = signed and text.peek() == ord("-")
        digits = text.content[text.at + negative :]
        if (negative and width == 1) or not digits or digits[0] not in _DIGITS[base]:
            raise _StopScan
        room = (width if width > 0 else INT_MAX) - negative
        base, prefix = fixup_radix(digits, base)
        if prefix < room:
            value, length = parse_integer(digits[prefix:], base, room - prefix)
            length += prefix
        else:
            value, length = 0, room  # the width ends within the prefix: skip those characters
        text.at += negative + length
        self._memory.set_uint(self._args.next(), -value if negative else value, size)
        self.count += 1


@export(native=True)
def sscanf(k: Core, text: CStr, fmt: CStr, args: VarArgs) -> Int:
    """``int sscanf(const char *buf, const char *fmt, ...)``: the number of conversions stored."""
    return _Scan(k, text, fmt, args).run()


@export(native=True)
def vsscanf(k: Core, text: CStr, fmt: CStr, args: Ptr) -> Int:
    """``int vsscanf(const char *buf, const char *fmt, va_list args)``."""
    return _Scan(k, text, fmt, VaList(k.memory, args)).run()
