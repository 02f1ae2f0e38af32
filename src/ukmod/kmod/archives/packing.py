"""Unpack a part of a file, in each packing that the kernel takes for an initramfs."""

from __future__ import annotations

from io import BytesIO

from ukmod.errors import FormatError, LimitError
from ukmod.kmod.compression import PackedInput, compression_of, decompress_packed, unpack_frame
from ukmod.kmod.lz4 import unpack_quickly

__all__ = ["packing_of", "unpack_part"]

_LZ4 = b"\x02\x21\x4c\x18"
_LZ4_BLOCK = 8 << 20
_LZ4_LARGEST = _LZ4_BLOCK + _LZ4_BLOCK // 255 + 16
_LZ4_FRAMES = 1 << 10
"""Frames in a part: the last block of each may be shorter than the others."""
_LZMA = b"\x5d\x00\x00"


def packing_of(head: bytes) -> str:
    """Name the packing that a part's first bytes stand for; empty for none."""
    if kind := compression_of(head):
        return kind
    if head.startswith(_LZ4):
        return "lz4"
    if head.startswith(b"BZh"):
        return "bzip2"
    return "lzma" if head.startswith(_LZMA) else ""


def unpack_part(data: memoryview, path: str, limit: int) -> tuple[bytes, int]:
    """Return what a packed part unpacks to, and how long it is; other data may follow.

    Raises FormatError if it is damaged, LimitError if it unpacks to more than ``limit`` bytes,
    MissingExtraError for zstd, if this Python cannot unpack it.
    """
    kind = packing_of(bytes(data[:16]))
    if kind == "lz4":
        return _lz4(data, path, limit)
    taken = 0

    def read(size: int) -> bytes:
        nonlocal taken
        piece = bytes(data[taken : taken + size])
        taken += len(piece)
        return piece

    packed = PackedInput(read, path)
    if kind in ("bzip2", "lzma"):
        unpacked = _by_library(kind, packed, limit)
    else:
        unpacked = decompress_packed(packed, limit=limit, followed=True)
    return unpacked, taken - len(packed.rest)


def _by_library(kind: str, packed: PackedInput, limit: int) -> bytes:
    import bz2
    import lzma

    out = BytesIO()
    decoder = bz2.BZ2Decompressor() if kind == "bzip2" else lzma.LZMADecompressor(lzma.FORMAT_ALONE, 1 << 27)
    try:
        complete = unpack_frame(decoder, packed, out, limit)
    except (OSError, lzma.LZMAError) as error:
        raise FormatError(f"damaged {kind} data: {error}", path=packed.path) from error
    if not complete:
        raise FormatError(f"{kind} data is cut off", path=packed.path)
    return out.getvalue()


def _lz4(data: memoryview, path: str, limit: int) -> tuple[bytes, int]:
    """A legacy frame has no end mark: it ends where there is no size of a block."""
    out = BytesIO()
    at = len(_LZ4)
    blocks = limit // _LZ4_BLOCK + _LZ4_FRAMES
    while at + 4 <= len(data):
        blocks -= 1
        if blocks < 0:
            raise LimitError("has too many lz4 blocks that are not full", subject=path)
        if data[at : at + 4] == _LZ4:
            at += 4
            continue
        size = int.from_bytes(data[at : at + 4], "little")
        if not 0 < size <= _LZ4_LARGEST:
            break
        if at + 4 + size > len(data):
            raise FormatError("an lz4 block is cut off", path=path)
        room = min(_LZ4_BLOCK, limit - out.tell())
        try:
            out.write(unpack_quickly(data[at + 4 : at + 4 + size], room))
        except OverflowError:
            raise LimitError(f"unpacks to more than the limit of {limit} bytes", subject=path) from None
        except (IndexError, ValueError) as error:
            raise FormatError(f"damaged lz4 block: {error}", path=path) from error
        at += 4 + size
    return out.getvalue(), at
