"""Finding and unpacking the vmlinux in a bzImage (Documentation/x86/boot.rst) or a packed file."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from ukmod.errors import FormatError, LimitError
from ukmod.kmod.compression import Inflate, PackedInput, WindowError, decompress_packed, unpack_frame

if TYPE_CHECKING:
    from ukmod.kmod.compression import Decoder

__all__ = ["LIMIT", "PACKED_LIMIT", "is_packed", "unpack"]

LIMIT = 1 << 29
"""The maximum size of an unpacked kernel in bytes; one with everything built in has some 100 MB."""
PACKED_LIMIT = LIMIT // 8
"""The maximum size of a packed kernel in bytes; distributions' have 6 to 15 MB."""

_SECTOR = 512
_SETUP_SECTS, _HEADER_MAGIC, _VERSION, _PAYLOAD = 0x1F1, 0x202, 0x206, 0x248
_WITH_PAYLOAD = 0x208  # boot protocol 2.08 added the payload's place
_SMALL_WINDOW = 16 << 20
_WINDOW = 160 << 20
"""Bytes that a decoder may allocate: current kernels are packed with a dictionary of 128 MiB."""


def is_packed(head: bytes) -> bool:
    """True if a file that begins like this holds a kernel that must be unpacked first."""
    return _is_bzimage(head) or any(head.startswith(magic) for magic in _DECODERS)


def unpack(data: bytes, *, path: str = "", limit: int = LIMIT) -> bytes:
    """Return the vmlinux of a bzImage or of a packed file.

    With ``data`` of PACKED_LIMIT bytes, and LIMIT, the memory that it takes is the limit and a fifth at most.
    Raises FormatError if there is none, LimitError if it is larger than ``limit`` bytes unpacked, and
    MissingExtraError for zstd if this Python does not support it.
    """
    start, end = _payload(data, path) if _is_bzimage(data) else (0, len(data))
    payload = memoryview(data)[start:end]
    head = bytes(payload[:16])
    decode = next((decode for magic, decode in _DECODERS.items() if head.startswith(magic)), None)
    if decode is None:
        if head.startswith(b"\x7fELF"):
            return bytes(payload)
        raise FormatError("unknown compression of the kernel", path=path, offset=start)
    try:
        unpacked = decode(payload, limit, path)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise FormatError(f"the packed kernel is damaged: {error}", path=path, offset=start) from error
    if len(unpacked) > limit:
        raise LimitError(f"unpacks to more than the limit of {limit} bytes", subject=path)
    return unpacked


def _is_bzimage(data: bytes) -> bool:
    return data[_HEADER_MAGIC : _HEADER_MAGIC + 4] == b"HdrS"


def _payload(data: bytes, path: str) -> tuple[int, int]:
    """Return the start and end of the payload, from the setup header."""
    if len(data) < _PAYLOAD + 8:
        raise FormatError("the setup header is cut off", path=path, offset=len(data))
    (version,) = struct.unpack_from("<H", data, _VERSION)
    if version < _WITH_PAYLOAD:
        raise FormatError(f"boot protocol {version:#x} has no payload field", path=path, offset=_VERSION)
    offset, size = struct.unpack_from("<II", data, _PAYLOAD)
    # The setup code has this many sectors after the boot sector; 0 means 4.
    start = ((data[_SETUP_SECTS] or 4) + 1) * _SECTOR + offset
    if not size or start + size > len(data):
        raise FormatError("the packed kernel lies beyond the end of the file", path=path, offset=start)
    return start, start + size


def _stored_size(payload: memoryview) -> int | None:
    """The size that the kernel's Makefile appends to every payload except gzip's (``size_append``)."""
    return int.from_bytes(payload[-4:], "little") if len(payload) > 4 else None


def _gzip(payload: memoryview, limit: int, path: str) -> bytes:
    return _one_stream(Inflate(31), payload, limit, path)


def _bzip2(payload: memoryview, limit: int, path: str) -> bytes:
    return _one_stream(bz2.BZ2Decompressor(), payload, limit, path)


def _lzma(payload: memoryview, limit: int, path: str) -> bytes:
    def decode(window: int, room: int) -> bytes:
        try:
            return _one_stream(lzma.LZMADecompressor(lzma.FORMAT_AUTO, window), payload, room, path)
        except lzma.LZMAError as error:
            if "memory" in str(error).lower():
                raise WindowError(window, error, path) from error
            raise

    return _in_window(decode, payload, limit)


def _in_window(decode: Callable[[int, int], bytes], payload: memoryview, limit: int) -> bytes:
    """Unpack with a window (xz calls it a dictionary) that is small beside ``limit``, or else with a large
    one, which leaves less room for the result. ``decode`` is called with the window and that room, in bytes.
    """
    try:
        return decode(max(limit // 16, _SMALL_WINDOW), limit)
    except WindowError:
        room = min(limit + limit // 5 - _WINDOW - len(payload), limit)
        if room <= 0:
            raise
    return decode(_WINDOW, room)


def _one_stream(decoder: Decoder, payload: memoryview, limit: int, path: str) -> bytes:
    out = BytesIO()
    complete = unpack_frame(decoder, PackedInput.of(payload, path), out, limit)
    # An lzma stream may have no end mark: then the size appended to it decides.
    if not complete and _stored_size(payload) != out.tell():
        raise FormatError("the packed kernel is cut off", path=path, offset=len(payload))
    return out.getvalue()


def _zstd(payload: memoryview, limit: int, path: str) -> bytes:
    def decode(window: int, room: int) -> bytes:
        # The size of the unpacked kernel follows, which is no part of the frame.
        packed = PackedInput.of(payload, path)
        return decompress_packed(packed, limit=room, window=window, followed=True)

    return _in_window(decode, payload, limit)


def _lz4(payload: memoryview, limit: int, path: str) -> bytes:
    from ukmod.kmod.lz4 import unpack_lz4

    return unpack_lz4(payload, limit=limit, path=path)


def _lzo(payload: memoryview, limit: int, path: str) -> bytes:
    from ukmod.machine.image.lzo import unpack_lzo

    return unpack_lzo(payload, limit=limit, path=path)


_DECODERS: dict[bytes, Callable[[memoryview, int, str], bytes]] = {
    b"\x1f\x8b": _gzip,
    b"BZh": _bzip2,
    b"\x5d\0\0": _lzma,
    b"\xfd7zXZ\0": _lzma,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x02\x21\x4c\x18": _lz4,
    b"\x89LZO\0\r\n\x1a\n": _lzo,
}
"""Decoders by the first bytes; the kernel's own table is in lib/decompress.c."""
