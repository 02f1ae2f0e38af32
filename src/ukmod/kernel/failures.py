"""The end of a kernel function that raised a Python exception: that of the same failure in C.

A kernel function works on the guest's data, which the guest may have destroyed. So whatever happens in it
ends the task that called it, and never the program that runs the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from errno import EAGAIN, ENOMEM
from os.path import dirname
from types import TracebackType
from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.errors import KernelPanic, LimitError, StoppedError, UkmodError
from ukmod.kernel.bug import Site
from ukmod.kernel.lib.walk import EndlessError
from ukmod.kernel.sched.core import TaskExitError
from ukmod.kernel.signal_numbers import SIGKILL
from ukmod.kernel.watchdog import deadlock, out_of_patience
from ukmod.kernel.x86.traps import fault_in_kernel, stack_overflow
from ukmod.machine.memory import Fault
from ukmod.machine.watchdog import Stalled

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_PACKAGE: Final = dirname(dirname(__file__)) + "/"
_LIBRARY: Final = dirname(os.__file__)


def failed(k: Core, error: BaseException, stub: int = 0) -> None:
    """Handle what a kernel function raised: an Exception, or Stalled.

    ``stub`` is the function's number; 0 for one that no guest code called. It raises what ends the task, and
    returns if ``error`` concerns the machine's caller: an error of ukmod's own, or of the caller's functions.
    """
    try:
        _report(k, error, stub)
    except StoppedError:
        raise
    except Exception as second:  # noqa: BLE001 - the guest has destroyed what the report needs
        end = KernelPanic(f"an oops while reporting an oops: {error}; {second}")
        k.crash.stop(end)


def _report(k: Core, error: BaseException, stub: int) -> None:
    if isinstance(error, Fault):
        fault_in_kernel(k, error, stub)
    if isinstance(error, Stalled):
        _stalled(k)
    if isinstance(error, EndlessError):
        corrupted(k, error)
    if isinstance(error, RecursionError):
        stack_overflow(k)
    if isinstance(error, MemoryError) or (isinstance(error, LimitError) and error.errno in (ENOMEM, EAGAIN)):
        out_of_memory(k)
    if not isinstance(error, UkmodError | OSError) and (site := _site(error)) is not None:
        k.printk(f"{type(error).__name__}: {error}\n", 2)
        k.crash.bug(site)


def _stalled(k: Core) -> NoReturn:
    if k.cpu.watchdog.late:
        out_of_patience(k)
    deadlock(k)


def corrupted(k: Core, error: EndlessError) -> NoReturn:
    """CHECK_DATA_CORRUPTION() with CONFIG_BUG_ON_DATA_CORRUPTION, as in distributions' kernels."""
    k.printk(f"{error.message}\n", 3)
    k.crash.bug(error.site)


def out_of_memory(k: Core) -> NoReturn:
    """out_of_memory(): kill the task that needs what the machine does not have."""
    if (task := k.sched.current) is None or k.sched.in_interrupt:
        k.crash.panic("System is deadlocked on memory")
    k.printk(f"Out of memory: Killed process {task.pid} ({k.tasks.comm(task)})\n", 3)
    raise TaskExitError(SIGKILL)


def _site(error: BaseException) -> Site | None:
    """The place of ukmod's own code that failed; None if it was code of the machine's caller."""
    for file, line, function in reversed(list(_places(error.__traceback__))):
        if file.startswith(_PACKAGE):
            return Site(f"ukmod/{file[len(_PACKAGE) :]}", line, function)
        if not file.startswith((_LIBRARY, "<frozen ")):
            return None
    return None


def _places(at: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    """The file, line and function of each frame that an exception has passed, outermost first."""
    while at is not None:
        code = at.tb_frame.f_code
        yield code.co_filename, at.tb_lineno, code.co_name
        at = at.tb_next
