"""A process whose program is written in Python: its system calls, and what os and io offer on top of them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from errno import EINTR, EIO, ETIMEDOUT
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from ukmod.errors import LimitError, ProcessError, UsageError
from ukmod.kernel import uapi as c
from ukmod.kernel.attempt import Attempt
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.limits import WAIT
from ukmod.kernel.sched.completion import Completion
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE, Task
from ukmod.kernel.sighand import NSIG, SIG_DFL
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.user.context import enter
from ukmod.kernel.user.file import UserFile, flags_of
from ukmod.kernel.user.identity import ProcessIdentity
from ukmod.kernel.user.paths import PathCalls
from ukmod.kernel.user.root_files import fill_root
from ukmod.kernel.user.rootfs import furnish
from ukmod.kernel.user.socket import UserSocket
from ukmod.kernel.user.syscall import SyscallArgument, SyscallTable, SystemCalls
from ukmod.kernel.x86.unwind import walk_asleep

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

T = TypeVar("T")
_CAUGHT: Final = 0x1000
"""The address of a signal handler, which here is a Python function."""
_STAT: Final = struct.Struct("<QQQIIIIQqqqqqqqqq24x")
"""struct stat, arch/x86/include/uapi/asm/stat.h."""
_DIRENT: Final = struct.Struct("<QqHB")
_DIRENTS: Final = 1 << 15
_MOST_NAMES: Final = 1 << 20


class UserProcess(PathCalls):
    """A process of the emulated kernel, which does what Python has it do.

    With ``work`` the process runs that function and exits. Without it, the process waits for calls.

    From outside of the machine, each method runs the machine until the process has done it. In a function
    that runs in the process itself, it blocks that process only.
    """

    def __init__(
        self,
        k: Core,
        image: MappedImage,
        *,
        work: Callable[[UserProcess], Any] | None = None,
        identity: ProcessIdentity | None = None,
        comm: str = "python",
        parent: Task | None = None,
    ) -> None:
        self.core = self._k = k
        self._image = image
        self._calls = SystemCalls(k, SyscallTable(k, image), self._handle_signals)
        self._serves = work is None
        self._attempt = Attempt(k, partial(self._live, work or UserProcess._serve))
        self._identity = identity
        self._jobs: list[Callable[[], int]] = []
        self._awaited: set[Completion] = set()
        """For jobs that other tasks wait for."""
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._is_stuck = False
        self._group = k.processes.fork(comm, self._main, parent=parent).group

    def __repr__(self) -> str:
        return f"<UserProcess {self.pid}>"

    @property
    def task(self) -> Task:
        """Its only thread, or the one that leads the others."""
        return self._group.leader

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.task.pid

    @property
    def ended(self) -> bool:
        """True if it has exited or was killed, or sleeps for ever in a call that no signal interrupts."""
        return self.task.exited or self._is_stuck

    @property
    def blocked(self) -> str:
        """The system call in which it sleeps; empty if it does not."""
        asleep = not self.task.exited and not self.task.queued and self._k.sched.current is not self.task
        return self._calls.running if asleep else ""

    def stack(self) -> tuple[str, ...]:
        """The functions in which it sleeps, innermost first as in /proc/PID/stack: "name+0x10/0x20 [module]".

        Empty if it does not sleep in a system call.
        """
        if not self.blocked:
            return ()
        return tuple(str(frame) for frame in walk_asleep(self._k, self.task).frames)

    def _main(self) -> int:
        enter(self._k, self._image)
        try:
            return self._attempt()
        finally:
            for done in self._awaited:
                done.complete()

    def _live(self, work: Callable[[UserProcess], Any]) -> Any:
        if self._identity is not None:
            self._identity.assume(self._calls)
        return work(self)

    def _serve(self) -> NoReturn:
        """Do what is asked for until the end."""
        while True:
            while self._jobs:
                self._jobs.pop(0)()
            self._k.tasks.set_state(self.task, TASK_INTERRUPTIBLE)
            self._k.sched.schedule()
            self._k.signals.deliver()
            self._handle_signals()

    def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the process and return its result; its exceptions are raised here.

        Raises TimeoutError if it still blocks after 300 virtual seconds, and ProcessError if it was killed.
        """
        sched = self._k.sched
        if sched.current is self.task:
            return work()
        if sched.current is not None or not self._serves:
            raise UsageError("only the process itself can do this", subject=repr(self))
        if self.ended:
            raise ProcessError("the process has ended", subject=repr(self), status=self.task.exit_code)
        attempt = Attempt(self._k, work)
        self._jobs.append(attempt)
        sched.wake(self.task, TASK_INTERRUPTIBLE)

        def over() -> bool:
            return attempt.ended or self.task.exited

        if not self._wait(over):
            self._give_up(over)
        if not attempt.ended:
            raise self._killed()
        return attempt.result()

    def serve(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the process while the current task, another one, sleeps; returns its result.

        Its exceptions are raised here; ProcessError if the process was killed.
        """
        attempt, done = Attempt(self._k, work), Completion(self._k)

        def job() -> int:
            status = attempt()
            self._awaited.discard(done)
            done.complete()
            return status

        self._awaited.add(done)
        self._jobs.append(job)
        self._k.sched.wake(self.task, TASK_INTERRUPTIBLE)
        done.wait()
        if not attempt.ended:
            raise self._killed()
        return attempt.result()

    def _wait(self, until: Callable[[], bool]) -> bool:
        return self._k.sched.run(until, self._k.clock.now + round(WAIT * NSEC_PER_SEC))

    def _give_up(self, until: Callable[[], bool]) -> NoReturn:
        """Have the system call in progress return as for a caught signal, and raise TimeoutError."""
        call = self._calls.running or None
        self._calls.is_interrupted = True
        self._k.tasks.set_flag(self.task, self._k.tasks.tif.sigpending)
        self._k.sched.wake(self.task, TASK_INTERRUPTIBLE)
        self._is_stuck = not self._wait(until)
        text = f"still blocks after {WAIT:g} virtual seconds: nothing in the machine wakes it"
        raise TimeoutError(ETIMEDOUT, text, call)

    def _killed(self) -> ProcessError:
        signal = self.task.exit_code & 0x7F
        text = f"the process was killed by signal {signal}: see dmesg"
        return ProcessError(text, errno=EINTR, subject=repr(self), status=self.task.exit_code)

    def result(self) -> Any:
        """Run the machine until the process has ended; returns what its function returned, or raises that.

        Raises ProcessError if it was killed, and TimeoutError if it has not ended after 300 virtual seconds.
        """
        if not self._wait(lambda: self.task.exited):
            text = f"has not ended after {WAIT:g} virtual seconds"
            raise TimeoutError(ETIMEDOUT, text, self.blocked or None)
        if not self._attempt.ended:
            raise self._killed()
        return self._attempt.result()

    # -- signals ----------------------------------------------------------------------------------------

    @property
    def signals(self) -> tuple[int, ...]:
        """The numbers of its pending signals."""
        pending = 0 if self.task.exited else self._k.tasks.pending(self.task)
        return tuple(number for number in range(1, NSIG + 1) if pending >> (number - 1) & 1)

    def kill(self, signal: int) -> None:
        """kill(2), from a process of root's."""
        if not self.task.exited:
            self._k.signals.send(self.task, signal)

    def signal(self, number: int, handler: Callable[[int], object] | None) -> None:
        """signal(2): ``handler(number)`` is called on the way back from a system call; None is the default.

        The call that it interrupted raises InterruptedError.
        """
        if handler is None:
            self._handlers.pop(number, None)
        else:
            self._handlers[number] = handler
        self._k.sighands.set_handler(self.task, number, _CAUGHT if handler is not None else SIG_DFL)

    def _handle_signals(self) -> bool:
        """Call the handlers of pending signals; True if there were any."""
        signals, called = self._k.signals, False
        while (found := signals.dequeue(self.task, signals.blocked(self.task))) is not None:
            if (handler := self._handlers.get(found[0])) is not None:
                called = True
                handler(found[0])
        return called

    # -- system calls -----------------------------------------------------------------------------------

    def syscall(self, call: str | int, *arguments: SyscallArgument) -> int:
        """Make a system call, by name or number; returns its result: see PathCalls.syscall."""
        return self.run(lambda: self._calls(call, *arguments))

    def open(self, path: str, mode: str = "rb", *, flags: int = 0, permissions: int = 0o666) -> UserFile:
        """open(2): an unbuffered file, of binary mode such as "r+b". ``flags`` are further O_ flags.

        Raises OSError, and UsageError for a mode that is not one.
        """
        flags |= flags_of(mode)
        return UserFile(
            self, self.syscall("openat", c.AT_FDCWD, path, flags, permissions), path, access=flags
        )

    def socket(self, family: int, kind: int, protocol: int = 0) -> UserSocket:
        """socket(2): AF_INET and SOCK_DGRAM, for example, by number. Raises OSError."""
        return UserSocket(self, self.syscall("socket", family, kind | c.O_CLOEXEC, protocol), family)

    def read(self, path: str) -> bytes:
        """Read a whole file. Raises OSError."""
        with self.open(path) as file:
            return file.readall()

    def write(self, path: str, data: bytes) -> None:
        """Write a file, by one write(2) as far as the file takes it. Raises OSError."""
        with self.open(path, "wb") as file:
            file.write_all(data)

    def listdir(self, path: str = ".") -> list[str]:
        """The names in a directory, by getdents64(2).

        Raises OSError, and LimitError for a directory that does not end.
        """
        return self.run(lambda: [name for name in self._names(path) if name not in (".", "..")])

    def _names(self, path: str) -> list[str]:
        names: list[str] = []
        with self.open(path, flags=c.O_DIRECTORY) as directory:
            buffer = bytearray(_DIRENTS)
            while size := self.syscall("getdents64", directory.fileno(), buffer, len(buffer)):
                names += _names_in(bytes(buffer[:size]))
                if len(names) > _MOST_NAMES:
                    raise LimitError(f"a directory of more than {_MOST_NAMES} files", subject=path)
        return names

    def stat(self, path: str) -> os.stat_result:
        """stat(2). Raises OSError."""
        buffer = bytearray(_STAT.size)
        self.syscall("newfstatat", c.AT_FDCWD, path, buffer, 0)
        return stat_result(buffer)

    def lstat(self, path: str) -> os.stat_result:
        """lstat(2). Raises OSError."""
        buffer = bytearray(_STAT.size)
        self.syscall("newfstatat", c.AT_FDCWD, path, buffer, c.AT_SYMLINK_NOFOLLOW)
        return stat_result(buffer)


def process(
    k: Core, work: Callable[[UserProcess], Any] | None = None, identity: ProcessIdentity | None = None
) -> UserProcess:
    """A new process. Raises UsageError if the machine has no image."""
    return UserProcess(k, image_of(k), work=work, identity=identity)


def image_of(k: Core) -> MappedImage:
    """The image that makes processes possible. Raises UsageError if the machine has none."""
    if k.image is None:
        vmlinuz = f"the vmlinuz of {k.release}" if k.release else "a vmlinuz"
        raise UsageError(f"files and processes need the kernel's own code: give Kernel(image=...), {vmlinuz}")
    return k.image


def first_process(k: Core, root: str | None = None, *, mounts: bool = True) -> UserProcess:
    """The first process, which mounts /dev, /proc and others, unless an init shall do so.

    root: the directory or the archive whose files the root file system has. Raises UsageError without an
    image, and what ``fill_root`` raises.
    """
    first = process(k)
    if root is not None:
        image = image_of(k)
        maker = partial(UserProcess, k, image, comm="root", parent=k.tasks.kthreadd)
        k.root_files = fill_root(k, image, maker, root)
    if mounts:
        first.run(lambda: furnish(first))
    k.processes.has_files = True
    return first


def _names_in(entries: bytes) -> list[str]:
    """The names in an array of struct linux_dirent64. Raises OSError with EIO if it is not one."""
    names: list[str] = []
    at = 0
    while at < len(entries):
        length = _DIRENT.unpack_from(entries, at)[2] if at + _DIRENT.size <= len(entries) else 0
        if not _DIRENT.size < length <= len(entries) - at:
            raise OSError(EIO, "the entries of the directory are damaged")
        names.append(os.fsdecode(entries[at + _DIRENT.size : at + length].partition(b"\0")[0]))
        at += length
    return names


def stat_result(buffer: bytes | bytearray) -> os.stat_result:
    """A struct stat as ``os`` has it."""
    device, inode, links, mode, uid, gid, _, rdev, size, *rest = _STAT.unpack(buffer)
    _, _, atime, _, mtime, _, ctime, _ = rest
    fields: dict[str, Any] = {"st_rdev": rdev}
    return os.stat_result((mode, inode, device, links, uid, gid, size, atime, mtime, ctime), fields)
