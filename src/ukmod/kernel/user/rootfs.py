"""The root file system of an image's kernel: the file systems that an init program would mount on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST, ENODEV, ENOENT, EPERM
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
"""MS_ flags, include/uapi/linux/mount.h."""
_HIDDEN: Final = _NOSUID | _NODEV | _NOEXEC
MOUNTS: Final = (
    ("/dev", "devtmpfs", _NOSUID, ""),
    ("/proc", "proc", _HIDDEN, ""),
    ("/sys", "sysfs", _HIDDEN, ""),
    ("/tmp", "tmpfs", 0, ""),  # noqa: S108 - the emulated machine's
    ("/run", "tmpfs", _HIDDEN, "mode=755"),
    ("/dev/pts", "devpts", _NOSUID | _NOEXEC, "gid=5,mode=620,ptmxmode=000"),
    ("/dev/shm", "tmpfs", _NOSUID | _NODEV, ""),  # noqa: S108 - the emulated machine's
    ("/sys/kernel/debug", "debugfs", _HIDDEN, ""),
    ("/sys/kernel/tracing", "tracefs", _HIDDEN, ""),
    ("/sys/kernel/security", "securityfs", _HIDDEN, ""),
    ("/sys/kernel/config", "configfs", _HIDDEN, ""),
)
"""Mount points, types of file systems, flags and options, in order, as systemd mounts them.

There may be devices in /tmp, as in Debian's. What a kernel lacks is left out.
"""
LINKS: Final = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
"""Symbolic links and their targets."""


def furnish(process: UserProcess) -> None:
    """Mount what programs expect to find, and make the links in /dev. Raises OSError.

    Files that the root has in /tmp and /run stay in sight: nothing is mounted there then.
    """
    for path, kind, flags, options in MOUNTS:
        with _except(EEXIST, EPERM, ENOENT):  # sysfs has directories of its own, and no others
            process.mkdir(path, 0o755)
        with _except(ENODEV, ENOENT):
            if kind != "tmpfs" or not process.listdir(path):
                process.mount(kind, path, kind, flags=flags, options=options)
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
