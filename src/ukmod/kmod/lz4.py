"""LZ4's legacy frames, as made by ``lz4 -l`` and the kernel's Makefile (lz4_Frame_format.md)."""

from __future__ import annotations

from io import BytesIO

from ukmod.errors import FormatError, LimitError

__all__ = ["copy_match", "unpack_block", "unpack_lz4", "unpack_quickly"]

_BLOCK = 8 << 20
"""The maximum size of an unpacked block in bytes."""
_MOST_BLOCKS = 1 << 16
_MIN_MATCH = 4


def unpack_lz4(data: memoryview, *, limit: int, path: str = "") -> bytes:
    """Unpack a legacy frame, ignoring data after it, such as the size the kernel's Makefile appends.

    Raises FormatError if it is damaged, LimitError if it is larger than ``limit`` bytes unpacked.
    """
    out = BytesIO()
    at = 4
    blocks = 0
    # A frame has no end mark; it ends where no other block fits.
    while at + 4 < len(data):
        blocks += 1
        if blocks > _MOST_BLOCKS:
            raise LimitError(f"has more than {_MOST_BLOCKS} lz4 blocks", subject=path)
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if at + size > len(data):
            raise FormatError("an lz4 block is cut off", path=path, offset=at)
        try:
            out.write(unpack_quickly(data[at : at + size], min(_BLOCK, limit - out.tell())))
        except (IndexError, ValueError) as error:
            raise FormatError(f"damaged lz4 block: {error}", path=path, offset=at) from error
        except OverflowError:
            if limit - out.tell() < _BLOCK:
                raise LimitError(f"unpacks to more than the limit of {limit} bytes", subject=path) from None
            raise FormatError("an lz4 block is larger than 8 MiB", path=path, offset=at) from None
        at += size
    return out.getvalue()


def unpack_quickly(block: memoryview, room: int) -> bytes | bytearray:
    """Return an unpacked block, by the library lz4 if it is installed: it is 80 times as fast.

    The library does not say what is wrong with a block; our own decoder does, and it decodes if the library
    is damaged.
    """
    try:
        from lz4.block import decompress

        unpacked: bytes = decompress(block, uncompressed_size=room)
        return unpacked
    except Exception:  # noqa: BLE001 - whatever a damaged one raises
        out = bytearray()
        unpack_block(block, out, room)
        return out


def unpack_block(block: memoryview, out: bytearray, room: int) -> None:
    """Append an unpacked block to ``out`` (lz4_Block_format.md).

    Raises IndexError or ValueError for a damaged block, OverflowError for one larger than ``room``.
    """
    start = len(out)
    at, end = 0, len(block)
    while at < end:
        token = block[at]
        at += 1
        length = token >> 4
        if length == 15:
            length, at = _long(block, at, length, room)
        if length:
            if at + length > end:
                raise ValueError("literals are cut off")
            out += block[at : at + length]
            at += length
        if at < end:  # the last sequence has literals only
            distance = block[at] | block[at + 1] << 8
            at += 2
            length = token & 15
            if length == 15:
                length, at = _long(block, at, length, room)
            copy_match(out, distance, length + _MIN_MATCH, start)
        if len(out) - start > room:
            raise OverflowError


def _long(block: memoryview, at: int, length: int, room: int) -> tuple[int, int]:
    """Read the rest of a length: bytes to be added up, the last of which is not 255.

    Raises OverflowError as soon as the length exceeds ``room``.
    """
    while True:
        byte = block[at]
        at += 1
        length += byte
        if length > room:
            raise OverflowError
        if byte != 255:
            return length, at


def copy_match(out: bytearray, distance: int, length: int, start: int = 0) -> None:
    """Append ``length`` bytes from ``distance`` bytes back; the source may overlap the destination."""
    origin = len(out) - distance
    if distance < 1 or origin < start:
        raise ValueError("a match before the start")
    if distance >= length:
        out += out[origin : origin + length]
    else:
        pattern = out[origin:]
        out += (pattern * (length // distance + 1))[:length]
