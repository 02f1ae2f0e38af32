"""Which programs exist: a file system of nothing but executables."""

from __future__ import annotations

from errno import EACCES, ENOENT

from ukmod.userland.process import Program


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

    def exec(self, path: str) -> Program:
        """The program at ``path``. Raises FileNotFoundError, or PermissionError for what is no program."""
        if path in self._programs:
            program = self._programs[path]
            if program is None:
                raise PermissionError(EACCES, "not executable", path)
            return program
        directory = path.rstrip("/") + "/"
        if path and any(name.startswith(directory) for name in self._programs):
            raise PermissionError(EACCES, "is a directory", path)
        raise FileNotFoundError(ENOENT, "no such program", path)
