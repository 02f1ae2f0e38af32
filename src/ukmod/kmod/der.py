"""A reader of DER (ITU-T X.690) with just what a signed module's CMS message needs.

Nothing here recurses and nothing is copied but what is asked for, so that a hostile message costs no more
than its own size. Everything odd (an indefinite length, a tag above 30, a length that leaves the parent) is
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ukmod.errors import FormatError

__all__ = ["Element", "Tag", "parse"]


class Tag:
    """Identifier octets (X.690 8.1.2) that occur in CMS and X.501 names."""

    INTEGER = 0x02
    OCTET_STRING = 0x04
    OID = 0x06
    SEQUENCE = 0x30
    SET = 0x31
    CONTEXT_0_PRIMITIVE = 0x80
    CONTEXT_0 = 0xA0
    CONTEXT_1 = 0xA1


@dataclass(frozen=True, slots=True)
class Element:
    """One tag-length-value in ``data``: header at ``header``, content from ``start`` to ``end``.

    Offsets are counted from the start of ``data``; errors name them with ``base`` added, which is where
    ``data`` lies in the file ``path``.
    """

    data: bytes
    tag: int
    header: int
    start: int
    end: int
    path: str = ""
    base: int = 0

    @property
    def content(self) -> bytes:
        """The content octets."""
        return self.data[self.start : self.end]

    @property
    def raw(self) -> bytes:
        """The whole element, header included."""
        return self.data[self.header : self.end]

    def children(self) -> Iterator[Element]:
        """Yield the elements inside a constructed one. Raises FormatError where they do not fit."""
        if not self.tag & 0x20:
            raise self.error("a constructed element was expected")
        at = self.start
        while at < self.end:
            child = _read(self.data, at, self.end, self.path, self.base)
            yield child
            at = child.end

    def expect(self, tag: int, what: str) -> Element:
        """Return this element if it has ``tag``; raise FormatError that names ``what`` if not."""
        if self.tag != tag:
            raise self.error(f"{what}: tag {tag:#04x} was expected, {self.tag:#04x} found")
        return self

    def integer(self) -> int:
        """Return the value of an INTEGER."""
        content = self.expect(Tag.INTEGER, "integer").content
        if not content:
            raise self.error("an INTEGER without content")
        return int.from_bytes(content, "big", signed=True)

    def oid(self) -> str:
        """Return the value of an OBJECT IDENTIFIER in dotted form."""
        content = self.expect(Tag.OID, "object identifier").content
        if not content or content[-1] & 0x80 or len(content) > 64:
            raise self.error("a bad OBJECT IDENTIFIER")
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

    def error(self, message: str) -> FormatError:
        """Return the error ``message`` at this element's place in the file."""
        return FormatError(f"DER: {message}", path=self.path, offset=self.base + self.header)


def parse(data: bytes, *, path: str = "", base: int = 0) -> Element:
    """Return the first element of ``data``, which is at offset ``base`` of the file ``path``."""
    return _read(data, 0, len(data), path, base)


def _read(data: bytes, at: int, limit: int, path: str, base: int) -> Element:
    """Read the header at offset ``at``; its content must end before ``limit``."""

    def bad(message: str) -> FormatError:
        return FormatError(f"DER: {message}", path=path, offset=base + at)

    if at + 2 > limit:
        raise bad("cut off in an element's header")
    tag, length = data[at], data[at + 1]
    start = at + 2
    if tag & 0x1F == 0x1F:
        raise bad("tag numbers above 30 are not used here")
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4:
            raise bad("an indefinite or absurd length")
        if start + octets > limit:
            raise bad("cut off in an element's length")
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    if length > limit - start:
        raise bad(f"an element of {length} bytes where {limit - start} are left")
    return Element(data, tag, at, start, start + length, path, base)
