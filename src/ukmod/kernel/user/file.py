"""An open file of a process, as Python's own raw files are."""

from __future__ import annotations

import io
import struct
from errno import EIO
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError, UsageError
from ukmod.kernel import uapi as c
from ukmod.kernel.user.mapping import Mapping
from ukmod.machine.registers import MASK64

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from ukmod.kernel.user.process import UserProcess
    from ukmod.kernel.user.syscall import SyscallArgument

PIECE: Final = 60_000
"""Bytes of a read(2) or write(2) of many: with a path, they fit in a process's memory for arguments."""
_POLLFD: Final = struct.Struct("<ihh")
_MODES: Final = {"r": 0, "w": c.O_CREAT | c.O_TRUNC, "a": c.O_CREAT | c.O_APPEND, "x": c.O_CREAT | c.O_EXCL}


def flags_of(mode: str) -> int:
    """The open(2) flags of a mode such as "r+b". Raises UsageError for one that is not a binary mode."""
    letters = mode.replace("b", "", 1).replace("+", "", 1)
    if "b" not in mode or letters not in _MODES:
        raise UsageError("a mode is one of r, w, a and x, with b, as nothing is buffered, and perhaps +")
    access = c.O_RDWR if "+" in mode else c.O_RDONLY if letters == "r" else c.O_WRONLY
    return access | _MODES[letters] | c.O_CLOEXEC


class UserFile(io.RawIOBase):
    """A file of a process that is open at a descriptor. Each operation is one system call of that process.

    It is not buffered: ``read(10)`` is read(2) of 10 bytes. An operation raises OSError, as in ``os``; it may
    block until something in the machine wakes it. What is not closed is closed when the process ends.
    """

    def __init__(self, process: UserProcess, descriptor: int, name: str, *, access: int = c.O_RDWR) -> None:
        self._process = process
        self._descriptor = descriptor
        self._access = access & 3
        self.name = name

    def __repr__(self) -> str:
        return f"<File {self.name!r} of {self._process}>"

    def __del__(self) -> None:
        """Nothing is closed here: the machine must not run at whatever time Python collects garbage."""

    def _call(self, call: str, *arguments: SyscallArgument) -> int:
        return self._process.syscall(call, self.fileno(), *arguments)

    def _transfer(self, size: int, call: str, *arguments: SyscallArgument) -> int:
        """Make a call that transfers at most ``size`` bytes; returns how many.

        Nothing checks what a driver returns, and Python's own files rely on it. Raises OSError with EIO for
        a number of bytes that was not asked for.
        """
        count = self._call(call, *arguments)
        if not 0 <= count <= size:
            raise OSError(EIO, f"{call} of {size} bytes is said to have transferred {count}", self.name)
        return count

    def fileno(self) -> int:
        """The descriptor in its process. Raises ValueError if the file is closed."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return self._descriptor

    def readable(self) -> bool:
        """True if the file was opened for reading."""
        return self._access != c.O_WRONLY

    def writable(self) -> bool:
        """True if the file was opened for writing."""
        return self._access != c.O_RDONLY

    def seekable(self) -> bool:
        """True if lseek(2) succeeds."""
        try:
            self.tell()
        except OSError:
            return False
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """read(2): the number of bytes read."""
        view = memoryview(buffer).cast("B")
        return self._transfer(len(view), "read", view, len(view))

    def readall(self) -> bytes:
        """Read to the end. Raises LimitError for more bytes than the machine has RAM."""
        return self._process.run(self._read_all)

    def _read_all(self) -> bytes:
        parts: list[bytes] = []
        room = self._process.core.memory.size
        while part := self.read(io.DEFAULT_BUFFER_SIZE):
            room -= len(part)
            if room < 0:
                raise LimitError(
                    "the file has no end, or more bytes than the machine has RAM", subject=self.name
                )
            parts.append(part)
        return b"".join(parts)

    def write(self, data: ReadableBuffer) -> int:
        """write(2): the number of bytes written."""
        content = bytes(memoryview(data))  # which takes neither text nor a number
        return self._transfer(len(content), "write", content, len(content))

    def write_all(self, data: ReadableBuffer) -> None:
        """Write all bytes, by as many calls as it takes. Raises OSError, with EIO if one writes nothing."""

        def write() -> None:
            view = memoryview(data).cast("B")
            while view:
                if not (count := self.write(view[:PIECE])):
                    raise OSError(EIO, "a write of nothing: the driver takes no more", self.name)
                view = view[count:]

        self._process.run(write)

    def pread(self, size: int, offset: int) -> bytes:
        """pread(2)."""
        data = bytearray(size)
        return bytes(data[: self._transfer(size, "pread64", data, size, offset)])

    def pwrite(self, data: bytes, offset: int) -> int:
        """pwrite(2): the number of bytes written."""
        return self._transfer(len(data), "pwrite64", data, len(data), offset)

    def seek(self, offset: int, whence: int = 0) -> int:
        """lseek(2): the new position."""
        return self._call("lseek", offset, whence)

    def tell(self) -> int:
        """The position, by lseek(2)."""
        return self._call("lseek", 0, 1)

    def truncate(self, size: int | None = None) -> int:
        """ftruncate(2) to ``size``, or to the position; returns the size."""
        size = self.tell() if size is None else size
        self._call("ftruncate", size)
        return size

    def fsync(self) -> None:
        """fsync(2)."""
        self._call("fsync")

    def ioctl(self, request: int, argument: SyscallArgument = 0) -> int:
        """ioctl(2): its result. A bytearray or a ctypes object is read, and written, by the driver."""
        return self._call("ioctl", request, argument)

    def fcntl(self, request: int, argument: SyscallArgument = 0) -> int:
        """fcntl(2): its result."""
        return self._call("fcntl", request, argument)

    def set_blocking(self, blocking: bool) -> None:  # noqa: FBT001 - as in os
        """Set, or clear, O_NONBLOCK."""
        flags = self.fcntl(_F_GETFL)
        self.fcntl(_F_SETFL, flags & ~c.O_NONBLOCK if blocking else flags | c.O_NONBLOCK)

    def poll(self, events: int = c.POLLIN, timeout: float | None = 0) -> int:
        """poll(2) for at most ``timeout`` virtual seconds (None: for ever): the events that are ready."""
        entry = bytearray(_POLLFD.pack(self.fileno(), events, 0))
        wait = -1 if timeout is None else round(timeout * 1000)
        self._process.syscall("poll", entry, 1, wait)
        ready: int = _POLLFD.unpack(entry)[2]
        return ready

    def mmap(self, size: int, offset: int = 0, *, write: bool = True) -> Mapping:
        """mmap(2), shared, of ``size`` bytes at ``offset``. Raises OSError."""
        access = c.PROT_READ | (c.PROT_WRITE if write else 0)
        arguments = 0, size, access, c.MAP_SHARED, self.fileno(), offset
        return Mapping(self._process, self._process.syscall("mmap", *arguments) & MASK64, size)

    def close(self) -> None:
        """close(2)."""
        if not self.closed:
            descriptor = self._descriptor
            super().close()
            self._process.syscall("close", descriptor)


_F_GETFL, _F_SETFL = 3, 4
