"""The first three descriptors of a program, and the kernel threads at the other ends of its pipes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.sched.core import Task

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.user.process import UserProcess

_CHUNK: Final = 1 << 16
"""The bytes that are passed on at once, as many as a pipe holds."""
OUTPUT_LIMIT: Final = 64 << 20
"""The bytes of output that are kept. A program that writes more gets SIGPIPE."""

InputSource = Callable[[], bytes]
"""Returns the next bytes of input, and none at its end; it may sleep, as a kernel thread does."""
OutputSink = Callable[[bytes], bool]
"""Takes bytes of output; False if it wants no more."""


class Stdio(Protocol):
    """The files that a program reads from and writes to."""

    def connect(self, process: UserProcess) -> list[Task]:
        """Give the current process, ``process``, its descriptors.

        Returns the threads that have ended when all that the program has written has arrived. Raises OSError.
        """


class OpenFile:
    """An open struct file at which kernel threads read and write; each of them owns a reference to it."""

    def __init__(self, k: Core, image: MappedImage, file: int) -> None:
        self._k = k
        self._image = image
        self._file = file

    def feed(self, source: InputSource) -> int:
        """Write what comes as far as it is read, and close the file; the main function of a thread."""
        with self._buffer() as buffer:
            while data := source():
                if not self._write_all(buffer, memoryview(data)):
                    break
        return 0

    def _write_all(self, buffer: int, rest: memoryview) -> bool:
        while rest:
            piece = bytes(rest[:_CHUNK])
            self._k.memory.write(buffer, piece)
            if (count := self._call("kernel_write", buffer, len(piece))) <= 0:
                return False
            rest = rest[count:]
        return True

    def collect(self, sink: OutputSink) -> int:
        """Read all that comes, and close the file; the main function of a thread."""
        with self._buffer() as buffer:
            while (count := self._call("kernel_read", buffer, _CHUNK)) > 0:
                if not sink(self._k.memory.read(buffer, count)):
                    break
        return 0

    @contextmanager
    def _buffer(self) -> Iterator[int]:
        """A buffer of ``_CHUNK`` bytes; afterwards it is freed, and the file closed."""
        buffer = self._k.slab.kernel_object(_CHUNK)
        yield buffer
        self._k.slab.kfree(buffer)
        self._k.cpu.call(self._image.address("__fput_sync"), self._file)

    def _call(self, function: str, buffer: int, size: int) -> int:
        """The number of bytes that were transferred; 0 at the end, or a negative errno."""
        return signed(self._k.cpu.call(self._image.address(function), self._file, buffer, size, 0), 8)


def start(k: Core, comm: str, main: Callable[[], int]) -> Task:
    """Start a kernel thread."""
    return k.processes.fork(comm, main, kthread=True, parent=k.tasks.kthreadd)


class Pipes:
    """Three pipes."""

    def __init__(self, k: Core, image: MappedImage, source: InputSource, sinks: Sequence[OutputSink]) -> None:
        self._k = k
        self._image = image
        self._source = source
        self._sinks = sinks

    def connect(self, process: UserProcess) -> list[Task]:
        """See Stdio."""
        del process  # it is the current task
        k, image = self._k, self._image
        pipes = [self._pipe() for _ in range(1 + len(self._sinks))]
        self._install(0, pipes[0][0])
        start(k, "pipe", partial(OpenFile(k, image, pipes[0][1]).feed, self._source))
        threads = []
        for descriptor, sink in enumerate(self._sinks, start=1):
            read_end, write_end = pipes[descriptor]
            self._install(descriptor, write_end)
            threads.append(start(k, "pipe", partial(OpenFile(k, image, read_end).collect, sink)))
        return threads

    def _pipe(self) -> tuple[int, int]:
        """The struct file of the ends of a new pipe, for reading and for writing."""
        k = self._k
        files = k.slab.kernel_object(16)
        error = k.cpu.call(self._image.address("create_pipe_files"), files, 0) & 0xFFFF_FFFF
        ends = k.memory.u64(files), k.memory.u64(files + 8)
        k.slab.kfree(files)
        if error:
            raise OSError((1 << 32) - error, os.strerror((1 << 32) - error))
        return ends

    def _install(self, descriptor: int, end: int) -> None:
        """Make one end a descriptor of the current process, which is its only user then."""
        self._k.cpu.call(self._image.address("replace_fd"), descriptor, end, 0)
        self._k.cpu.call(self._image.address("fput"), end)


class Captured(Pipes):
    """Pipes whose input is given and whose output is kept."""

    def __init__(self, k: Core, image: MappedImage, stdin: bytes) -> None:
        self.output = bytearray(), bytearray()
        """The bytes that the program has written to its standard output and error."""
        parts = [stdin]
        sinks = [partial(_keep, into) for into in self.output]
        super().__init__(k, image, lambda: parts.pop() if parts else b"", sinks)


def _keep(into: bytearray, data: bytes) -> bool:
    into += data
    return len(into) < OUTPUT_LIMIT
