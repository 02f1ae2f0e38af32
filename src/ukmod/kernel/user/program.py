"""Programs of the guest's file system: an ELF file is executed in ring 3, by the image's own execve()."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.errors import ProcessError, ProgramTimeoutError, UsageError
from ukmod.kernel.lib.err import MAX_ERRNO
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.limits import WAIT
from ukmod.kernel.sched.core import Task
from ukmod.kernel.signal_numbers import SIGKILL
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.user.context import enter
from ukmod.kernel.user.exit import exit_notify
from ukmod.kernel.user.process import UserProcess, image_of
from ukmod.kernel.user.stdio import Captured, Stdio
from ukmod.kernel.x86.entry import UserThread, let_users_in
from ukmod.record import record
from ukmod.userland.process import environ_of

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.user.identity import ProcessIdentity

ENVIRONMENT: Final = {"HOME": "/", "TERM": "linux", "PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}
"""The environment of init, to which khelper's is added: what a program gets that is given none."""
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
        return status_of(self.wait_status)


def status_of(wait_status: int) -> int:
    """A shell's $? of a wait status."""
    signal = wait_status & 0x7F
    return 128 + signal if signal else wait_status >> 8 & 0xFF


class RunningProgram:
    """A process that executes a program."""

    def __init__(
        self, k: Core, image: MappedImage, argv: Sequence[str], stdio: Stdio, env: Mapping[str, str],
        identity: ProcessIdentity | None = None, directory: str = "/",
    ) -> None:  # fmt: skip
        self._k = k
        self._image = image
        self._argv = tuple(argv)
        self._stdio = stdio
        self._env = env
        self._directory = directory
        self._collectors: list[Task] = []
        let_users_in(k, image)
        comm = self._argv[0].rpartition("/")[2]
        self._process = UserProcess(k, image, work=self._live, identity=identity, comm=comm)

    def _live(self, process: UserProcess) -> NoReturn:
        """The main function of the process: exec, and the program's code to its end. Raises OSError."""
        self._collectors = self._stdio.connect(process)
        process.syscall("chdir", self._directory)
        thread = UserThread(self._k, self._image, process.task)
        thread.begin()
        process.task.leaving.append(partial(exit_notify, self._k, self._image, process.task))
        execve(self._k, self._image, self._argv[0], self._argv, environ_of(self._env))
        thread.run()

    def wait(self, timeout: float | None) -> int | None:
        """Run the machine until the program has ended; returns its wait status.

        After ``timeout`` virtual seconds, it is killed and the result is None. Raises OSError if it could not
        be executed.
        """
        k = self._k
        if timeout is None:
            k.sched.run(self._has_exited)
        elif not self._ends_within(round(timeout * NSEC_PER_SEC)):
            return None
        k.sched.run(self._is_over, k.clock.now + _LAST_WORDS)
        with suppress(ProcessError):
            self._process.result()
        return self._process.task.exit_code

    def _ends_within(self, time: int) -> bool:
        """Run the machine until the program has ended; if that takes longer, kill it."""
        k = self._k
        end = k.clock.now + time
        alarm = k.clock.at(end, lambda: _kill(k, self._process.task))
        k.sched.run(self._has_exited, end + _LAST_WORDS)
        in_time, alarm.cancelled = k.clock.now < end, True
        if not in_time:
            k.sched.run(self._is_over, k.clock.now + _LAST_WORDS)
        return in_time

    def _has_exited(self) -> bool:
        return self._process.task.exited

    def _is_over(self) -> bool:
        return self._has_exited() and all(one.exited for one in self._collectors)


def _kill(k: Core, task: Task) -> None:
    """Kill a process and all that descend from it, the youngest first."""
    family = [task]
    for one in family:
        if one.thread is not None:
            family += one.thread.children.tasks
    for one in reversed(family):
        k.signals.send(one, SIGKILL)


def become_program(
    k: Core, image: MappedImage, path: str, argv: Sequence[str], envp: Sequence[str]
) -> UserThread:
    """Have the current task, which has only what it shares with init, execute a program; runs nothing yet.

    It keeps the credentials that it has been given. Raises OSError.
    """
    thread = become_user(k, image)
    execve(k, image, path, argv, envp)
    return thread


def become_user(k: Core, image: MappedImage) -> UserThread:
    """Give the current task, which has only what it shares with init, what a program in ring 3 needs."""
    let_users_in(k, image)
    task = k.sched.task()
    enter(k, image)
    k.creds.forget(task)  # enter() has made a copy
    thread = UserThread(k, image, task)
    thread.begin()
    task.leaving.append(partial(exit_notify, k, image, task))
    return thread


def execve(k: Core, image: MappedImage, path: str, argv: Sequence[str], envp: Sequence[str]) -> None:
    """kernel_execve(): have the current process execute a program. Raises OSError."""
    block = _arguments(k, path, argv, envp)
    variables = block + 8 * (len(argv) + 1)
    name = k.memory.u64(variables + 8 * (len(envp) + 1))
    try:
        result = signed(k.cpu.call(image.address("kernel_execve"), name, block, variables), 4)
    finally:
        k.slab.kfree(block)
    if -MAX_ERRNO <= result < 0:
        raise OSError(-result, os.strerror(-result), path)


def _arguments(k: Core, path: str, argv: Sequence[str], variables: Sequence[str]) -> int:
    """A block in guest memory, by its address: argv, envp, a pointer to the path, and the strings."""
    strings = [os.fsencode(text) + b"\0" for text in (*argv, *variables, path)]
    words = len(strings) + 2
    block = k.slab.kernel_object(8 * words + sum(map(len, strings)))
    places = list(accumulate(map(len, strings), initial=block + 8 * words))[:-1]
    arrays = [*places[: len(argv)], 0, *places[len(argv) : -1], 0, places[-1]]
    k.memory.write(block, struct.pack(f"<{words}Q", *arrays) + b"".join(strings))
    return block


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

    Raises OSError if it cannot be executed, ProgramTimeoutError after ``timeout`` virtual seconds, and
    UsageError for an empty ``argv``, or without an image.
    """
    if isinstance(argv, str):
        raise UsageError(f"{argv!r} is one string: give a list of the program's path and its arguments")
    if not argv or any("\0" in text for text in (*argv, *(env or {}))):
        raise UsageError("a program has at least its own name as an argument, and no argument contains a NUL")
    env = ENVIRONMENT if env is None else env
    image = image_of(k)
    stdio = Captured(k, image, stdin)
    status = RunningProgram(k, image, argv, stdio, env, identity).wait(timeout)
    out, err = map(bytes, stdio.output)
    if status is None:
        text = f"has not ended after {timeout:g} virtual seconds"
        raise ProgramTimeoutError(text, argv[0], stdout=out, stderr=err)
    return Completed(tuple(argv), status, out, err)
