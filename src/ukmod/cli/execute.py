"""``ukmod run --exec PROGRAM``: a program that runs once the modules are loaded, and what went wrong."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from ukmod.cli.faults import Flaw
from ukmod.cli.progress import Progress
from ukmod.cli.static import is_static
from ukmod.cli.terminal import write
from ukmod.errors import NotFoundError, ProgramTimeoutError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kmod.visible import escape
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.user.program import Completed

_PATH: Final = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where a root's program without a directory is looked for."""


@record
class Exec:
    """A program with its arguments: one that the given root has, or else a file of the host."""

    argv: tuple[str, ...]
    has_root: bool
    progress: Progress | None
    """The line on the terminal where the program's output is shown; None if the output is not shown."""

    def run(self, k: Kernel) -> tuple[Completed | None, list[Flaw]]:
        """Run it; the result, and what is wrong with it.

        Raises UsageError without an image, NotFoundError if there is no such program.
        """
        if k.core.image is None:
            vmlinuz = f"the vmlinuz of {k.core.release}" if k.core.release else "a vmlinuz"
            raise UsageError(
                f"a program needs the kernel's own code: name {vmlinuz} by --kernel", subject="--exec"
            )
        name = os.path.basename(self.argv[0])
        path = self._of_root(k) or self._copied(k)
        try:
            done = k.exec([path, *self.argv[1:]])
        except ProgramTimeoutError as error:
            self._show(error.stdout, error.stderr)
            return None, [Flaw("timeout", "", f"{name}: {error.strerror}")]
        except OSError as error:
            return None, [Flaw("fails", "", f"{name}: {self._refusal(error)}")]
        self._show(done.stdout, done.stderr)
        why = f"killed by signal {done.signal}" if done.signal else f"exit status {done.status}"
        return done, [Flaw("fails", "", f"{name}: {why}")] if done.status else []

    def _of_root(self, k: Kernel) -> str | None:
        """The path of the root's program, if it has one."""
        if not self.has_root:
            return None
        name = self.argv[0]
        paths = [name] if "/" in name else [f"{directory}/{name}" for directory in _PATH]
        return next((path for path in paths if path.startswith("/") and _is_there(k, path)), None)

    def _copied(self, k: Kernel) -> str:
        """The path in the machine to which the host's file is copied."""
        name = self.argv[0]
        if self.has_root and not os.path.exists(name):
            raise NotFoundError("neither the root nor this directory has such a program", subject=name)
        path = f"/bin/{os.path.basename(name)}"
        k.put(name, path)
        return path

    def _show(self, stdout: bytes, stderr: bytes) -> None:
        if self.progress is not None:
            with self.progress.aside():
                write(stdout.decode(errors="backslashreplace"))
                sys.stdout.flush()
                sys.stderr.write(escape(stderr.decode(errors="backslashreplace")))

    def _refusal(self, error: OSError) -> str:
        """Why it cannot be executed: execve() has ENOENT for an interpreter that is missing, too."""
        if isinstance(error, FileNotFoundError):
            if self.has_root:
                return "its interpreter is not in the root"
            if not is_static(self.argv[0]):
                advice = "link it with -static, or give a --root that has it"
                return f"its interpreter is not in the machine: {advice}"
        return error.strerror or str(error)


def _is_there(k: Kernel, path: str) -> bool:
    try:
        k.stat(path)
    except OSError:
        return False
    return True
