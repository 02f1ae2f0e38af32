"""Every exception ukmod raises on purpose, in one family.

::

    UkmodError                      errno, message, subject
    ├── FormatError                 a file is not what it should be (ENOEXEC): path and offset
    ├── NotFoundError               no such module, file or symbol (ENOENT)
    ├── LimitError                  a safety limit was hit, a decompression bomb say (EFBIG)
    ├── MissingExtraError           an optional dependency is not installed: what to install
    ├── UsageError                  a command line or an argument makes no sense (EINVAL)
    ├── LoadError                   the kernel refused a module: the errno finit_module would give
    ├── ProcessError                a process of the machine was killed, or is no more: its wait status
    ├── LayoutError                 a struct's layout is not known: how to supply it
    └── MachineError                the emulated machine cannot continue
        └── StoppedError            it has stopped: nothing runs in it any more
            ├── KernelPanic         BUG() outside any task, or panic()
            ├── PatienceError       the guest has used the CPU time it was given (ETIMEDOUT)
            └── Reboot              it was halted, powered off or restarted

System calls of the machine raise OSError, as in ``os``, and programs TimeoutError: ProgramTimeoutError has
what one had written.

They are kept apart from the code that raises them so that every layer can import them without loops.
"""

from __future__ import annotations

import errno as _errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "FormatError",
    "KernelPanic",
    "LayoutError",
    "LimitError",
    "LoadError",
    "MachineError",
    "MissingExtraError",
    "NotFoundError",
    "PatienceError",
    "ProcessError",
    "ProgramTimeoutError",
    "Reboot",
    "StoppedError",
    "UkmodError",
    "UsageError",
]


class UkmodError(Exception):
    """Base of the family.

    ``errno`` is the positive error number that the kernel, or kmod, would give for this; ``message`` is a
    sentence a person can act on; ``subject`` is the path or symbol concerned, or an empty string; ``details``
    are lines of another program, which said more.
    """

    errno: int = _errno.EINVAL

    def __init__(
        self, message: str, *, errno: int | None = None, subject: str = "", details: Iterable[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject
        self.details = tuple(details)
        if errno is not None:
            self.errno = errno

    def __str__(self) -> str:
        return "\n".join([f"{self.subject}: {self.message}" if self.subject else self.message, *self.details])


class FormatError(UkmodError):
    """A file's content breaks its format. ``offset`` is where, in bytes from its start, or None."""

    errno = _errno.ENOEXEC

    def __init__(self, message: str, *, path: str = "", offset: int | None = None) -> None:
        where = "" if offset is None else f" (at offset {offset:#x})"
        super().__init__(message + where, subject=path)
        self.path = path
        self.offset = offset


class NotFoundError(UkmodError):
    """No such module, file or symbol."""

    errno = _errno.ENOENT


class LimitError(UkmodError):
    """A limit that protects the process was hit; the message says which and how to raise it."""

    errno = _errno.EFBIG


_LIBRARIES = {
    "machine": ("unicorn", "greenlet"),
    "zstd": ("backports", "backports.zstd"),
    "sign": ("cryptography",),
    "dask": ("distributed",),
}
"""The packages of each extra: if one of them is missing, and not a part of it, the extra is not installed."""


class MissingExtraError(UkmodError):
    """An optional dependency is missing. The message is one line that says what to install."""

    errno = _errno.ENOSYS

    def __init__(self, what: str, extra: str, cause: Exception | None = None) -> None:
        """``cause``: why the import failed. A library that is there but broken says what is wrong."""
        text = f"{what} needs an optional dependency: pip install 'ukmod[{extra}]'"
        is_missing = isinstance(cause, ModuleNotFoundError) and cause.name in _LIBRARIES[extra]
        if cause is not None and not is_missing:
            text = f"{what} needs an optional dependency that is installed, but cannot be imported: {cause}"
        super().__init__(text)
        self.extra = extra


class UsageError(UkmodError):
    """The caller asked for something that makes no sense."""


class LoadError(UkmodError):
    """The kernel refused to load or unload a module; ``errno`` is what the system call returned."""

    errno = _errno.ENOEXEC

    def __str__(self) -> str:
        return f"{super().__str__()} ({os.strerror(self.errno)})"


class ProcessError(UkmodError):
    """A process of the emulated machine was killed, or has ended. ``status`` is its wait status."""

    errno = _errno.ESRCH

    def __init__(self, message: str, *, errno: int | None = None, subject: str = "", status: int = 0) -> None:
        super().__init__(message, errno=errno, subject=subject)
        self.status = status


class LayoutError(UkmodError):
    """The layout of a C type is needed and not known."""

    errno = _errno.ENODATA


class MachineError(UkmodError):
    """The emulated machine cannot continue."""

    errno = _errno.EFAULT


class StoppedError(MachineError):
    """The machine has stopped: nothing runs in it any more."""


class KernelPanic(StoppedError):  # noqa: N818 - the kernel's own word
    """panic(), or an oops where no task can be blamed."""


class Reboot(StoppedError):  # noqa: N818 - the system call's own word
    """The machine was halted, powered off or restarted, as by reboot(2)."""


class PatienceError(StoppedError):
    """The guest has used the CPU time that one call may take; the kernel log says where it was.

    ``function`` is the innermost function that it was in, or an empty string.
    """

    errno = _errno.ETIMEDOUT

    def __init__(self, message: str, *, function: str = "") -> None:
        super().__init__(message)
        self.function = function


class ProgramTimeoutError(TimeoutError):
    """A program of the machine has not ended in time. ``stdout`` and ``stderr`` are what it had written."""

    def __init__(self, message: str, program: str, *, stdout: bytes = b"", stderr: bytes = b"") -> None:
        super().__init__(_errno.ETIMEDOUT, message, program)
        self.stdout = stdout
        self.stderr = stderr
