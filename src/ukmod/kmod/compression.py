"""Unpack module files: xz, gzip and zstd, told apart by their first bytes, as kmod and the kernel do.

A file may be several frames one after another, with or without their sizes in their headers (kmod refuses
zstd frames without). The decoders are imported when a file needs them.
"""

from __future__ import annotations

import errno

from ukmod.errors import FormatError, LimitError, MissingExtraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Decoder(Protocol):
        """One frame's decoder, as zlib, lzma and zstd have it."""

        @property
        def eof(self) -> bool:
            """Whether the frame is complete."""

        @property
        def unused_data(self) -> bytes:
            """The bytes after the frame."""

        def decompress(self, data: bytes, max_length: int, /) -> bytes:
            """Return at most so many bytes."""

    Codec = tuple[Callable[[], Decoder], type[Exception]]


__all__ = ["DEFAULT_LIMIT", "compression_of", "decompress"]

_MAGICS = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"), (b"\x1f\x8b", "gzip"))

DEFAULT_LIMIT = 1 << 30
"""Bytes that a file may unpack to: ten times the largest modules with all their debug information."""

_GZIP_WINDOW = 31  # zlib's notation for "a gzip header, and any window"
_XZ_MEMORY = 1 << 28  # what the decoder may allocate: four times what `xz -9e` asks for


def compression_of(head: bytes) -> str:
    """Name the compression a file's first bytes stand for, in the kernel's words; empty for none."""
    return next((name for magic, name in _MAGICS if head.startswith(magic)), "")


def decompress(data: bytes, *, path: str = "", limit: int = DEFAULT_LIMIT) -> bytes:
    """Return the unpacked file, or ``data`` itself if it is not compressed.

    Raises FormatError if the data is damaged or cut off, LimitError if it is larger than ``limit`` bytes
    unpacked, MissingExtraError if zstd is asked of a Python that cannot do it.
    """
    kind = compression_of(data)
    if not kind:
        return data
    decoder, failure = _CODECS[kind]()
    parts: list[bytes] = []
    room = limit
    rest = data
    while compression_of(rest) == kind:
        frame = decoder()
        try:
            part = frame.decompress(rest, room + 1)
        except failure as error:
            raise _damaged(f"damaged {kind} data: {error}", path) from error
        room -= len(part)
        if room < 0:
            raise LimitError(f"unpacks to more than the limit of {limit} bytes", subject=path)
        if not frame.eof:
            raise _damaged(f"{kind} data is cut off", path)
        parts.append(part)
        # Padding between streams is legal in xz and harmless elsewhere.
        rest = frame.unused_data.lstrip(b"\0")
    return b"".join(parts) if len(parts) != 1 else parts[0]


def _damaged(message: str, path: str) -> FormatError:
    error = FormatError(message, path=path)
    error.errno = errno.EINVAL  # as libkmod has it
    return error


def _gzip() -> Codec:
    import zlib

    return lambda: zlib.decompressobj(_GZIP_WINDOW), zlib.error


def _xz() -> Codec:
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY), lzma.LZMAError


def _zstd() -> Codec:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore] # since Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError as error:
            raise MissingExtraError("unpacking zstd", "zstd", error) from error
    return zstd.ZstdDecompressor, zstd.ZstdError


_CODECS: dict[str, Callable[[], Codec]] = {"gzip": _gzip, "xz": _xz, "zstd": _zstd}
