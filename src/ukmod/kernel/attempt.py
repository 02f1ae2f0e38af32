"""Work that a process of the machine does for a caller outside it, such as the user of ukmod.Kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from errno import EFAULT, ETIMEDOUT
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ukmod.errors import LimitError, LoadError, NotFoundError, StoppedError
from ukmod.kernel.failures import failed
from ukmod.kernel.finished import Finished
from ukmod.kernel.limits import WAIT
from ukmod.userland.process import environ_of

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.sched.core import Task
    from ukmod.userland import Process, Programs

T = TypeVar("T")
OOPSED: Final = "the call ended in an oops: see dmesg"
"""The message of an error for a process that did not return from a call of the kernel."""


class Attempt(Generic[T]):
    """Work that a task does for a caller elsewhere, who gets its result, or its exception, from here.

    Neither comes if the work is the end of its task.
    """

    def __init__(self, k: Core, work: Callable[[], T]) -> None:
        self._k = k
        self._work = work
        self._results: list[T] = []
        self._failure: Exception | None = None

    def __call__(self) -> int:
        """Do the work, in the current task; returns the exit status of a process that does no more."""
        try:
            self._results.append(self._work())
        except StoppedError:
            raise  # the machine has stopped, and with it the task
        except Exception as error:  # noqa: BLE001 - raised again, in the caller's stack
            failed(self._k, error)  # raises, if it is the end of the task
            self._failure = error
            return 1 << 8
        return 0

    @property
    def ended(self) -> bool:
        """True if there is a result or an exception."""
        return bool(self._results) or self.has_failed

    @property
    def has_failed(self) -> bool:
        """True if there is an exception."""
        return self._failure is not None

    def result(self) -> T:
        """The result of work that has ended; its exception is raised here."""
        if self._failure is not None:
            raise self._failure
        return self._results[0]


def in_process(k: Core, comm: str, work: Callable[[], T], *, died: str = OOPSED, subject: str) -> T:
    """Run ``work`` in a new process and return its result; its exceptions are raised here.

    Raises LoadError with the text ``died`` if the process ended in an oops or by a signal, and with ETIMEDOUT
    if it does not end.
    """

    def program() -> T:
        k.processes.enter_mm()
        return work()

    attempt = Attempt(k, program)
    task = run_process(k, comm, attempt, subject=subject)
    if not task.exited and not attempt.has_failed:
        text = f"{comm} has not returned: it waits for something that does not happen"
        raise LoadError(text, errno=ETIMEDOUT, subject=subject)
    if not attempt.ended:
        raise LoadError(died, errno=EFAULT, subject=subject)
    return attempt.result()


def run_process(k: Core, comm: str, entry: Callable[[], int], *, subject: str) -> Task:
    """Run ``entry`` in a new process, which is left as it is if it does not end.

    Raises LoadError with fork()'s errno if the machine can have no further process.
    """
    try:
        task = k.start(comm, entry)
    except LimitError as error:
        text = f"{comm} cannot be started: {error}"
        raise LoadError(text, errno=error.errno, subject=subject) from error
    k.wait_for(task, limit=WAIT)
    return task


def execute(
    k: Core, programs: Programs, path: str, arguments: tuple[str, ...], env: Mapping[str, str] | None
) -> Finished:
    """Run one of the machine's programs as a process; the caller must check its status.

    Raises NotFoundError if there is no such program; LoadError with ETIMEDOUT if it does not end, with
    ENOMEM or EAGAIN if the machine can have no further process.
    """
    output: list[str] = []
    try:
        program = programs.exec(path)
    except OSError as error:
        raise NotFoundError("no such program in the machine", subject=path) from error

    def main(process: Process) -> int:
        process.output = output
        return program(process)

    environment = {"HOME": "/", "PATH": "/sbin:/usr/sbin:/bin:/usr/bin", **(env or {})}
    task = run_process(
        k,
        path.rpartition("/")[2],
        lambda: k.processes.execve(main, path, (path, *arguments), environ_of(environment)),
        subject=path,
    )
    if not task.exited:
        raise LoadError(f"has not ended after {WAIT:g} seconds", errno=ETIMEDOUT, subject=path)
    signal = task.exit_code & 0x7F
    return Finished(128 + signal if signal else task.exit_code >> 8, "".join(output))
