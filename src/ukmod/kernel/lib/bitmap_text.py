"""Bitmaps from text: the parsers of lib/bitmap.c as functions of bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from errno import EINVAL, EOVERFLOW, ERANGE
from functools import reduce
from operator import or_
from typing import Final

from ukmod.kernel.lib.hexdump import from_hex_digit
from ukmod.kernel.lib.kstrtox import parse_integer
from ukmod.kmod.nextarg import SPACES
from ukmod.record import mutable

_SEPARATORS: Final = SPACES + b","
_UINT_MAX: Final = (1 << 32) - 1
_LAST_WORD: Final = re.compile(rb"[^%s]{1,8}\Z" % _SEPARATORS)
"""At most eight digits: one 32-bit word."""


@mutable
class _List:
    """The text of a bit list, and the position up to which it has been read."""

    text: bytes
    last: int
    """The map's last bit, which ``N`` stands for."""
    at: int = 0

    def more(self) -> bool:
        """Skip separators; True if another region follows."""
        while self.at < len(self.text) and self.text[self.at] in _SEPARATORS:
            self.at += 1
        return self.at < len(self.text)

    def take(self, wanted: bytes) -> bool:
        """Read ``wanted``, ignoring case, if the text continues with it; True if it did."""
        found = self.text[self.at : self.at + len(wanted)].lower() == wanted
        self.at += len(wanted) if found else 0
        return found

    def number(self) -> int:
        """Read a number, or ``N``. Raises OSError."""
        if self.text[self.at : self.at + 1] == b"N":
            self.at += 1
            return self.last
        value, length = parse_integer(self.text[self.at :], 10)
        if not length:
            raise OSError(EINVAL, "not a number")
        if value > _UINT_MAX:
            raise OSError(EOVERFLOW, "too large a number")
        self.at += length
        return value

    def region(self) -> int:
        """The map of a region such as ``7``, ``0-3`` or ``8-15:2/4`` (2 of each 4 bits). Raises OSError."""
        if self.take(b"all"):
            low, high = 0, self.last
        else:
            low = high = self.number()
            if not self._region_ends():
                self._expect(b"-")
                high = self.number()
        if self._region_ends():
            taken = step = high + 1 & _UINT_MAX
            if self.text[self.at : self.at + 1] == b"\n":  # a newline ends the list, but only here
                self.at = len(self.text)
        else:
            self._expect(b":")
            taken = self.number()
            self._expect(b"/")
            step = self.number()
        if low > high or not step or taken > step:
            raise OSError(EINVAL, "not a region")
        if high > self.last:
            raise OSError(ERANGE, "not a bit of the map")
        groups = (((1 << min(taken, high + 1 - at)) - 1) << at for at in range(low, high + 1, step))
        return reduce(or_, groups)

    def _region_ends(self) -> bool:
        return self.at == len(self.text) or self.text[self.at] in _SEPARATORS

    def _expect(self, wanted: bytes) -> None:
        if not self.take(wanted):
            raise OSError(EINVAL, f"no {wanted.decode()}")


def list_regions(text: bytes, bits: int) -> Iterator[int]:
    """The regions of a list such as ``0-3,7,8-15:2/4``, each as a map: bitmap_parselist().

    Raises OSError with the kernel's errno at the first region that cannot be parsed.
    """
    unread = _List(text, bits - 1)
    while unread.more():
        yield unread.region()


def hex_chunks(text: bytes, bits: int) -> Iterator[int]:
    """The 32-bit words of a map written as ``1,ffffffff``, lowest word first: bitmap_parse().

    Raises OSError with the kernel's errno at the first word that cannot be parsed.
    """
    text = text.partition(b"\n")[0].rstrip(_SEPARATORS)
    left = -(-bits // 32)
    while text:
        if not left:
            raise OSError(EOVERFLOW, "more words than the map has")
        left -= 1
        digits = _LAST_WORD.findall(text)[0]
        value, length = parse_integer(digits, 16)
        if length < len(digits):
            raise OSError(EINVAL, "not a hexadecimal number")
        text = text[: -len(digits)]
        if text[-1:].strip(_SEPARATORS):
            if from_hex_digit(text[-1]) >= 0:
                raise OSError(EOVERFLOW, "more than 32 bits")
            text = text[:-1]  # the kernel skips this character too
        yield value
        text = text.rstrip(_SEPARATORS)
