"""Programs of the guest's file system: an ELF file is executed in ring 3, by the image's own execve()."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from errno import ETIMEDOUT
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.errors import ProcessError, UsageError
from ukmod.kernel.lib.err import MAX_ERRNO
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.limits import WAIT
from ukmod.kernel.sched.core import Task
from ukmod.kernel.signal_numbers import SIGKILL
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.user.process import UserProcess, image_of
from ukmod.kernel.x86.entry import UserThread, let_users_in
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.user.identity import ProcessIdentity

ENVIRONMENT: Final = {"HOME": "/", "TERM": "linux", "PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}
"""The environment of init, to which khelper's is added: what a program gets that is given none."""
_CHUNK: Final = 1 << 16
"""The bytes that are passed on at once, as many as a pipe holds."""
OUTPUT_LIMIT: Final = 64 << 20
"""The bytes of output that are kept. A program that writes more gets SIGPIPE."""
_LAST_WORDS: Final = NSEC_PER_SEC // 100
"""Nanoseconds of virtual time in which what an ended program has written arrives."""


@record
class Completed:
    """The result of a program that has ended."""

    argv: tuple[str, ...]
    wait_status: int
    """As wait(2) stores it."""
    stdout: bytes
    stderr: bytes

    @property
    def signal(self) -> int:
        """The number of the signal that killed it, or 0."""
        return self.wait_status & 0x7F

    @property
    def status(self) -> int:
        """Its exit status; 128 and the number of the signal if one killed it, as in a shell."""
        return 128 + self.signal if self.signal else self.wait_status >> 8 & 0xFF


class _Pipe:
    """A pipe between a program and this module: two struct file. The program's end is given away."""

    def __init__(self, k: Core, image: MappedImage) -> None:
        self._k = k
        self._image = image
        files = k.slab.kernel_object(16)
        error = k.cpu.call(image.address("create_pipe_files"), files, 0) & 0xFFFF_FFFF
        self.read_end, self.write_end = k.memory.u64(files), k.memory.u64(files + 8)
        k.slab.kfree(files)
        if error:
            raise OSError((1 << 32) - error, os.strerror((1 << 32) - error))

    def install(self, descriptor: int, end: int) -> None:
        """Make one end a descriptor of the current process, which is its only user then."""
        self._k.cpu.call(self._image.address("replace_fd"), descriptor, end, 0)
        self._k.cpu.call(self._image.address("fput"), end)

    def close(self, end: int) -> None:
        """Close an end, in a kernel thread."""
        self._k.cpu.call(self._image.address("__fput_sync"), end)

    def feed(self, data: bytes) -> int:
        """Write ``data`` as far as it is read, and close the pipe; the main function of a kernel thread."""
        with self._buffer(self.write_end) as buffer:
            rest = memoryview(data)
            while rest:
                piece = bytes(rest[:_CHUNK])
                self._k.memory.write(buffer, piece)
                if (count := self._call("kernel_write", self.write_end, buffer, len(piece))) <= 0:
                    break
                rest = rest[count:]
        return 0

    def collect(self, into: bytearray) -> int:
        """Read all that comes, up to OUTPUT_LIMIT; the main function of a kernel thread."""
        with self._buffer(self.read_end) as buffer:
            while len(into) < OUTPUT_LIMIT:
                if (count := self._call("kernel_read", self.read_end, buffer, _CHUNK)) <= 0:
                    break
                into += self._k.memory.read(buffer, count)
        return 0

    @contextmanager
    def _buffer(self, end: int) -> Iterator[int]:
        """A buffer of ``_CHUNK`` bytes; afterwards it is freed, and this end closed."""
        buffer = self._k.slab.kernel_object(_CHUNK)
        yield buffer
        self._k.slab.kfree(buffer)
        self.close(end)

    def _call(self, function: str, end: int, buffer: int, size: int) -> int:
        """The number of bytes that were transferred; 0 at the end, or a negative errno."""
        return signed(self._k.cpu.call(self._image.address(function), end, buffer, size, 0), 8)


class RunningProgram:
    """A process that executes a program, with pipes at its first three descriptors."""

    def __init__(
        self, k: Core, image: MappedImage, argv: Sequence[str], stdin: bytes, env: Mapping[str, str],
        identity: ProcessIdentity | None,
    ) -> None:  # fmt: skip
        self._k = k
        self._image = image
        self._argv = tuple(argv)
        self._stdin = stdin
        self._env = env
        self._output = bytearray(), bytearray()
        self._collectors: list[Task] = []
        let_users_in(k, image)
        comm = self._argv[0].rpartition("/")[2]
        self._process = UserProcess(k, image, work=self._live, identity=identity, comm=comm)

    def _live(self, process: UserProcess) -> NoReturn:
        """The main function of the process: exec, and the program's code to its end. Raises OSError."""
        self._connect()
        thread = UserThread(self._k, self._image, process.task)
        thread.begin()
        execve(self._k, self._image, self._argv, self._env)
        thread.run()

    def _connect(self) -> None:
        """Give the process its pipes, and start the threads at their other ends."""
        k, image = self._k, self._image
        pipes = [_Pipe(k, image) for _ in range(3)]
        pipes[0].install(0, pipes[0].read_end)
        self._start(partial(pipes[0].feed, self._stdin))
        for descriptor, output in enumerate(self._output, start=1):
            pipes[descriptor].install(descriptor, pipes[descriptor].write_end)
            self._collectors.append(self._start(partial(pipes[descriptor].collect, output)))

    def _start(self, main: Callable[[], int]) -> Task:
        return self._k.processes.fork("pipe", main, kthread=True, parent=self._k.tasks.kthreadd)

    def result(self, timeout: float) -> Completed:
        """Run the machine until the program has ended. Raises OSError, and TimeoutError after ``timeout``."""
        k, task = self._k, self._process.task
        end = k.clock.now + round(timeout * NSEC_PER_SEC)
        alarm = k.clock.at(end, partial(_kill, k, task))
        k.sched.run(lambda: task.exited, end + _LAST_WORDS)
        in_time, alarm.cancelled = k.clock.now < end, True
        k.sched.run(self._is_over, k.clock.now + _LAST_WORDS)
        if not in_time:
            text = f"has not ended after {timeout:g} virtual seconds"
            raise TimeoutError(ETIMEDOUT, text, self._argv[0])
        with suppress(ProcessError):
            self._process.result()
        out, err = map(bytes, self._output)
        return Completed(self._argv, task.exit_code, out, err)

    def _is_over(self) -> bool:
        return self._process.task.exited and all(one.exited for one in self._collectors)


def _kill(k: Core, task: Task) -> None:
    """Kill a process and all that descend from it."""
    for child in task.thread.children if task.thread is not None else ():
        _kill(k, child)
    k.signals.send(task, SIGKILL)


def execve(k: Core, image: MappedImage, argv: Sequence[str], env: Mapping[str, str]) -> None:
    """kernel_execve(): have the current process execute a program. Raises OSError."""
    variables = [f"{name}={value}" for name, value in env.items()]
    path, block, envp = _arguments(k, argv, variables)
    try:
        result = signed(k.cpu.call(image.address("kernel_execve"), path, block, envp), 4)
    finally:
        k.slab.kfree(block)
    if -MAX_ERRNO <= result < 0:
        raise OSError(-result, os.strerror(-result), argv[0])


def _arguments(k: Core, argv: Sequence[str], variables: Sequence[str]) -> tuple[int, int, int]:
    """Strings in guest memory: the addresses of the first one, of their block, which is argv, and of envp."""
    strings = [os.fsencode(text) + b"\0" for text in (*argv, *variables)]
    words = len(strings) + 2
    block = k.slab.kernel_object(8 * words + sum(map(len, strings)))
    places = list(accumulate(map(len, strings), initial=block + 8 * words))[:-1]
    arrays = [*places[: len(argv)], 0, *places[len(argv) :], 0]
    k.memory.write(block, struct.pack(f"<{words}Q", *arrays) + b"".join(strings))
    return places[0], block, block + 8 * (len(argv) + 1)


def run_program(
    k: Core,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = WAIT,
    identity: ProcessIdentity | None = None,
) -> Completed:
    """Execute a program and wait for it.

    Raises OSError if it cannot be executed, TimeoutError after ``timeout`` virtual seconds, and UsageError
    for an empty ``argv``, or without an image.
    """
    if not argv or any("\0" in text for text in (*argv, *(env or {}))):
        raise UsageError("a program has at least its own name as an argument, and no argument contains a NUL")
    env = ENVIRONMENT if env is None else env
    return RunningProgram(k, image_of(k), argv, stdin, env, identity).result(timeout)
