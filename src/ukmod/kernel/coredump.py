"""Core dumps that a program receives through a pipe: fs/coredump.c.

This is for Python's programs: no memory is written, so the helper reads nothing. But it is started, and its
start decides whether the wait status says "core dumped". A core_pattern that names a file writes none:
RLIMIT_CORE is 0, as in a kernel thread's children. In ring 3, do_coredump() is the image's.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from ukmod.kernel.kern_levels import KERN_INFO
from ukmod.kernel.sched.core import Task
from ukmod.kernel.signal_numbers import (
    SIGABRT,
    SIGBUS,
    SIGFPE,
    SIGILL,
    SIGQUIT,
    SIGSEGV,
    SIGSYS,
    SIGTRAP,
    SIGXCPU,
    SIGXFSZ,
)
from ukmod.kernel.umh import UMH_WAIT_EXEC

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

CORENAME_MAX_SIZE: Final = 128
"""The size of kernel.core_pattern in bytes, with its end."""
DUMPED: Final = 0x80
"""The bit of a wait status that says so."""
_DUMPING: Final = frozenset(
    (SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGSEGV, SIGBUS, SIGSYS, SIGXCPU, SIGXFSZ)
)
"""Signals whose default action is a core dump: SIG_KERNEL_COREDUMP_MASK."""
_SPECIFIER: Final = re.compile(r"%(.?)")


class CoreDump:
    """The sysctl kernel.core_pattern, and what becomes of a process that it concerns."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._pattern = "core"

    @property
    def pattern(self) -> str:
        """A file's name, or | and a program with its arguments. An image keeps it itself."""
        return self._pattern if (at := self._variable()) is None else os.fsdecode(self._k.memory.cstring(at))

    @pattern.setter
    def pattern(self, pattern: str) -> None:
        self._pattern = pattern
        if (at := self._variable()) is not None:
            self._k.memory.write(at, os.fsencode(pattern)[: CORENAME_MAX_SIZE - 1] + b"\0")

    def _variable(self) -> int | None:
        return self._k.image.get("core_pattern") if self._k.image is not None else None

    def dump(self, task: Task, signal: int) -> int:
        """do_coredump(): the wait status of a process that ends by a signal.

        A core does not fit into a pipe, so a program that takes core dumps has ended by then.
        """
        k = self._k
        if signal not in _DUMPING or not self.pattern.startswith("|"):
            return signal
        argv = [self._expanded(word, task, signal) for word in self.pattern[1:].split()]
        path = argv[0] if argv else ""
        info = k.helpers.setup(path, argv, ())
        if path and not k.helpers.exec(info, UMH_WAIT_EXEC):
            if (program := k.tasks.by_pid(info.pid)) is not None:
                k.processes.wait(program)
            return signal | DUMPED
        k.log.printk(f"Core dump to |{path} pipe failed\n", KERN_INFO)
        return signal

    def _expanded(self, word: str, task: Task, signal: int) -> str:
        """format_corename(): a word of the pattern with % specifiers replaced; unknown ones are dropped."""
        k = self._k
        comm = k.tasks.comm(task)
        values = {"%": "%", "s": str(signal), "d": "1", "c": "0", "e": comm, "f": comm, "h": "(none)"}
        values |= dict.fromkeys("pPiI", str(task.pid))
        values |= {"u": str(k.creds.uid(task)), "g": str(k.creds.uid(task, "gid"))}
        return _SPECIFIER.sub(lambda found: values.get(found[1], ""), word)
