"""Programs that change files, and the files that decide what modprobe does.

A command that changes one of these makes all that was read of them worthless for what comes after it.
"""

from __future__ import annotations

import posixpath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["matters", "may_change"]

_DECIDING = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64"),  # modules, indexes, configuration, libraries
    *("/usr/local/lib", "/etc/modprobe.d", "/etc/modprobe.conf", "/run/modprobe.d"),
    *("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"),  # the programs
    *("/etc/ld.so.preload", "/etc/ld.so.cache"),
    *("/proc/sys/kernel", "/sys/kernel/security"),  # modules_disabled, lockdown
)
"""Directories and files that modprobe, or the kernel when it takes a module, goes by."""

_COPIES = frozenset(("cp", "install"))
"""Programs that change their last argument; the others are only read."""
_CHANGES = frozenset(
    (
        *("rm", "mv", "ln", "tee", "touch", "dd", "truncate", "unlink", "shred"),
        *("sed", "find", "tar", "rsync", "mount", "umount"),
    )
)
"""Programs that may change any file that an argument names."""
_SETTINGS = frozenset(("sysctl",))
"""Programs that change the kernel's own settings, whatever their arguments are."""


def may_change(name: str, arguments: Sequence[str | None]) -> bool:
    """Tell whether a program, called so, may change what modprobe goes by. An argument of None is unknown."""
    if name in _SETTINGS:
        return True
    if name not in _COPIES | _CHANGES:
        return False
    words = [word if word is None else word.rpartition("=")[2] for word in arguments]
    plain = [word for word in words if word is None or not word.startswith("-")]
    into = name in _COPIES and not any((word or "").startswith(("-t", "--t")) for word in arguments)
    return any(word is None or matters(word) for word in (plain[-1:] if into else plain))


def matters(path: str) -> bool:
    """Tell whether modprobe goes by a file, by one below it, or by one that lies nobody knows where."""
    if not path.startswith("/"):
        return True
    whole = posixpath.normpath(path).replace("//", "/").rstrip("/") + "/"
    return any(whole.startswith(f"{one}/") or f"{one}/".startswith(whole) for one in _DECIDING)
