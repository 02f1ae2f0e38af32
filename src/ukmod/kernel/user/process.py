"""A process whose program is written in Python: its system calls, and what os and io offer on top of them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from errno import EFAULT, EINTR, ETIMEDOUT
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ukmod.errors import LoadError, UsageError
from ukmod.kernel import uapi as c
from ukmod.kernel.failures import failed
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.limits import WAIT
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE, Task
from ukmod.kernel.task import TIF_SIGPENDING
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.user.context import enter
from ukmod.kernel.user.file import UserFile, flags_of
from ukmod.kernel.user.rootfs import furnish
from ukmod.kernel.user.syscall import SyscallArgument, SyscallTable, SystemCalls

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

T = TypeVar("T")
_STAT: Final = struct.Struct("<QQQIIIIQqqqqqqqqq24x")
"""struct stat, arch/x86/include/uapi/asm/stat.h."""
_DIRENT: Final = struct.Struct("<QqHB")
_DIRENTS: Final = 1 << 15


class UserProcess:
    """A process of the emulated kernel, which does what Python has it do.

    From outside of the machine, each method runs the machine until the process has done it. In a function
    that runs in the process itself, it blocks that process only.
    """

    def __init__(self, k: Core, image: MappedImage, table: SyscallTable, comm: str = "python") -> None:
        self._k = k
        self._image = image
        self._caller = SystemCalls(k, table)
        self._jobs: list[Callable[[], None]] = []
        self._is_ready = False
        self.task: Task = k.processes.fork(comm, self._main)

    def __repr__(self) -> str:
        return f"<UserProcess {self.pid}>"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.task.pid

    @property
    def ended(self) -> bool:
        """True if it has exited, or was killed."""
        return self.task.exited

    def _main(self) -> int:
        """Do what is asked for until the end."""
        enter(self._k, self._image)
        tasks, sched = self._k.tasks, self._k.sched
        while True:
            while self._jobs:
                self._jobs.pop(0)()
            tasks.set_state(self.task, TASK_INTERRUPTIBLE)
            sched.schedule()
            self._k.signals.deliver()

    def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the process and return its result; its exceptions are raised here.

        Raises TimeoutError if it still blocks after 300 virtual seconds, and LoadError if the process died.
        """
        sched = self._k.sched
        if sched.current is self.task:
            return work()
        if sched.current is not None:
            raise UsageError("only the process itself can do this here", subject=repr(self))
        done: list[T] = []
        failures: list[Exception] = []

        def job() -> None:
            try:
                done.append(work())
            except Exception as error:  # noqa: BLE001 - raised again, in the caller's stack
                failed(self._k, error)  # raises, if it is the end of the process
                failures.append(error)

        self._check_alive()
        self._jobs.append(job)
        sched.wake(self.task, TASK_INTERRUPTIBLE)
        self._wait(lambda: bool(done or failures) or self.task.exited)
        if not (done or failures or self.task.exited):
            self._interrupt()
            self._wait(lambda: bool(done or failures) or self.task.exited)
            text = "still blocks after 300 virtual seconds: nothing in the machine wakes it"
            raise TimeoutError(ETIMEDOUT, text, self._caller.running or None)
        if failures:
            raise failures[0]
        if not done:
            raise LoadError("the process was killed: see dmesg", errno=EFAULT, subject=repr(self))
        return done[0]

    def _wait(self, until: Callable[[], bool]) -> None:
        self._k.sched.run(until, self._k.clock.now + round(WAIT * NSEC_PER_SEC))

    def _check_alive(self) -> None:
        if self.task.exited:
            raise LoadError("the process has ended", errno=EINTR, subject=repr(self))

    def _interrupt(self) -> None:
        """Have the system call in progress return as for a signal with a handler: EINTR."""
        self._k.tasks.set_flag(self.task, TIF_SIGPENDING)
        self._k.sched.wake(self.task, TASK_INTERRUPTIBLE)

    # -- system calls -----------------------------------------------------------------------------------

    def syscall(self, call: str | int, *arguments: SyscallArgument) -> int:
        """Make a system call, by name or number; returns its result.

        Text and bytes are passed by address. A bytearray, memoryview or ctypes object is a buffer that the
        kernel reads and writes; None is a NULL pointer.

        Raises OSError with the kernel's errno, and UsageError if there is no such system call.
        """
        return self.run(lambda: self._caller(call, *arguments))

    def open(self, path: str, mode: str = "rb", *, flags: int = 0, permissions: int = 0o666) -> UserFile:
        """open(2): an unbuffered file, of binary mode such as "r+b". ``flags`` are further O_ flags.

        Raises OSError, and UsageError for a mode that is not one.
        """
        flags |= flags_of(mode)
        return UserFile(
            self, self.syscall("openat", c.AT_FDCWD, path, flags, permissions), path, access=flags
        )

    def read(self, path: str) -> bytes:
        """Read a whole file. Raises OSError."""
        with self.open(path) as file:
            return file.readall() or b""

    def write(self, path: str, data: bytes) -> None:
        """Write a file, by one write(2) as far as the file takes it. Raises OSError."""
        with self.open(path, "wb") as file:
            while data:
                data = data[file.write(data) :]

    def listdir(self, path: str = ".") -> list[str]:
        """The names in a directory, by getdents64(2). Raises OSError."""
        names: list[str] = []
        with self.open(path, flags=c.O_DIRECTORY) as directory:
            buffer = bytearray(_DIRENTS)
            while size := self.syscall("getdents64", directory.fileno(), buffer, len(buffer)):
                at = 0
                while at < size:
                    _, _, length, _ = _DIRENT.unpack_from(buffer, at)
                    name = bytes(buffer[at + _DIRENT.size : at + length]).partition(b"\0")[0]
                    names.append(os.fsdecode(name))
                    at += length
        return [name for name in names if name not in (".", "..")]

    def stat(self, path: str) -> os.stat_result:
        """stat(2). Raises OSError."""
        buffer = bytearray(_STAT.size)
        self.syscall("newfstatat", c.AT_FDCWD, path, buffer, 0)
        return stat_result(buffer)

    def mknod(self, path: str, mode: int, device: int = 0) -> None:
        """mknod(2): ``mode`` is S_IFCHR or the like with permissions, ``device`` of ``makedev``."""
        self.syscall("mknodat", c.AT_FDCWD, path, mode, device)

    def mkdir(self, path: str, permissions: int = 0o777) -> None:
        """mkdir(2). Raises OSError."""
        self.syscall("mkdirat", c.AT_FDCWD, path, permissions)

    def symlink(self, target: str, path: str) -> None:
        """symlink(2). Raises OSError."""
        self.syscall("symlinkat", target, c.AT_FDCWD, path)

    def readlink(self, path: str) -> str:
        """readlink(2). Raises OSError."""
        buffer = bytearray(4096)
        return os.fsdecode(bytes(buffer[: self.syscall("readlinkat", c.AT_FDCWD, path, buffer, len(buffer))]))

    def unlink(self, path: str) -> None:
        """unlink(2). Raises OSError."""
        self.syscall("unlinkat", c.AT_FDCWD, path, 0)

    def rmdir(self, path: str) -> None:
        """rmdir(2). Raises OSError."""
        self.syscall("unlinkat", c.AT_FDCWD, path, _AT_REMOVEDIR)

    def mount(self, source: str, target: str, filesystem: str, *, flags: int = 0, options: str = "") -> None:
        """mount(2). Raises OSError."""
        self.syscall("mount", source, target, filesystem, flags, options or None)

    def umount(self, target: str, *, flags: int = 0) -> None:
        """umount2(2). Raises OSError."""
        self.syscall("umount", target, flags)


_AT_REMOVEDIR: Final = 0x200


def process(k: Core) -> UserProcess:
    """A new process of root's. Raises UsageError if the machine has no image."""
    if k.image is None:
        vmlinuz = f"the vmlinuz of {k.release}" if k.release else "a vmlinuz"
        raise UsageError(f"files and processes need the kernel's own code: give Kernel(image=...), {vmlinuz}")
    return UserProcess(k, k.image, SyscallTable(k, k.image))


def first_process(k: Core) -> UserProcess:
    """The first process, which mounts /dev, /proc and others. Raises UsageError without an image."""
    first = process(k)
    first.run(lambda: furnish(first))
    return first


def stat_result(buffer: bytes | bytearray) -> os.stat_result:
    """A struct stat as ``os`` has it."""
    device, inode, links, mode, uid, gid, _, rdev, size, *rest = _STAT.unpack(buffer)
    _, _, atime, _, mtime, _, ctime, _ = rest
    fields: dict[str, Any] = {"st_rdev": rdev}
    return os.stat_result((mode, inode, device, links, uid, gid, size, atime, mtime, ctime), fields)
