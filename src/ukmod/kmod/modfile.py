"""A module on disk: opened once, and read, unpacked and parsed as far as needed and once at most.

libkmod has struct kmod_file for it, with the file's memory, and struct kmod_elf within. kmod decides by
content, not by name, whether a file is compressed; the kernel wants the file itself when it can unpack it,
and the unpacked image otherwise.
"""

from __future__ import annotations

import errno
import os

from ukmod.kmod.compression import PackedInput, compression_of, decompress_packed
from ukmod.kmod.regular import MODULE_LIMIT, open_with_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ukmod.kmod.elf import ByteSource, Elf
    from ukmod.kmod.signature import ModuleSignature

__all__ = ["ModuleFile"]

_SHORTEST = 6  # kmod compares that many bytes before anything else
_HEAD = 64  # an ELF header of 64 bits
_TAIL = 1 << 13
_CLOSED = -1


class ModuleFile:
    """A .ko file, plain or compressed. Close it, or use it as a context manager.

    ``path`` is what messages call it, ``real`` where it lies on this machine. A function that needs a module
    takes this value, not a path: so nobody reads or parses it again. Its contents, once read, remain when it
    is closed.
    """

    __slots__ = (
        "_contents",
        "_elf",
        "_fd",
        "_head",
        "_packed",
        "_signature",
        "_size",
        "_window",
        "path",
        "real",
    )

    def __init__(
        self, path: str, real: str | None = None, *, contents: bytes | None = None, opens: bool = True
    ) -> None:
        """Open the file, unless its contents are given, or will be.

        OSError if that fails; EINVAL if it is too short to be a module, or not a regular file.
        """
        self.path = path
        self.real = path if real is None else real
        self._contents = contents
        self._elf: Elf | None = None
        self._signature: tuple[ModuleSignature | None] | None = None
        self._window: _Window | None = None
        self._head = b""
        self._size = 0
        self._fd = _CLOSED
        self._packed: bytes | memoryview | None = None
        if contents is not None or not opens:
            return
        self._fd, status = open_with_status(self.real, MODULE_LIMIT)
        self._size = status.st_size
        try:
            self._head = os.pread(self._fd, _HEAD, 0)
            if len(self._head) < _SHORTEST:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        except OSError:
            self.close()
            raise

    @classmethod
    def of(cls, contents: bytes, path: str = "") -> ModuleFile:
        """Return a module that is in memory, as init_module(2) takes one: it needs no unpacking."""
        return cls(path, contents=contents)

    @classmethod
    def packed(cls, data: bytes | memoryview, path: str) -> ModuleFile:
        """Return a module's file whose bytes are in memory. OSError as for a file that is too short."""
        if len(data) < _SHORTEST:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        head = bytes(data[:_HEAD])
        file = cls(path, contents=None if compression_of(head) else bytes(data), opens=False)
        file._packed, file._head = data, head
        return file

    @property
    def compression(self) -> str:
        """Say how the file is compressed: gzip, xz, zstd or empty."""
        return compression_of(self._head)

    def fileno(self) -> int:
        """Return the descriptor, open for reading."""
        return self._fd

    def raw(self) -> bytes:
        """Return the file's bytes as they are."""
        if self._packed is not None:
            return bytes(self._packed)
        parts: list[bytes] = []
        offset = 0
        while offset < self._size and (part := os.pread(self._fd, self._size - offset, offset)):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def contents(self) -> bytes:
        """Return the ELF image; FormatError, LimitError or MissingExtraError if it cannot be unpacked."""
        if self._contents is None:
            self._contents = self._unpacked() if self.compression else self.raw()
            if self._window is not None:
                self._window.whole = self._contents
        return self._contents

    def _unpacked(self) -> bytes:
        if self._packed is not None:
            return decompress_packed(PackedInput.of(self._packed, self.path))
        os.lseek(self._fd, 0, os.SEEK_SET)
        return decompress_packed(PackedInput(lambda size: os.read(self._fd, size), self.path))

    @property
    def was_read(self) -> bool:
        """Whether the contents are in memory, so that the file is no longer needed."""
        return self._contents is not None

    def elf(self) -> Elf:
        """Return the module as an ELF file; FormatError, and what :meth:`contents` raises.

        Of a plain file that has not been read, it reads what is asked for, as long as the file is open.
        """
        if self._elf is None:
            from ukmod.kmod.elf import Elf  # modprobe never looks into a module

            self._elf = Elf(self.source(), self.path)
        return self._elf

    def signature(self) -> ModuleSignature | None:
        """Return the appended signature, if there is one; FormatError for a trailer that makes no sense."""
        if self._signature is None:
            from ukmod.kmod.signature import parse_signature

            self._signature = (parse_signature(self.source(), path=self.path),)
        return self._signature[0]

    def source(self) -> ByteSource:
        """Return the module's bytes, to be sliced; of a plain file, those that are asked for are read."""
        if self._window is None:
            if self._contents is not None or self.compression:
                return self.contents()
            self._window = _Window(self._fd, self._size, self._head)
        return self._window

    def close(self) -> None:
        """Close the file; doing so twice is harmless."""
        if self._fd != _CLOSED:
            os.close(self._fd)
            self._fd = _CLOSED
            if self._window is not None:
                self._window.fd = _CLOSED

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.close()


class _Window:
    """An open file's bytes, read as they are sliced: what is wanted is in a few places of a large file.

    Half the time that mapping it would take, and a file that is cut meanwhile is no SIGBUS. ``head`` is its
    beginning, with the ELF header. Most of the places are near its end, where the section headers are and the
    signature: that is read at once. Once the whole file has been read, its contents are used, so that it can
    be closed.
    """

    __slots__ = ("_head", "_size", "_tail", "_tail_at", "fd", "whole")

    def __init__(self, fd: int, size: int, head: bytes) -> None:
        # Not the ModuleFile, which leads here: its memory is to be free when the last user has gone.
        self.fd = fd
        self.whole: bytes | None = None
        self._size = size
        self._head = head
        self._tail_at = max(size - _TAIL, 0)
        self._tail = os.pread(fd, _TAIL, self._tail_at)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> bytes:
        if self.whole is not None:
            return self.whole[span]
        start = span.start - self._tail_at
        if start >= 0:
            return self._tail[start : span.stop - self._tail_at]
        if span.stop <= _HEAD:
            return self._head[span]
        return os.pread(self.fd, span.stop - span.start, span.start)
