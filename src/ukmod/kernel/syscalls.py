"""The kernel's side of a process's system calls."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from errno import ENOENT, ESRCH
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from ukmod.errors import MachineError, UkmodError
from ukmod.kernel.module.load import ModuleArguments, load_module
from ukmod.kernel.module.unload import delete_module
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE, block
from ukmod.kernel.task_work import task_work_run
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kmod.modfile import ModuleFile

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

T = TypeVar("T")
LOG_USER: Final = 1
"""The default facility of messages from user space, as syslog numbers them."""
_PRIORITY = re.compile(r"<([0-9]*)>")


class KernelSyscalls:
    """userland.Syscalls for the current task.

    Each call ends in a return to user space: pending task work runs, and a fatal signal takes effect.
    """

    def __init__(self, kernel: Core) -> None:
        self._k = kernel

    def _call(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except MachineError:
            raise
        except UkmodError as error:
            raise OSError(error.errno, os.strerror(error.errno), error.subject) from error
        finally:
            task_work_run(self._k)
            self._k.signals.deliver()

    def uname_release(self) -> str:
        """uname(2)."""
        return self._k.release

    def finit_module(self, path: str, image: bytes, params: str, flags: int) -> None:
        """finit_module(2)."""
        self._call(lambda: finit_module(self._k, ModuleFile.of(image, path), params, flags))

    def delete_module(self, name: str, flags: int) -> None:
        """delete_module(2)."""
        self._call(lambda: delete_module(self._k, name, flags))

    def read_proc(self, path: str) -> str:
        """Read a file of /proc or /sys."""
        return self._call(lambda: self._k.procfs.read(path))

    def list_proc(self, path: str) -> list[str]:
        """List a directory of /proc or /sys."""
        return self._call(lambda: self._k.procfs.list(path))

    def write_proc(self, path: str, text: str) -> None:
        """Write a file of /proc or /sys."""
        self._call(lambda: self._k.procfs.write(path, text))

    def spawn(self, path: str, argv: Sequence[str], env: Mapping[str, str]) -> int:
        """fork(2), execve(2) and wait4(2)."""
        return self._call(lambda: self._k.processes.run(path, argv, env))

    def kill(self, pid: int, signal: int) -> None:
        """kill(2)."""

        def send() -> None:
            task = self._k.tasks.by_pid(pid)
            if task is None:
                raise ProcessLookupError(ESRCH, os.strerror(ESRCH), str(pid))
            self._k.signals.send(task, signal)

        self._call(send)

    def getpid(self) -> int:
        """getpid(2)."""
        return self._k.sched.task().pid

    def nanosleep(self, nanoseconds: int) -> None:
        """nanosleep(2), which continues after the task was frozen."""
        k = self._k
        end = k.clock.jiffies - (-nanoseconds * k.clock.hz // NSEC_PER_SEC) + 1
        while (left := end - k.clock.jiffies) > 0:
            self._call(partial(block, k, TASK_INTERRUPTIBLE, left))

    def clock(self) -> int:
        """clock_gettime(2) of CLOCK_MONOTONIC."""
        return self._k.clock.read()

    def log(self, text: str) -> None:
        """Write to /dev/kmsg; the text may begin with level and facility, such as <30>: devkmsg_write()."""
        level, facility = 4, LOG_USER
        if match := _PRIORITY.match(text):
            priority = int(match[1] or "0") & 0xFFFF_FFFF
            level, facility = priority & 7, priority >> 3 or LOG_USER
            text = text[match.end() :]
        self._k.log.store(text.encode("utf-8", "surrogateescape") + b"\n", level, facility=facility)


def finit_module(k: Core, file: ModuleFile, params: ModuleArguments, flags: int) -> None:
    """Load a module for a process, and record it in the trace. Raises UkmodError with the errno."""
    task = k.sched.task()
    k.trace.step(task.pid, k.tasks.comm(task), "finit_module", file.path)
    result = ""
    try:
        load_module(k, file, params, flags=flags)
        result = "0"
    except UkmodError as error:
        result = "" if isinstance(error, MachineError) else str(-error.errno)
        raise
    finally:
        k.trace.step(task.pid, k.tasks.comm(task), "finit_module returns", result)


def missing(path: str) -> FileNotFoundError:
    """The error for a missing file."""
    return FileNotFoundError(ENOENT, os.strerror(ENOENT), path)
