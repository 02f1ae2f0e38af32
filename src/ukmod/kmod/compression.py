"""Unpack module files: xz, gzip and zstd, told apart by their first bytes, as kmod and the kernel do.

A file may be several frames one after another, with or without their sizes in their headers (kmod refuses
zstd frames without). The decoders are imported when a file needs them.

Packed data are read and unpacked piece by piece, and the limit is looked at before each piece: the memory
that is needed is the result's and a window of at most 128 MiB, whatever the file claims of itself.
"""

from __future__ import annotations

import errno
from io import BytesIO

from ukmod.errors import FormatError, LimitError, MissingExtraError, UkmodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Decoder(Protocol):
        """One frame's decoder, as lzma, bz2 and zstd have it."""

        @property
        def eof(self) -> bool:
            """Whether the frame is complete."""

        @property
        def needs_input(self) -> bool:
            """Whether nothing comes without more packed data."""

        @property
        def unused_data(self) -> bytes:
            """The bytes after the frame."""

        def decompress(self, data: bytes, max_length: int, /) -> bytes:
            """Return at most so many bytes."""

    Codec = tuple[Callable[[], Decoder], type[Exception]]


__all__ = [
    "DEFAULT_LIMIT",
    "WINDOW",
    "FollowedError",
    "Inflate",
    "PackedInput",
    "WindowError",
    "compression_of",
    "decompress",
    "decompress_packed",
    "unpack_frame",
]

_MAGICS = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"), (b"\x1f\x8b", "gzip"))

DEFAULT_LIMIT = 1 << 30
"""Bytes that a file may unpack to: ten times the largest modules with all their debug information."""

_PIECE = 1 << 16
_UNPACKED_PIECE = 1 << 20
_MOST_FRAMES = 1 << 16
"""Frames of a file. Parallel compressors make one of some megabytes each."""
WINDOW = 1 << 27
"""Bytes that a decoder may allocate: twice what ``xz -9`` asks for, and what zstd allows by default."""


class WindowError(LimitError):
    """The decoder would need more than ``window`` bytes of memory."""

    def __init__(self, window: int, error: Exception, path: str) -> None:
        text = f"needs more than {window >> 20} MiB of memory to unpack: {error}"
        super().__init__(text, errno=errno.EINVAL, subject=path)


class FollowedError(FormatError):
    """Other data follow the packed ones, of this kind: kmod refuses them, the kernel does not look there."""

    def __init__(self, kind: str, path: str) -> None:
        super().__init__(f"{kind} data is followed by other data", path=path)
        self.errno = errno.EINVAL  # as libkmod has it
        self.kind = kind


class PackedInput:
    """Packed data, read piece by piece. ``read(size)`` returns the next bytes, none at the end."""

    def __init__(self, read: Callable[[int], bytes], path: str = "") -> None:
        self._read = read
        self.path = path
        self.rest = b""
        """The bytes that have been read and not taken."""

    @classmethod
    def of(cls, data: bytes | memoryview, path: str = "") -> PackedInput:
        """Return packed data that are in memory, of which no second copy is made."""
        parts = (bytes(data[at : at + _PIECE]) for at in range(0, len(data), _PIECE))
        return cls(lambda _size: next(parts, b""), path)

    def take(self) -> bytes:
        """Return some bytes; none at the end."""
        piece, self.rest = self.rest or self._read(_PIECE), b""
        return piece

    def peek(self, size: int = 6) -> bytes:
        """Return the next bytes, fewer at the end, without taking them."""
        while len(self.rest) < size and (piece := self._read(_PIECE)):
            self.rest += piece
        return self.rest[:size]


def compression_of(head: bytes) -> str:
    """Name the compression a file's first bytes stand for, in the kernel's words; empty for none."""
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    return ""


def decompress(data: bytes, *, path: str = "", limit: int = DEFAULT_LIMIT) -> bytes:
    """Return the unpacked file, or ``data`` itself if it is not compressed. Raises as decompress_packed()."""
    return decompress_packed(PackedInput.of(data, path), limit=limit) if compression_of(data) else data


def decompress_packed(
    packed: PackedInput, *, limit: int = DEFAULT_LIMIT, window: int = WINDOW, followed: bool = False
) -> bytes:
    """Return what a compressed file unpacks to. ``followed``: other data may follow, and are ignored.

    Raises FormatError if the data are damaged, cut off or followed by others; LimitError if the result is
    larger than ``limit`` bytes, or WindowError if the decoder would need more than ``window``;
    MissingExtraError if zstd is asked of a Python that cannot do it.
    """
    kind = compression_of(packed.peek())
    decoder, failure = _CODECS[kind](window)
    out = BytesIO()
    frames = 0
    while _is_frame(kind, packed):
        frames += 1
        if frames > _MOST_FRAMES:
            raise LimitError(f"has more than {_MOST_FRAMES} {kind} frames", subject=packed.path)
        try:
            complete = unpack_frame(decoder(), packed, out, limit)
        except failure as error:
            if "memory" in str(error).lower():
                raise WindowError(window, error, packed.path) from error
            raise _damaged(f"damaged {kind} data: {error}", packed.path) from error
        if not complete:
            raise _damaged(f"{kind} data is cut off", packed.path)
    if not followed and kind != "gzip" and packed.peek():
        raise FollowedError(kind, packed.path)
    return out.getvalue()


def unpack_frame(decoder: Decoder, packed: PackedInput, out: BytesIO, limit: int) -> bool:
    """Append what a frame unpacks to; tell whether it was complete.

    Raises LimitError if ``out`` would become larger than ``limit`` bytes, and what the decoder raises.
    """
    size = out.tell()
    try:
        while not decoder.eof:
            piece = packed.take() if decoder.needs_input else b""
            if not piece and decoder.needs_input:
                return False
            part = decoder.decompress(piece, min(_UNPACKED_PIECE, limit - size + 1))
            if size + len(part) > limit:
                raise LimitError(f"unpacks to more than the limit of {limit} bytes", subject=packed.path)
            out.write(part)
            size += len(part)
    except MemoryError as error:  # `out` counts as closed then
        message = f"no memory is left after {size} unpacked bytes"
        raise LimitError(message, errno=errno.ENOMEM, subject=packed.path) from error
    packed.rest = decoder.unused_data + packed.rest
    return True


class Inflate:
    """zlib's decoder with the interface of the others; ``window`` is its ``wbits``."""

    def __init__(self, window: int) -> None:
        import zlib

        self._decoder = zlib.decompressobj(window)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the stream is complete."""
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        """The bytes after the stream."""
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most so many bytes."""
        part = self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)
        self.needs_input = len(part) < max_length and not self._decoder.unconsumed_tail
        return part


def _is_frame(kind: str, packed: PackedInput) -> bool:
    """Tell whether another frame follows, and skip the padding before it that the format allows."""
    if kind == "xz":
        # Of a multiple of four bytes; what is odd is no padding.
        while packed.peek() and (zeros := (len(packed.rest) - len(packed.rest.lstrip(b"\0"))) & ~3):
            packed.rest = packed.rest[zeros:]
    elif kind == "gzip":
        while packed.peek(1) == b"\0":
            packed.rest = packed.rest.lstrip(b"\0")
    head = packed.peek()
    return compression_of(head) == kind or (kind == "zstd" and _is_skippable(head))


def _is_skippable(head: bytes) -> bool:
    """Tell whether a zstd frame is one that decoders skip: magic numbers 0x184D2A50 to 0x184D2A5F."""
    return head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5


def _damaged(message: str, path: str) -> FormatError:
    error = FormatError(message, path=path)
    error.errno = errno.EINVAL  # as libkmod has it
    return error


def _lacking(kind: str, library: str, error: ImportError) -> UkmodError:
    text = f"this Python was built without {library} and cannot unpack {kind}"
    return UkmodError(f"{text}: {error}", errno=errno.ENOSYS)


def _gzip(_window: int) -> Codec:
    try:
        import zlib
    except ImportError as error:
        raise _lacking("gzip", "zlib", error) from error
    return lambda: Inflate(31), zlib.error  # 31: zlib's notation for "a gzip header, and any window"


def _xz(window: int) -> Codec:
    try:
        import lzma
    except ImportError as error:
        raise _lacking("xz", "lzma", error) from error
    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, window), lzma.LZMAError


def _zstd(window: int) -> Codec:
    try:
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore] # since Python 3.14
        except ModuleNotFoundError:
            from backports import zstd
        options = {zstd.DecompressionParameter.window_log_max: window.bit_length() - 1}
        return lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError
    except Exception as error:
        raise MissingExtraError("unpacking zstd", "zstd", error) from error


_CODECS: dict[str, Callable[[int], Codec]] = {"gzip": _gzip, "xz": _xz, "zstd": _zstd}
