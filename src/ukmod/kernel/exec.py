"""Processes: the parts of fork, execve and wait that usermode helpers need (fs/exec.c, kernel/exit.c)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from errno import EINVAL
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.sched.core import Task, TaskExitError, ThreadGroup
from ukmod.kernel.sched.waiters import Waiters
from ukmod.kernel.signal_numbers import SIGCHLD
from ukmod.kernel.syscalls import KernelSyscalls
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.userland import Process, Program, Programs
from ukmod.userland.process import environ_of, variables_of

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage


EXEC_TIME: Final = NSEC_PER_SEC // 2000
"""Nanoseconds from execve() to a program's first relevant system call.

Meanwhile it is read, linked, and reads its configuration. A caller that does not wait is that far ahead,
as on a real machine.
"""


class Processes:
    """Starts programs as tasks and waits for them. ``programs`` are the programs that can be executed."""

    def __init__(self, kernel: Core, programs: Programs) -> None:
        self._k = kernel
        self.programs = programs
        self.has_files = False
        """The machine has a root file system whose programs can be executed, too."""
        self._waiters = Waiters(kernel)

    def fork(
        self, comm: str, entry: Callable[[], int], *, kthread: bool = False, parent: Task | None = None,
        wake: bool = True, group: ThreadGroup | None = None, pid: int = 0,
    ) -> Task:  # fmt: skip
        """Create a child task that runs ``entry``, whose result is its wait status, and wake it.

        It is the current task's child, or that of ``parent``, as with CLONE_PARENT, and a thread of ``group``
        if there is one. Its number is ``pid``, or else the next free one. Without ``wake``, it runs when the
        caller has the scheduler wake it.
        """
        k = self._k
        parent = parent or k.sched.current
        task = k.tasks.create(comm, entry, kthread=kthread, parent=parent, group=group, pid=pid)
        if parent is not None:
            task.owner = parent.owner
            k.trace.forked(parent.pid, task.pid)
        task.on_exit.append(self._ended)
        if wake:
            k.sched.wake_new(task)
        return task

    def _ended(self, task: Task) -> None:
        parent = task.parent if task.group.leader is task else None
        if parent is not None and not parent.exited and parent.thread is None:  # see user/wait.py
            self._k.signals.send(parent, SIGCHLD)
        self._waiters.wake_all()

    def wait(self, child: Task) -> int:
        """wait4(): sleep until ``child`` has ended; returns its wait status.

        Children are reaped when they end.
        """
        group = child.group
        self._waiters.wait_event(lambda: group.leader.exited)
        return group.leader.exit_code

    def enter_mm(self) -> None:
        """exec_mmap(): give the current task an address space of its own, if there is an image to make one.

        Raises LimitError without memory for it.
        """
        if (image := self._k.image) is not None:
            from ukmod.kernel.user.context import enter_mm

            enter_mm(self._k, image)

    def enter_files(self) -> None:
        """copy_files(): give the current task open files of its own, if there is an image to keep them.

        Raises LimitError without memory for them.
        """
        if (image := self._k.image) is not None and self.has_files:
            from ukmod.kernel.user.context import enter_files

            enter_files(self._k, image)

    def look_up(self, path: str) -> Program:
        """The program that do_execve() would start. Raises OSError with the errno it would return."""
        return self.programs.exec(path)

    def begin(self, path: str, argv: Sequence[str], envp: Sequence[str]) -> Callable[[], int]:
        """do_execve(): have the current task execute what is at ``path``: a Python program, or else a file.

        Returns the function that runs it to its end; the result is its wait status. Raises OSError.
        """
        if self.has_files and self._k.image is not None and not self.programs.has(path):
            return self._begin_file(self._k.image, path, argv, envp)
        program = self.look_up(path)
        return lambda: self.execve(program, path, argv, envp)

    def _begin_file(
        self, image: MappedImage, path: str, argv: Sequence[str], envp: Sequence[str]
    ) -> Callable[[], int]:
        from ukmod.kernel.user.program import become_program

        k = self._k
        task = k.sched.task()
        k.tasks.become_process(task)
        try:
            thread = become_program(k, image, path, argv, envp)
        except LimitError as error:
            raise OSError(error.errno, os.strerror(error.errno), path) from error
        k.trace.step(task.pid, k.tasks.comm(task), "execve", " ".join(argv))

        def run() -> int:
            k.sched.sleep(EXEC_TIME)
            try:
                thread.run()
            finally:
                k.trace.step(task.pid, k.tasks.comm(task), "exit")

        return run

    def execve(self, program: Program, path: str, argv: Sequence[str], envp: Sequence[str]) -> int:
        """Run ``program`` in the current task, as a user process; returns its wait status.

        ``envp``: "NAME=VALUE", as a rule; any text may be there, and a name more than once.
        """
        k = self._k
        task = k.sched.task()
        comm = path.rpartition("/")[2]
        k.tasks.set_comm(task, comm)
        k.tasks.become_process(task)
        self.enter_mm()
        k.creds.exec(task)
        k.trace.step(task.pid, comm, "execve", " ".join(argv))
        process = Process(tuple(argv), variables_of(envp), KernelSyscalls(k), environ=tuple(envp))
        k.sched.sleep(EXEC_TIME)
        try:
            status = program(process)
        except OSError as error:
            status = error.errno or EINVAL
        finally:
            k.trace.step(task.pid, k.tasks.comm(task), "exit")
        k.signals.deliver()
        return (status & 0xFF) << 8

    def run(self, path: str, argv: Sequence[str], env: Mapping[str, str]) -> int:
        """system(): run a program in a child process and wait for it; returns its wait status.

        Raises OSError if there is no such program.
        """
        failures: list[OSError] = []

        def main() -> int:
            try:
                program = self.begin(path, argv, environ_of(env))
            except OSError as error:
                failures.append(error)
                return 0
            return program()

        status = self.wait(self.fork(path.rpartition("/")[2], main))
        if failures:
            raise failures[0]
        return status

    def exit(self, status: int) -> None:
        """exit(2)."""
        raise TaskExitError((status & 0xFF) << 8)
