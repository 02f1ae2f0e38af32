"""The kernel's own symbol table, as scripts/kallsyms.c packs it into .rodata.

In a kernel without an ELF symbol table, the tables have no names, so they are recognised by their contents.
They are: the number of names, the names, the markers (offsets of every 256th name), the 256 tokens, the index
of the tokens, and the addresses before or (since Linux 6.4) after all of these. Tables are aligned to 8
bytes, or (since Linux 7.0, where each address is stored relative to its own place) to 4.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

from ukmod.errors import FormatError
from ukmod.machine.image.symbols import LONGEST_NAME, WORD, ImageSymbol
from ukmod.machine.image.vmlinux import Vmlinux
from ukmod.record import record

__all__ = ["read_kallsyms"]

_DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
_TOKENS = 256
_LONGEST = 2 + 0x3FFF
"""The maximum size of a packed name in bytes: a length of at most 14 bits, and as many tokens."""
_MARKED = 256
_SYMBOLS = 1 << 20
_TRIES = 256
"""The maximum number of candidate places for the token table."""
_KERNEL = 0xFFFFFFFF80000000
_ALIGNMENTS = (8, 4)


@record
class _Tokens:
    """The 256 tokens, the start of their table, and the end of their index."""

    tokens: list[bytes]
    start: int
    end: int


@record
class _Names:
    """Where the names lie, and their number, which precedes them."""

    count_at: int
    count: int
    start: int
    end: int


def read_kallsyms(vmlinux: Vmlinux) -> list[ImageSymbol]:
    """Return all symbols in order of address; none for a kernel without kallsyms.

    Raises FormatError if some of the tables exist and others do not.
    """
    address, data = _data(vmlinux)
    tokens = _find_tokens(data)
    if tokens is None:
        return []
    table = _find_names(vmlinux, data, tokens.start)
    addresses = _find_addresses(vmlinux, address, data, table, tokens.end)
    names = _names(vmlinux, data, table, tokens.tokens)
    return [ImageSymbol(name[1:], name[:1], address) for name, address in zip(names, addresses, strict=True)]


def _incomplete(vmlinux: Vmlinux, has: str, lacks: str) -> FormatError:
    return FormatError(f"damaged: kallsyms has {has} but no {lacks}", path=vmlinux.path)


def _data(vmlinux: Vmlinux) -> tuple[int, bytes]:
    section = vmlinux.section(".rodata")
    if section is None:
        raise FormatError("has no section .rodata", path=vmlinux.path)
    return section.addr, vmlinux.elf.section_data(section)


def _find_tokens(data: bytes) -> _Tokens | None:
    """Find the token table: digits are tokens for themselves, so ten in a row with an index after them."""
    at = data.find(_DIGITS)
    for _ in range(_TRIES):
        if at < 0:
            break
        end = at
        for _ in range(_TOKENS - ord("0")):
            end = data.find(b"\0", end) + 1
            if not end:
                return None
        for alignment in _ALIGNMENTS:
            index_at = -(-end // alignment) * alignment
            raw = data[index_at : index_at + 2 * _TOKENS]
            if len(raw) == 2 * _TOKENS:
                index = struct.unpack(f"<{_TOKENS}H", raw)
                tokens = _split_tokens(data[at - index[ord("0")] : end], index)
                if tokens is not None and at >= index[ord("0")]:
                    return _Tokens(tokens, at - index[ord("0")], index_at + len(raw))
        at = data.find(_DIGITS, at + 1)
    return None


def _split_tokens(table: bytes, index: tuple[int, ...]) -> list[bytes] | None:
    tokens = table.split(b"\0")[:-1]
    place = 0
    for token, offset in zip(tokens, index, strict=False):
        if offset != place or len(token) > LONGEST_NAME:
            return None
        place += len(token) + 1
    return tokens if len(tokens) == _TOKENS else None


def _find_names(vmlinux: Vmlinux, data: bytes, end: int) -> _Names:
    """Find the names before the last table that may be their markers and lies before ``end``."""
    found = False
    for markers_at, markers in _markers(data, end):
        found = True
        if (names := _names_before(data, markers_at, markers)) is not None:
            return names
    raise _incomplete(vmlinux, "markers", "names") if found else _incomplete(vmlinux, "tokens", "markers")


def _markers(data: bytes, end: int) -> Iterator[tuple[int, array[int]]]:
    """The tables before ``end`` whose numbers grow from zero like offsets of names, the last one first."""
    words = array("I", data[: end // 4 * 4])
    for at in range(len(words) - 2, 0, -1):
        if words[at] == 0 and 2 * _MARKED <= words[at + 1] <= _LONGEST * _MARKED:
            stop = at + 1
            while stop < len(words) and 2 * _MARKED <= words[stop] - words[stop - 1] <= _LONGEST * _MARKED:
                stop += 1
            if stop - at >= 4:
                yield 4 * at, words[at:stop]


def _names_before(data: bytes, end: int, markers: array[int]) -> _Names | None:
    """Find the number of names, which precedes them: the first 256 names must end at the first marker."""
    highest = end - markers[-1] - _ALIGNMENTS[-1]
    lowest = max(highest - _MARKED * _LONGEST, 0)
    for at in range(highest // 4 * 4, lowest - 1, -4):
        count = int.from_bytes(data[at : at + 4], "little")
        if _MARKED * (len(markers) - 1) < count <= min(_MARKED * len(markers), _SYMBOLS):
            for alignment in _ALIGNMENTS:
                start = at + alignment
                if not at % alignment and _skip(data, start, _MARKED) == start + markers[1]:
                    return _Names(at, count, start, end)
    return None


def _skip(data: bytes, at: int, count: int) -> int:
    for _ in range(count):
        if at + 2 > len(data):
            return -1
        length = data[at]
        at += 1
        if length >= 0x80:  # since Linux 6.1
            length = length & 0x7F | data[at] << 7
            at += 1
        at += length
    return at


def _names(vmlinux: Vmlinux, data: bytes, table: _Names, tokens: list[bytes]) -> Iterator[str]:
    expand, at, end = tokens.__getitem__, table.start, table.end
    for number in range(table.count):
        length = data[at]
        at += 1
        if length >= 0x80:
            length = length & 0x7F | data[at] << 7
            at += 1
        if at + length > end:
            raise FormatError(f"kallsyms has only {number} of {table.count} names", path=vmlinux.path)
        name = b"".join(map(expand, data[at : at + length]))
        if len(name) > LONGEST_NAME:
            raise FormatError(f"kallsyms has a name of {len(name)} bytes", path=vmlinux.path)
        yield name.decode("utf-8", "replace")
        at += length


def _find_addresses(vmlinux: Vmlinux, address: int, data: bytes, table: _Names, end: int) -> list[int]:
    """Decode the addresses: offsets from a base that follows them, whole ones, or offsets from themselves.

    ``address`` is that of ``data``.
    """
    count, count_at = table.count, table.count_at
    offsets_size = -(-4 * count // WORD) * WORD
    after = -(-end // WORD) * WORD
    for offsets_at in (count_at - WORD - offsets_size, after):
        base = _base(data, offsets_at + offsets_size)
        if offsets_at >= 0 and base is not None:
            found = _decode(_numbers(data, offsets_at, count), base)
            if _is_plausible(found, count):
                return found
    if count_at >= WORD * count:
        whole = array("Q", data[count_at - WORD * count : count_at]).tolist()
        if _is_plausible(whole, count):
            return whole
    places = range(address + end, address + end + 4 * count, 4)
    own = [place + offset for place, offset in zip(places, _numbers(data, end, count), strict=False)]
    if _is_plausible(own, count):
        return own
    raise _incomplete(vmlinux, "names", "addresses")


def _numbers(data: bytes, at: int, count: int) -> array[int]:
    """The signed 32-bit numbers at an offset; fewer where the data end."""
    raw = data[at : at + 4 * count]
    return array("i", raw[: len(raw) // 4 * 4])


def _base(data: bytes, at: int) -> int | None:
    if not 0 <= at <= len(data) - WORD:
        return None
    base = int.from_bytes(data[at : at + WORD], "little")
    return base if base >= _KERNEL else None


def _decode(offsets: array[int], base: int) -> list[int]:
    """Decode offsets; negative ones count down from the base if per-CPU symbols use the others."""
    if any(offset < 0 for offset in offsets):
        return [offset if offset >= 0 else base - 1 - offset for offset in offsets]
    return [base + offset for offset in offsets]


def _is_plausible(addresses: list[int], count: int) -> bool:
    """True if there is one address per name, sorted as scripts/kallsyms.c leaves them."""
    kernel = [address for address in addresses if address >= _KERNEL]
    return len(addresses) == count and kernel == sorted(kernel) and 2 * len(kernel) > count
