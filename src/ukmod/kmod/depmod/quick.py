"""``depmod -A``: is there a module newer than modules.dep?"""

from __future__ import annotations

import os
import stat

from ukmod.kmod.names import is_module_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_up_to_date"]

_NEVER = ("build", "source")


def is_up_to_date(dirname: str, err: Callable[[str], object]) -> bool:
    """Tell whether modules.dep is at least as new as every module file, to the microsecond.

    Nothing else is looked at: not whether a module is gone, and not the configuration. ``err`` receives a
    message about each file that could not be examined; without modules.dep the answer is no.
    """
    try:
        todo = [(dirname, os.listdir(dirname))]
    except OSError as error:
        err(f"could not open directory {dirname}: {error.strerror}")
        return False
    try:
        made = _microseconds(os.stat(f"{dirname}/modules.dep"))
    except OSError as error:
        err(f"could not fstatat({dirname}, modules.dep): {error.strerror}")
        return False
    seen: set[tuple[int, int]] = set()
    while todo:
        directory, names = todo.pop()
        for path in [f"{directory}/{name}" for name in names if name not in _NEVER]:
            try:
                status = os.stat(path)
                if stat.S_ISDIR(status.st_mode):
                    if (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        todo.append((path, os.listdir(path)))
                elif not stat.S_ISREG(status.st_mode):
                    err(f"unsupported file type {path}: {stat.S_IFMT(status.st_mode):o}")
                elif is_module_file(path.rpartition("/")[2]) and _microseconds(status) > made:
                    return False
            except OSError as error:
                err(f"fstatat({path}): {error.strerror}")
    return True


def _microseconds(status: os.stat_result) -> int:
    return status.st_mtime_ns // 1000
