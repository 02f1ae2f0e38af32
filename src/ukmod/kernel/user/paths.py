"""Names, modes, owners and mounts of files, as os has them, by system calls of a process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ukmod.kernel import uapi as c
from ukmod.userland.programs import PATH_MAX

if TYPE_CHECKING:
    from ukmod.kernel.user.syscall import SyscallArgument


class PathCalls:
    """Names, modes, owners and mounts of files. Each method is one system call, and raises OSError."""

    def syscall(self, call: str | int, *arguments: SyscallArgument) -> int:
        """Make a system call, by name or number; returns its result.

        Text and bytes are passed by address. A bytearray, memoryview or ctypes object is a buffer that the
        kernel reads and writes; None is a NULL pointer.

        Raises OSError with the kernel's errno, and UsageError if there is no such system call.
        """
        raise NotImplementedError

    def mknod(self, path: str, mode: int, device: int = 0) -> None:
        """mknod(2): ``mode`` is S_IFCHR or the like with permissions, ``device`` of ``makedev``."""
        self.syscall("mknodat", c.AT_FDCWD, path, mode, device)

    def mkdir(self, path: str, permissions: int = 0o777) -> None:
        """mkdir(2)."""
        self.syscall("mkdirat", c.AT_FDCWD, path, permissions)

    def rmdir(self, path: str) -> None:
        """rmdir(2)."""
        self.syscall("unlinkat", c.AT_FDCWD, path, c.AT_REMOVEDIR)

    def link(self, target: str, path: str) -> None:
        """link(2)."""
        self.syscall("linkat", c.AT_FDCWD, target, c.AT_FDCWD, path, 0)

    def symlink(self, target: str, path: str) -> None:
        """symlink(2)."""
        self.syscall("symlinkat", target, c.AT_FDCWD, path)

    def readlink(self, path: str) -> str:
        """readlink(2)."""
        buffer = bytearray(PATH_MAX)
        return os.fsdecode(bytes(buffer[: self.syscall("readlinkat", c.AT_FDCWD, path, buffer, len(buffer))]))

    def unlink(self, path: str) -> None:
        """unlink(2)."""
        self.syscall("unlinkat", c.AT_FDCWD, path, 0)

    def rename(self, path: str, to: str) -> None:
        """rename(2)."""
        self.syscall("renameat", c.AT_FDCWD, path, c.AT_FDCWD, to)

    def chmod(self, path: str, permissions: int) -> None:
        """chmod(2)."""
        self.syscall("fchmodat", c.AT_FDCWD, path, permissions)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """chown(2); -1 leaves the user or the group as it is."""
        self.syscall("fchownat", c.AT_FDCWD, path, uid, gid, 0)

    def truncate(self, path: str, size: int) -> None:
        """truncate(2) to ``size`` bytes."""
        self.syscall("truncate", path, size)

    def mount(self, source: str, target: str, filesystem: str, *, flags: int = 0, options: str = "") -> None:
        """mount(2), for which the kernel may load a module. An error has the target's name."""
        try:
            self.syscall("mount", source, target, filesystem, flags, options or None)
        except OSError as error:
            error.filename = target  # the source may be no file
            raise

    def umount(self, target: str, *, flags: int = 0) -> None:
        """umount2(2)."""
        self.syscall("umount", target, flags)
