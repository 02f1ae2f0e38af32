"""A module's file, opened once and read only as far as needed.

kmod decides by content, not by name, whether a file is compressed; the kernel wants the file itself when it
can unpack it, and the unpacked image otherwise.
"""

from __future__ import annotations

import errno
import os

from ukmod.kmod.compression import PackedInput, compression_of, decompress_packed
from ukmod.kmod.regular import MODULE_LIMIT, open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["ModuleFile"]

_SHORTEST = 6  # kmod compares that many bytes before anything else


class ModuleFile:
    """A .ko file, plain or compressed. Close it, or use it as a context manager.

    ``path`` is what messages call it, ``real`` where it lies on this machine.
    """

    __slots__ = ("_fd", "_head", "path", "real")

    def __init__(self, path: str, real: str | None = None) -> None:
        """Open the file. OSError if that fails; EINVAL if it is too short to be a module, or not a regular
        file.
        """
        self.path = path
        self.real = path if real is None else real
        self._fd = open_regular(self.real, MODULE_LIMIT)
        try:
            self._head = os.pread(self._fd, _SHORTEST, 0)
            if len(self._head) < _SHORTEST:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        except OSError:
            self.close()
            raise

    @property
    def compression(self) -> str:
        """Say how the file is compressed: gzip, xz, zstd or empty."""
        return compression_of(self._head)

    def fileno(self) -> int:
        """Return the descriptor, open for reading."""
        return self._fd

    def raw(self) -> bytes:
        """Return the file's bytes as they are."""
        size = os.fstat(self._fd).st_size
        parts: list[bytes] = []
        offset = 0
        while offset < size and (part := os.pread(self._fd, size - offset, offset)):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def contents(self) -> bytes:
        """Return the ELF image; FormatError, LimitError or MissingExtraError if it cannot be unpacked."""
        if not self.compression:
            return self.raw()
        os.lseek(self._fd, 0, os.SEEK_SET)
        return decompress_packed(PackedInput(lambda size: os.read(self._fd, size), self.path))

    def close(self) -> None:
        """Close the file; doing so twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.close()
