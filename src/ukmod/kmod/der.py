"""A reader of DER (ITU-T X.690) with just what a signed module's CMS message needs.

Nothing here recurses and nothing is copied but what is asked for, so that a hostile message costs no more
than its own size. Everything odd (an indefinite length, a tag above 30, a length that leaves the parent) is
refused.
"""

from __future__ import annotations

from functools import lru_cache

from ukmod.errors import FormatError

__all__ = ["DerTag", "Reader"]


class DerTag:
    """Identifier octets (X.690 8.1.2) that occur in CMS and X.501 names."""

    INTEGER = 0x02
    OCTET_STRING = 0x04
    OID = 0x06
    SEQUENCE = 0x30
    SET = 0x31
    CONTEXT_0_PRIMITIVE = 0x80
    CONTEXT_0 = 0xA0
    CONTEXT_1 = 0xA1


class Reader:
    """Reads elements one after another from ``data``, between the offsets ``at`` and ``end``.

    ``base`` is where ``data`` lies in the file ``path``: errors, each a FormatError, name that place.
    The argument ``what`` of most methods is what the element is called in the specification, for the error.
    """

    __slots__ = ("_at", "_base", "_data", "_end", "_path")

    def __init__(
        self, data: bytes, at: int = 0, end: int | None = None, path: str = "", base: int = 0
    ) -> None:
        self._data = data
        self._at = at
        self._end = len(data) if end is None else end
        self._path = path
        self._base = base

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._at < self._end

    def peek(self) -> int:
        """Return the next element's tag, or -1 at the end."""
        return self._data[self._at] if self._at < self._end else -1

    def fork(self) -> Reader:
        """Return a reader that starts where this one stands now."""
        return Reader(self._data, self._at, self._end, self._path, self._base)

    def enter(self, tag: int, what: str) -> Reader:
        """Return a reader of the content of the next element, which must be constructed and have ``tag``."""
        if not tag & 0x20:
            raise self.error(f"{what}: tag {tag:#04x} is not a constructed one")
        start = self._next(tag, what)
        return Reader(self._data, start, self._at, self._path, self._base)

    def content(self, tag: int | None, what: str) -> bytes:
        """Return the content of the next element; None takes any tag."""
        start = self._next(tag, what)
        return self._data[start : self._at]

    def raw(self, tag: int | None, what: str) -> bytes:
        """Return the whole of the next element, header included."""
        header = self._at
        self._next(tag, what)
        return self._data[header : self._at]

    def integer(self, what: str) -> int:
        """Return the value of an INTEGER."""
        content = self.content(DerTag.INTEGER, what)
        if not content:
            raise self.error(f"{what}: an INTEGER without content")
        return int.from_bytes(content, "big", signed=True)

    def oid(self, what: str) -> str:
        """Return the value of an OBJECT IDENTIFIER in dotted form."""
        dotted = _dotted(self.content(DerTag.OID, what))
        if not dotted:
            raise self.error(f"{what}: a bad OBJECT IDENTIFIER")
        return dotted

    def error(self, message: str) -> FormatError:
        """Return the error ``message`` at the place this reader has come to."""
        return FormatError(f"DER: {message}", path=self._path, offset=self._base + self._at)

    def _next(self, tag: int | None, what: str) -> int:
        """Move past the next element and return where its content starts."""
        data, start, end = self._data, self._at + 2, self._end
        if start > end:
            raise self.error(f"{what}: cut off")
        found, length = data[start - 2], data[start - 1]
        if tag is not None and found != tag:
            raise self.error(f"{what}: tag {tag:#04x} was expected, {found:#04x} found")
        if found & 0x1F == 0x1F:
            raise self.error(f"{what}: a tag number above 30")
        if length & 0x80:
            octets = length & 0x7F
            if not 1 <= octets <= 4:
                raise self.error(f"{what}: an indefinite or absurd length")
            length = int.from_bytes(data[start : start + octets], "big")
            start += octets
        if start + length > end:
            raise self.error(f"{what}: {length} bytes where {max(end - start, 0)} are left")
        self._at = start + length
        return start


@lru_cache(maxsize=64)
def _dotted(content: bytes) -> str:
    """Return the dotted form of an OBJECT IDENTIFIER's content; "" if it is not one."""
    if not content or content[-1] & 0x80 or len(content) > 64:
        return ""
    arcs: list[int] = []
    value = 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    # X.690 8.19.4: the first two arcs share one number, and only the joint arc 2 goes beyond 39.
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
