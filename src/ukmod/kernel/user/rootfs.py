"""The root file system of an image's kernel: the file systems that an init program would mount on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST, ENODEV, ENOENT, EPERM
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

MOUNTS: Final = (
    ("/dev", "devtmpfs"),
    ("/proc", "proc"),
    ("/sys", "sysfs"),
    ("/tmp", "tmpfs"),  # noqa: S108 - the emulated machine's
    ("/run", "tmpfs"),
    ("/dev/pts", "devpts"),
    ("/dev/shm", "tmpfs"),  # noqa: S108 - the emulated machine's
    ("/sys/kernel/debug", "debugfs"),
    ("/sys/kernel/tracing", "tracefs"),
    ("/sys/kernel/security", "securityfs"),
    ("/sys/kernel/config", "configfs"),
)
"""Mount points and types of file systems, in order. What a kernel lacks is left out."""
LINKS: Final = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
"""Symbolic links and their targets."""


def furnish(process: UserProcess) -> None:
    """Mount what programs expect to find, and make the links in /dev. Raises OSError."""
    for path, kind in MOUNTS:
        with _except(EEXIST, EPERM, ENOENT):  # sysfs has directories of its own, and no others
            process.mkdir(path, 0o755)
        with _except(ENODEV, ENOENT):
            process.mount(kind, path, kind)
    for path, target in LINKS:
        with _except(EEXIST):
            process.symlink(target, path)


@contextmanager
def _except(*errnos: int) -> Iterator[None]:
    """Ignore an OSError with one of these errnos."""
    try:
        yield
    except OSError as error:
        if error.errno not in errnos:
            raise
