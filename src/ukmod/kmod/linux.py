"""The machine this process runs on, as a :class:`ukmod.kmod.host.Host`.

Everything goes through the C library's functions by their names, so that a library in LD_PRELOAD (which is
how kmod's own test-suite plays a kernel) sees open, stat, opendir, uname, init_module, finit_module and
delete_module. ctypes is imported when a module is really loaded or unloaded, not before.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
import time

from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.host import INIT_COMPRESSED_FILE
from ukmod.kmod.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Generator, MutableMapping
    from typing import NoReturn, TypeVar

    from ukmod.kmod.host import Files, Writer
    from ukmod.kmod.modfile import ModuleFile

    T = TypeVar("T")
    _Said = list[tuple[str, str]]
    """Written text, in order: the stream's name, and the text."""

__all__ = ["LinuxHost", "Stream", "end_process"]

# The C library has no function for finit_module(2), only syscall(2) with a number: that of asm-generic,
# except on the architectures that are older than it.
_NR_FINIT_MODULE = {
    "alpha": 507, "armv6l": 379, "armv7l": 379, "armv8l": 379, "hppa": 333, "i386": 350, "i686": 350,
    "ia64": 1335, "m68k": 348, "mips": 4348, "mips64": 5307, "parisc": 333, "parisc64": 333, "ppc": 353,
    "ppc64": 353, "ppc64le": 353, "s390x": 344, "sh4": 368, "sparc": 342, "sparc64": 342, "x86_64": 313,
}  # fmt: skip
_NR_FINIT_MODULE_GENERIC = 273


_BUFFER_SIZE = 1 << 16


class Stream:
    """A standard stream by its descriptor, buffered as stdio does: by line on a terminal, else in full."""

    __slots__ = ("_buffered", "_ends", "_fd", "_kept", "_parts")

    def __init__(self, fd: int, *, unbuffered: bool = False, ends: bool = False) -> None:
        """With ``ends`` the process ends, as C programs do, once nobody reads what it writes."""
        self._fd = fd
        self._ends = ends
        self._parts: list[str] = []
        self._kept = 0
        self._buffered = not unbuffered and not os.isatty(fd)

    def write(self, text: str) -> None:
        """Write, or keep for later."""
        self._parts.append(text)
        self._kept += len(text)
        if not self._buffered or self._kept >= _BUFFER_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write what was kept. Like stdio's exit, it has no one to tell when that fails."""
        data = os.fsencode("".join(self._parts))
        self._parts.clear()
        self._kept = 0
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError as error:
                if self._ends and error.errno == errno.EPIPE:
                    _die_of_sigpipe()
                return


class _Kept:
    """A standard stream whose text is kept, in order with that of the other."""

    __slots__ = ("_name", "_said")

    def __init__(self, name: str, said: _Said) -> None:
        self._name = name
        self._said = said

    def write(self, text: str) -> None:
        """Keep it."""
        self._said.append((self._name, text))

    def flush(self) -> None:
        """Go on keeping."""


def _die_of_sigpipe() -> None:
    """End by the signal that Python ignores at its start: a shell's ``pipefail`` sees what C's tools give."""
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)


class LinuxHost:
    """The real thing: see :class:`ukmod.kmod.host.Host` for what each method promises."""

    __slots__ = ("_archives", "_ends", "environ", "files", "stderr", "stdout")

    def __init__(self, *, ends: bool = False) -> None:
        """``ends`` says that this process has nothing to do but the tool."""
        self._ends = ends
        self.environ: MutableMapping[str, str] = os.environ
        self.files = DirectoryFiles()
        self._archives: dict[str, Files] = {}
        self.stdout: Writer = Stream(1, ends=ends)
        self.stderr: Writer = Stream(2, unbuffered=True, ends=ends)

    def has_stderr(self) -> bool:
        """Tell whether descriptor 2 is open."""
        try:
            os.fstat(2)
        except OSError:
            return False
        return True

    def getcwd(self) -> str:
        """Return the working directory, by $PWD's spelling where that is true, as get_current_dir_name(3)."""
        spelled = self.environ.get("PWD", "")
        try:
            if spelled.startswith("/") and os.path.samestat(os.stat(spelled), os.stat(".")):
                return spelled
        except OSError:
            pass
        return os.getcwd()

    def openlog(self, ident: str) -> None:
        """Begin to use the system's log."""
        import syslog

        syslog.openlog(ident, syslog.LOG_CONS, syslog.LOG_DAEMON)

    def syslog(self, priority: int, text: str) -> None:
        """Write a line to the system's log."""
        import syslog

        syslog.syslog(priority, os.fsencode(text).decode("utf-8", "replace"))

    def release(self) -> str:
        """Ask uname(2)."""
        return os.uname().release

    def cmdline(self) -> bytes:
        """Read /proc/cmdline."""
        return self.files.read("/proc/cmdline")

    def proc_modules(self) -> str:
        """Read /proc/modules."""
        return os.fsdecode(self.files.read("/proc/modules"))

    def module_attribute(self, name: str, attribute: str) -> str:
        """Read a file of /sys/module/NAME."""
        return os.fsdecode(self.files.read(f"/sys/module/{name}/{attribute}"))

    def has_module_directory(self, name: str) -> bool:
        """Look for /sys/module/NAME."""
        return os.path.isdir(self.files.real(f"/sys/module/{name}"))

    def module_holders(self, name: str) -> list[str]:
        """List /sys/module/NAME/holders."""
        return self.files.listdir(f"/sys/module/{name}/holders")

    def module_sections(self, name: str) -> list[str]:
        """List /sys/module/NAME/sections."""
        return self.files.listdir(f"/sys/module/{name}/sections")

    def compression(self) -> str:
        """Read /sys/module/compression; kernels before 6.4 and those without decompression have none."""
        try:
            return os.fsdecode(self.files.read("/sys/module/compression")).removesuffix("\n")
        except OSError:
            return ""

    def open_tree(self, dirname: str) -> Tree:
        """Read the tree below this machine's files."""
        archive = None if os.path.isdir(dirname) else self._archive(dirname)
        if archive is None:
            return Tree(dirname, self.files)
        from ukmod.kmod.tree import with_indexes

        return with_indexes(Tree(dirname, archive))

    def open_module(self, path: str) -> ModuleFile:
        """Open a file of this machine, or one in an archive."""
        try:
            return self.files.open_module(path)
        except NotADirectoryError:
            if (archive := self._archive(path)) is None:
                raise
            return archive.open_module(path)

    def _archive(self, path: str) -> Files | None:
        """Return the files of the archive that a path leads into; None if it leads into no regular file."""
        from ukmod.kmod.tree import archive_above

        root = archive_above(path)
        if root and root not in self._archives:
            from ukmod.kmod.archives import open_archive

            self._archives[root] = open_archive(root)
        return self._archives.get(root)

    def finit_module(self, file: ModuleFile, params: str, flags: int) -> None:
        """Load a file; ENOSYS if the file is compressed otherwise than the kernel wants."""
        if file.compression and not flags & INIT_COMPRESSED_FILE:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        libc = _libc()
        try:
            function = libc.finit_module
        except AttributeError:
            number = _NR_FINIT_MODULE.get(os.uname().machine, _NR_FINIT_MODULE_GENERIC)
            _check(libc.syscall(number, file.fileno(), os.fsencode(params), flags))
        else:
            _check(function(file.fileno(), os.fsencode(params), flags))

    def init_module(self, image: bytes, params: str) -> None:
        """Load an image."""
        import ctypes

        _check(_libc().init_module(image, ctypes.c_ulong(len(image)), os.fsencode(params)))

    def delete_module(self, name: str, flags: int) -> None:
        """Unload."""
        _check(_libc().delete_module(os.fsencode(name), flags))

    def system(self, command: str) -> int:
        """Run a shell command. It does not inherit that Python ignores SIGPIPE."""
        import signal

        try:
            before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        except ValueError:  # only the main thread may
            return os.system(command)  # noqa: S605 - install and remove commands are for the shell
        try:
            return os.system(command)  # noqa: S605 - as above
        finally:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN if before is None else before)

    def beside(self, work: Callable[[], T], /) -> Callable[[], T]:
        """Have a forked child do it, if this process has nothing to do but the tool."""
        if not self._ends:
            return work
        from ukmod.kmod.forks import Fork

        said: _Said = []
        child = Fork(lambda: self._keeping(work, said))

        def result() -> T:
            try:
                done: tuple[_Said, T] = child.receive()
            except BaseException:
                self._write(said)  # it was done here, and failed
                raise
            child.close()
            self._write(done[0])
            return done[1]

        return result

    def _keeping(self, work: Callable[[], T], said: _Said) -> Generator[tuple[_Said, T], None, None]:
        """Do the work; yield what it wrote, and its result."""
        streams = self.stdout, self.stderr
        self.stdout, self.stderr = _Kept("stdout", said), _Kept("stderr", said)
        try:
            value = work()
        finally:
            self.stdout, self.stderr = streams
        yield said, value

    def _write(self, said: _Said) -> None:
        for stream, text in said:
            (self.stdout if stream == "stdout" else self.stderr).write(text)

    def leave(self, status: int) -> None:
        """End a process that has only this tool to run: freeing depmod's objects one by one takes 20 ms."""
        if self._ends:
            self.stdout.flush()
            end_process(status)

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def end_process(status: int) -> NoReturn:
    """End the process without freeing what it made, which the system does faster.

    What Python does at its end is done first: exit functions run, and what was printed is written.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - there is no public name
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # full, closed, or None
    os._exit(status)


def _libc() -> ctypes.CDLL:
    """Return the process's own symbols: the C library and whatever was preloaded over it."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "this is not Linux: there is no kernel that could load a module")
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result < 0:
        import ctypes

        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
