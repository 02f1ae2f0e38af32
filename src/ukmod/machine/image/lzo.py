"""lzop files with LZO1X data; Documentation/staging/lzo.rst describes the instructions."""

from __future__ import annotations

import zlib
from io import BytesIO

from ukmod.errors import FormatError, LimitError
from ukmod.kmod.lz4 import copy_match

__all__ = ["unpack_block", "unpack_lzo"]

_MAGIC_SIZE = 9
_LZO_BLOCK = 8 << 20
"""The maximum size of an unpacked block in bytes; the kernel accepts no more than 256 KiB."""
_MOST_LZO_BLOCKS = 1 << 16
_ADLER32_UNPACKED, _ADLER32_PACKED, _CRC32_UNPACKED, _CRC32_PACKED, _FILTER = 0x1, 0x2, 0x100, 0x200, 0x800
_EXTENDED = 0x940  # headers have more fields since this version


class _Reader:
    """Reads big-endian numbers from a file in sequence."""

    def __init__(self, data: memoryview, at: int, path: str) -> None:
        self.data, self.at, self.path = data, at, path

    def take(self, size: int) -> memoryview:
        if self.at + size > len(self.data):
            raise FormatError("the lzo file is cut off", path=self.path, offset=self.at)
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")


def unpack_lzo(data: memoryview, *, limit: int, path: str = "") -> bytes:
    """Unpack an lzop file, up to its end mark.

    Raises FormatError if it is damaged, LimitError if it is larger than ``limit`` bytes unpacked.
    """
    reader = _Reader(data, _MAGIC_SIZE, path)
    flags = _read_header(reader)
    out = BytesIO()
    blocks = 0
    while size := reader.number(4):
        blocks += 1
        if blocks > _MOST_LZO_BLOCKS:
            raise LimitError(f"has more than {_MOST_LZO_BLOCKS} lzo blocks", subject=path)
        if out.tell() + size > limit:
            raise LimitError(f"unpacks to more than the limit of {limit} bytes", subject=path)
        out.write(_read_block(reader, flags, size))
    return out.getvalue()


def _read_header(reader: _Reader) -> int:
    version, _library = reader.number(2), reader.number(2)
    extended = version >= _EXTENDED
    if extended:
        reader.take(2)
    method = reader.number(1)
    if method not in (1, 2, 3):
        raise FormatError(f"unknown lzo method {method}", path=reader.path, offset=reader.at)
    reader.take(1 if extended else 0)
    flags = reader.number(4)
    if flags & _FILTER:
        raise FormatError("lzo filters are not supported", path=reader.path, offset=reader.at)
    reader.take(12 if extended else 8)
    reader.take(reader.number(1))
    reader.take(4)
    return flags


def _read_block(reader: _Reader, flags: int, size: int) -> bytearray:
    packed = reader.number(4)
    at = reader.at
    if size > _LZO_BLOCK or packed > size:
        raise FormatError(
            f"a lzo block of {packed} bytes cannot unpack to {size}", path=reader.path, offset=at
        )
    sums = [
        (check, reader.number(4))
        for flag, check in ((_ADLER32_UNPACKED, zlib.adler32), (_CRC32_UNPACKED, zlib.crc32))
        if flags & flag
    ]
    if packed < size:
        reader.take(4 * bool(flags & _ADLER32_PACKED) + 4 * bool(flags & _CRC32_PACKED))
    block = reader.take(packed)
    part = bytearray(block)
    if packed < size:
        part = bytearray()
        try:
            unpack_block(block, part, size)
        except (IndexError, ValueError) as error:
            raise FormatError(f"damaged lzo block: {error}", path=reader.path, offset=at) from error
    if len(part) != size or any(check(part) != wanted for check, wanted in sums):
        raise FormatError("damaged lzo block: size or checksum does not match", path=reader.path, offset=at)
    return part


def unpack_block(block: bytes | memoryview, out: bytearray, room: int) -> None:
    """Append an unpacked LZO1X block to ``out``, which must be empty.

    Raises IndexError or ValueError for a damaged block or one larger than ``room`` bytes.
    """
    at = 0
    literals = 0
    """The documentation's state: the number of literals the last instruction copied, or 4 for more."""
    if block[0] > 17:
        count = block[0] - 17
        out += block[1 : 1 + count]
        at = 1 + count
        literals = min(count, 4)
    while True:
        code = block[at]
        at += 1
        if code < 16 and literals == 0:
            count, at = (code + 3, at) if code else _long(block, at, 18, room)
            if at + count > len(block):
                raise ValueError("literals are cut off")
            out += block[at : at + count]
            at += count
            literals = 4
        else:
            length, distance, trailing, at = _match(block, code, at, literals, room)
            if not distance:
                return
            copy_match(out, distance, length)
            out += block[at : at + trailing]
            at += trailing
            literals = trailing
        if len(out) > room:
            raise ValueError("larger than its header says")


def _match(
    block: bytes | memoryview, code: int, at: int, literals: int, room: int
) -> tuple[int, int, int, int]:
    """Return (length, distance, number of literals after it, next offset); distance 0 ends the block."""
    if code >= 64:
        distance = (block[at] << 3) + (code >> 2 & 7) + 1
        return (code >> 5) + 1, distance, code & 3, at + 1
    if code < 16:
        low = (block[at] << 2) + (code >> 2) + 1
        return (3, low + 2048, code & 3, at + 1) if literals == 4 else (2, low, code & 3, at + 1)
    mask, far = (31, 0) if code >= 32 else (7, 16384 + ((code & 8) << 11))
    length = (code & mask) + 2
    if length == 2:
        length, at = _long(block, at, mask + 2, room)
    low = block[at] | block[at + 1] << 8
    distance = far + (low >> 2) + (0 if far else 1)
    return length, 0 if distance == 16384 and far else distance, low & 3, at + 2


def _long(block: bytes | memoryview, at: int, length: int, room: int) -> tuple[int, int]:
    """Read the rest of a length: zeros that count 255 each, and a final byte that is not zero.

    Raises ValueError as soon as the length exceeds ``room``.
    """
    while not block[at]:
        length += 255
        at += 1
        if length > room:
            raise ValueError("larger than its header says")
    return length + block[at], at + 1
