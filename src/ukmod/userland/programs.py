"""Which programs exist: a file system of nothing but executables."""

from __future__ import annotations

import os
from errno import EACCES, ENAMETOOLONG, ENOENT, ENOTDIR
from typing import Final

from ukmod.userland.process import Program

PATH_MAX: Final = 4096
_NAME_MAX: Final = 255
"""The limits in bytes of a path, with its end, and of a name: include/uapi/linux/limits.h."""


class Programs:
    """Programs by absolute path. ``exec`` answers as execve(2) does."""

    def __init__(self) -> None:
        self._programs: dict[str, Program | None] = {}

    def install(self, path: str, program: Program | None) -> None:
        """Put ``program`` at ``path``; None stands for a file that may not be executed."""
        self._programs[path] = program

    def remove(self, path: str) -> None:
        """Take away what is at ``path``."""
        del self._programs[path]

    def has(self, path: str) -> bool:
        """False if nothing is at ``path``, not even something that may not be executed."""
        try:
            self.exec(path)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def exec(self, path: str) -> Program:
        """The program that a path leads to, from / if it is relative: every process here is in /.

        Raises OSError: ENOENT, EACCES (a directory, or not executable), ENOTDIR, ENAMETOOLONG.
        """
        if len(path.encode("utf-8", "surrogateescape")) >= PATH_MAX:
            raise _error(ENAMETOOLONG, path)
        if not path:
            raise _error(ENOENT, path)
        place = ""
        for name in path.split("/"):
            if place in self._programs:
                raise _error(ENOTDIR, path)
            if name == "..":
                place = place.rpartition("/")[0]
            elif name not in ("", "."):
                place = self._enter(place, name, path)
        program = self._programs.get(place)
        if program is None:  # a directory, or a file without permission
            raise _error(EACCES, path)
        return program

    def _enter(self, directory: str, name: str, path: str) -> str:
        """The place of a name in a directory. Raises OSError if it has no such name."""
        if len(name.encode("utf-8", "surrogateescape")) > _NAME_MAX:
            raise _error(ENAMETOOLONG, path)
        place = f"{directory}/{name}"
        if place not in self._programs and not any(it.startswith(place + "/") for it in self._programs):
            raise _error(ENOENT, path)
        return place


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
