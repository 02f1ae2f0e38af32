"""The user's side of ukmod.Kernel: files, devices, sockets, processes and programs of the emulated machine.

Whatever it opens, it opens in the image's file system, by system calls of a process of root's. What lies
behind it is imported when it is first used: most kernels are never asked for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from errno import ETIMEDOUT
from typing import TYPE_CHECKING, Any

from ukmod.errors import LoadError, NotFoundError, UsageError
from ukmod.kernel.finished import Finished
from ukmod.kernel.limits import WAIT
from ukmod.kernel.user.paths import PathCalls

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.user.file import UserFile
    from ukmod.kernel.user.identity import ProcessIdentity
    from ukmod.kernel.user.init import Ended
    from ukmod.kernel.user.netdev import UserNetDevice
    from ukmod.kernel.user.process import UserProcess
    from ukmod.kernel.user.program import Completed
    from ukmod.kernel.user.socket import UserSocket
    from ukmod.kernel.user.syscall import SyscallArgument


class UserSide(PathCalls):
    """The methods of ukmod.Kernel that need an image, for they are system calls."""

    def __init__(self, root: str | None, *, has_init: bool) -> None:
        self._root = root
        self._has_init = has_init
        self._process: UserProcess | None = None

    @property
    def core(self) -> Core:
        """The kernel itself, with all its parts; boots it if necessary."""
        raise NotImplementedError

    @property
    def process(self) -> UserProcess:
        """The process that makes this object's system calls, root's; a new one if the last one was killed.

        The first one finds /dev, /proc, /sys and others mounted, except where init does that. Raises
        UsageError without an image.
        """
        core = self.core  # a machine with a root has a process as soon as it has booted
        if self._process is None:
            return self._begin_processes(core)
        if self._process.ended:
            from ukmod.kernel.user.process import process

            self._process = process(core)
        return self._process

    def _begin_processes(self, core: Core) -> UserProcess:
        from ukmod.kernel.user.process import first_process

        self._process = first_process(core, self._root, mounts=not self._has_init)
        return self._process

    def spawn(
        self,
        work: Callable[[UserProcess], Any],
        *,
        uid: int = 0,
        gid: int | None = None,
        caps: Collection[int] | None = None,
    ) -> UserProcess:
        """Start a process that runs ``work(process)``; it runs when the machine next runs.

        uid, gid: its user and group; the group is by default that of the user's number. caps: the numbers of
        its capabilities; by default root has all and others have none. Raises UsageError without an image.
        """
        from ukmod.kernel.user.process import process

        core = self.process.core  # once there was one, what programs expect to find is mounted
        return process(core, work, _identity(uid, gid, caps))

    def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = WAIT,
        uid: int = 0,
        gid: int | None = None,
        caps: Collection[int] | None = None,
    ) -> Completed:
        """Run a program of the emulated machine, as subprocess.run() does, and return its status and output.

        ``argv[0]`` is its path in the machine, where ``put`` can have placed it. It runs in ring 3 of the
        emulated CPU; nothing of the host is in its sight. env: by default that of init; timeout: virtual
        seconds; uid, gid, caps: as in ``spawn``.

        Raises OSError if it cannot be executed, ProgramTimeoutError, a TimeoutError, if it has not ended in
        time and was killed, and UsageError without an image.
        """
        from ukmod.kernel.user.program import run_program

        core, identity = self.process.core, _identity(uid, gid, caps)
        return run_program(core, argv, stdin=stdin, env=env, timeout=timeout, identity=identity)

    def run_init(self, *, stdin: bytes = b"", timeout: float = WAIT) -> Ended:
        """Have process 1 execute the root's init, and run the machine until it is powered off or restarted.

        It is /init, or else /sbin/init, /etc/init, /bin/init or /bin/sh; ``rdinit=`` and ``init=`` on the
        command line name others. Its console is the serial line, where ``stdin`` is typed. It mounts what
        it needs itself: the kernel must have been made with ``init=True``.

        Raises KernelPanic if it ends, ProgramTimeoutError after ``timeout`` virtual seconds, and UsageError.
        """
        from ukmod.kernel.user.init import run_init

        core = self.process.core
        if not self._has_init:
            raise UsageError("give Kernel(init=True): then nothing is mounted before init does so")
        return run_init(core, stdin=stdin, timeout=timeout)

    def _execute_file(self, path: str, arguments: Sequence[str], env: Mapping[str, str] | None) -> Finished:
        """Run a program of the root file system. Raises NotFoundError, LoadError: see ``Kernel.execute``."""
        from ukmod.kernel.user.program import ENVIRONMENT

        try:
            done = self.exec([path, *arguments], env={**ENVIRONMENT, **(env or {})})
        except TimeoutError as error:
            raise LoadError(f"has not ended after {WAIT:g} seconds", errno=ETIMEDOUT, subject=path) from error
        except OSError as error:
            raise NotFoundError("no such program in the machine", subject=path) from error
        return Finished(done.status, (done.stdout + done.stderr).decode("utf-8", "surrogateescape"))

    def syscall(self, call: str | int, *arguments: SyscallArgument) -> int:
        """Make a system call in a process of root's, by name or number: see PathCalls.syscall."""
        return self.process.syscall(call, *arguments)

    def open(self, path: str, mode: str = "rb", *, flags: int = 0) -> UserFile:
        """Open a file of the emulated machine, such as a module's device; it is not buffered.

        ``mode`` is one of ``open``, with b; ``flags`` are further O_ flags. Raises OSError, and UsageError
        without an image.
        """
        return self.process.open(path, mode, flags=flags)

    def socket(self, family: int, kind: int, protocol: int = 0) -> UserSocket:
        """Open a socket of the emulated machine, which may load modules for it: see UserProcess.socket."""
        return self.process.socket(family, kind, protocol)

    def netdev(self, name: str) -> UserNetDevice:
        """Return a network device, for frames that it receives and sends: see UserNetDevice.

        Raises OSError: ENODEV if there is none of that name; UsageError without an image.
        """
        from ukmod.kernel.user.netdev import UserNetDevice

        return UserNetDevice(self.process, name)

    def put(self, host: str | os.PathLike[str], guest: str) -> None:
        """Copy a file, or a directory with all that is in it, from the host into the emulated machine.

        As with ``cp -r host/. guest``, a directory's files come to lie in ``guest``, itself or new; a file
        whose target is a directory goes into it. Modes are kept, all becomes root's, and directories that are
        missing above ``guest`` are made. Symbolic links in a directory are copied as links.

        Raises OSError of either side, LimitError for more than 1 GiB or 262,144 files, and UsageError without
        an image.
        """
        from ukmod.kernel.user.put import put

        put(self.process, os.fspath(host), guest)

    def get(self, guest: str, host: str | os.PathLike[str]) -> None:
        """Copy a file, or a directory with all that is in it, from the emulated machine to the host.

        Targets are as in ``put``. Of the modes, the permissions of user, group and others are kept. Devices,
        pipes and sockets in a directory are left out. Raises the same errors.
        """
        from ukmod.kernel.user.get import get

        get(self.process, guest, os.fspath(host))

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory of the emulated machine. Raises OSError."""
        return self.process.listdir(path)

    def stat(self, path: str) -> os.stat_result:
        """Return the status of a file of the emulated machine. Raises OSError."""
        return self.process.stat(path)


def _identity(uid: int, gid: int | None, caps: Collection[int] | None) -> ProcessIdentity:
    from ukmod.kernel.user.identity import ProcessIdentity

    return ProcessIdentity(uid, uid if gid is None else gid, caps)
