"""ukmod.Kernel: a machine to load modules into, from Python.

::

    with ukmod.Kernel(tree="/lib/modules/6.1.0-56-amd64") as k:
        k.insmod("signal_handling.ko", "level=3")
        k.run(5)
        print(k.dmesg())
        k.rmmod("signal_handling")
        assert not k.leaks()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from errno import EFAULT, ENOENT, ETIMEDOUT
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from ukmod.errors import LimitError, LoadError, NotFoundError, UsageError
from ukmod.kernel.boot import (
    Configuration,
    boot,
    checked_hz,
    checked_memory,
    checked_patience,
    checked_root,
    checked_seconds,
    image_named,
    modules_of_image,
)
from ukmod.kernel.calling import INFER, Argument, call, signature_of
from ukmod.kernel.core import Core
from ukmod.kernel.failures import Attempt
from ukmod.kernel.finished import Finished, modprobe_error
from ukmod.kernel.image.choice import AUTO, Need, need_of_symbols
from ukmod.kernel.limits import MEMORY, PATIENCE, WAIT
from ukmod.kernel.mm.kasan import Report
from ukmod.kernel.mm.slab import Leak
from ukmod.kernel.mocks import Mock, add, check, mock
from ukmod.kernel.module.dangling import Dangling
from ukmod.kernel.module.load import load_module
from ukmod.kernel.module.main import Module
from ukmod.kernel.module.pending import thread
from ukmod.kernel.module.pointers import is_current
from ukmod.kernel.module.unload import delete_module
from ukmod.kernel.oops import Oops, Warn
from ukmod.kernel.printk import Record
from ukmod.kernel.sched.core import Task
from ukmod.kernel.search import ModuleSearch
from ukmod.kernel.trace import Request
from ukmod.kernel.trees import (
    Loadable,
    ModuleSource,
    elves,
    module_files,
    modules_of,
    read_module_file,
    tree_of_root,
)
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.tree import Tree
from ukmod.machine.types import Types
from ukmod.userland import Process, Program, Programs
from ukmod.userland.modprobe import modprobe

if TYPE_CHECKING:
    from ukmod.kernel.user.file import UserFile
    from ukmod.kernel.user.identity import ProcessIdentity
    from ukmod.kernel.user.netdev import UserNetDevice
    from ukmod.kernel.user.process import UserProcess
    from ukmod.kernel.user.program import Completed
    from ukmod.kernel.user.socket import UserSocket

DEFERRED: Final = 400.0
"""Virtual seconds after which no deferred work is left.

The longest known delay is IMA's: for five minutes after boot it keeps keys for a policy that may still be
loaded.
"""
T = TypeVar("T")
_SYSCTL: Final = str.maketrans("./", "/.")
_OOPSED: Final = "the call ended in an oops: see dmesg"
F = TypeVar("F", bound=Callable[..., Any])


class Kernel:
    """A kernel to load modules into, which boots when the first module is known.

    That module determines the kernel: struct layouts come from ``btf`` or ``image``, from a shipped profile
    of exactly that kernel, or from the module's own debugging information.

    tree: the modules for modprobe: a ``Tree``, a /lib/modules/<release> directory, or any directory of .ko
    files. By default it is the tree of the first module loaded from a file: the indexed lib/modules/<release>
    that contains it, or else its directory. What that lacks comes from the modules of ``image``, if that is
    named by its release.
    btf: a file with the kernel's BTF (/sys/kernel/btf/vmlinux).
    image: its vmlinuz, whose code runs what Python does not implement, or the name of a kernel on this
    machine, such as "6.12" or "6.12-rt" (see ``ukmod kernel list``); "none" or None for no image. With
    "auto", the default, an image is used only if a module needs one. It is found by vermagic below the
    root of the module's tree, in /boot and in /lib/modules, and among the kernels that ``ukmod kernel
    fetch`` got. This is decided once, at boot, from the modules passed to insmod(), modprobe() or boot()
    and their dependencies; without any, the image of the tree's kernel is used if there is one. ``need``
    tells the decision. An image takes seconds to bring up for the first time, and a tenth of a second
    from its snapshot.
    release: ``uname -r``; by default that of the kernel the first module was built for.
    hz: CONFIG_HZ of that kernel, 1 to 10,000.
    memory: the size of RAM in bytes.
    realtime: virtual time passes no faster than real time.
    seed: runnable tasks run in random order, reproducibly, instead of in turn.
    cmdline: the kernel's command line.
    patience: the seconds of the host's CPU time that one call, such as insmod() or run(), may take. Then the
    machine stops, with PatienceError, and the log says where the guest was.
    strict_modprobe: /sbin/modprobe behaves exactly like kmod's; by default a request may contain parameters,
    as in request_module("send_signal level=3").
    snapshot: save the initialised image in the user's cache, and start from it the next time.
    root: the files that the root file system begins with: a directory, or an archive (cpio, packed or not,
    tar, a unified kernel image, .deb, .rpm). They are copied into the machine, which writes to its own memory
    only. The modules in a directory are the tree, if none is given. A root needs an image.

    Raises UsageError for an invalid value, NotFoundError for a tree or a kernel that does not exist, and
    FormatError for an image that is not a kernel.
    """

    def __init__(
        self,
        *,
        tree: Tree | str | os.PathLike[str] | None = None,
        btf: str | os.PathLike[str] | None = None,
        image: str | os.PathLike[str] | None = AUTO,
        types: Types | None = None,
        release: str = "",
        hz: int = 250,
        memory: int = MEMORY,
        realtime: bool = False,
        seed: int | None = None,
        cmdline: str = "",
        patience: float = PATIENCE,
        strict_modprobe: bool = False,
        snapshot: bool = True,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self._root = checked_root(root, image)
        if tree is None and self._root is not None:
            tree = tree_of_root(self._root)
        modules = modules_of_image(image) if tree is None else ""
        self._search = ModuleSearch(tree, modules, lambda: self.modules)
        self.programs = Programs()
        """The programs that usermode helpers can execute, by path."""
        program = modprobe(self._search.tree_for, parameters=not strict_modprobe)
        for path in ("/sbin/modprobe", "/usr/sbin/modprobe"):
            self.programs.install(path, program)
        for path in ("/bin/sh", "/usr/bin/sh"):
            self.programs.install(path, _sh)
        options = {"hz": checked_hz(hz), "memory": checked_memory(memory), "release": release}
        self._wanted = Configuration(
            image=image_named(image),
            btf=os.fspath(btf) if btf is not None else None,
            types=types,
            options={**options, "cmdline": cmdline},
            keep=snapshot,
            root=root is not None,
        )
        self._user: dict[str, Any] = {
            "realtime": realtime,
            "seed": seed,
            "patience": checked_patience(patience),
        }
        self.need: Need | None = None
        """Why the modules for which this kernel was booted need an image, and the image found, if any.

        None if they need none, or if ``image`` is not "auto".
        """
        self._core: Core | None = None
        self._process: UserProcess | None = None
        self._mocks: list[Mock] = []
        self._sysctls: dict[str, str] = {}
        self._listeners: list[Callable[[Record], None]] = []

    # -- life -----------------------------------------------------------------------------------------

    def _boot(self, modules: Sequence[Loadable], *, programs: bool = False) -> Core:
        known = elves(file for one in modules for file in (*one.needs, one.file))
        booted = boot(self._wanted, known, lambda: self.tree, self._mocks, programs=programs)
        self.need, core = booted.need, booted.core
        core.begin(self.programs, **self._user)
        self._core = core
        for name, value in self._sysctls.items():
            self._sysctl(core, name, value)
        for listener in self._listeners:
            core.log.on_record.append(listener)
        if self._root is not None:
            self._begin_processes(core)
        return core

    def boot(self, modules: Iterable[ModuleSource | Loadable] = (), *, programs: bool = False) -> Core:
        """Boot now, as the kernel for which these modules (or the tree's) were built.

        It boots with their image if they or their dependencies need one, or if ``programs`` are to run.
        Raises LayoutError if that kernel's struct layouts are not known, FormatError for a file that is not
        an ELF file.
        """
        if self._core is not None:
            return self._core
        opened = self.open_modules(modules)
        for one in opened:
            one.file.elf()  # what is not a module does not tell which kernel this is to be
        return self._boot(opened, programs=programs)

    def open_modules(
        self, modules: Iterable[ModuleSource | Loadable], *, dependencies: bool = True
    ) -> list[Loadable]:
        """Read modules and their dependencies, each file once; boot() and insmod() take the results.

        ``dependencies=False`` leaves dependencies out. Raises NotFoundError for a file that cannot be read.
        """
        return self._search.open(modules, dependencies=dependencies)

    @property
    def tree(self) -> Tree | None:
        """The tree for modprobe; None if none was given and no module has been loaded from a file."""
        return self._search.tree

    @tree.setter
    def tree(self, tree: Tree | None) -> None:
        self._search.tree = tree

    @property
    def patience(self) -> float:
        """The seconds of the host's CPU time that one call, such as insmod() or run(), may take."""
        patience: float = self._user["patience"]
        return patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._user["patience"] = checked_patience(seconds)
        if self._core is not None:
            self._core.patience = seconds

    @property
    def core(self) -> Core:
        """The kernel itself, with all its parts; boots it if necessary."""
        return self._core or self.boot()

    def close(self) -> None:
        """Shut the machine down. A last log line without a newline is first passed to the log's listeners."""
        self._process = None
        if self._core is not None:
            self._core.log.flush()
            self._core.close()
            self._core = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- modules --------------------------------------------------------------------------------------

    def insmod(
        self, module: ModuleSource | Loadable, params: str = "", *, flags: int = 0, dependencies: bool = True
    ) -> Module:
        """Load a module: its path, its bytes, its open ``ModuleFile``, or what ``open_modules`` returned.

        Dependencies that are not loaded yet are loaded first, from the tree or, if none was given, from the
        file's directory. ``dependencies=False`` loads only the module itself, like insmod(8). ``flags`` are
        those of finit_module(2).

        Raises NotFoundError for a file that cannot be read, LoadError with the kernel's errno if the module
        or a dependency is refused; the kernel's own message is in ``dmesg()``.
        """
        (one,) = self.open_modules([module], dependencies=dependencies)
        if self._core is None and self._wanted.image in (AUTO, None):
            one.file.elf()  # if it is not one, nothing tells which kernel this is to be: that is why
        core = self._core or self._boot([one])
        for file in one.needs if dependencies else ():
            if modname_from_path(file.path) not in self.modules:
                self._load(core, file, "", 0)
        try:
            return self._load(core, one.file, params, flags)
        except LoadError as error:
            if error.errno == ENOENT and (hint := self._hint(one.file)):
                error.add_note(hint)
            raise

    def _load(self, core: Core, file: ModuleFile, params: str, flags: int) -> Module:
        return self._in_task(
            "insmod",
            lambda: load_module(core, file, params, flags=flags),
            died="its init function did not return: see dmesg",
            subject=file.path,
        )

    def _hint(self, module: ModuleFile) -> str:
        """A hint on how to resolve a missing symbol; empty if none is known."""
        core = self.core
        if self._wanted.image != AUTO or core.image is not None:
            return ""
        need = need_of_symbols(core.symbols, elves([module]), lambda: self.tree, ())
        if need is None or need.image is None:
            return str(need or "")
        text = "the kernel has booted without an image, for the first module needed none"
        return (
            f"{need.what}; {text}: give Kernel(image={need.image!r}), or name this module in boot() as well"
        )

    def rmmod(self, name: str, *, flags: int = 0) -> None:
        """Unload a module, whose name may contain dashes or underscores, as rmmod does.

        Raises LoadError with the kernel's errno; EFAULT if its exit function ended in an oops, after which
        the module remains.
        """
        name = name.replace("-", "_")
        self._in_task(
            "rmmod",
            lambda: delete_module(self.core, name, flags),
            died="its exit function did not return: see dmesg",
            subject=name,
        )

    def modprobe(self, *arguments: str, check: bool = True) -> Finished:
        """Run modprobe with these arguments, as a process of this kernel.

        Raises LoadError if it fails; with ``check=False`` it returns the status and output instead.
        """
        if self._core is None and self.tree is not None:
            words = [word.replace("-", "_") for word in arguments if not word.startswith("-")]
            files = dict.fromkeys(file for word in words for file in module_files(self.tree, word))
            self._boot([Loadable(read_module_file(file)) for file in files])
        finished = self.execute("/sbin/modprobe", *arguments)
        if check and finished.status:
            raise modprobe_error(arguments, finished)
        return finished

    def execute(self, path: str, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run one of the machine's programs as a process; the caller must check its status.

        Raises NotFoundError if there is no such program; LoadError with ETIMEDOUT if it does not end, with
        ENOMEM or EAGAIN if the machine can have no further process.
        """
        core = self.core
        output: list[str] = []
        try:
            program = self.programs.exec(path)
        except OSError as error:
            raise NotFoundError("no such program in the machine", subject=path) from error

        def main(process: Process) -> int:
            process.output = output
            return program(process)

        environment = {"HOME": "/", "PATH": "/sbin:/usr/sbin:/bin:/usr/bin", **(env or {})}
        task = self._run_task(
            path.rpartition("/")[2],
            lambda: core.processes.execve(main, path, (path, *arguments), environment),
            subject=path,
        )
        if not task.exited:
            raise LoadError(f"has not ended after {WAIT:g} seconds", errno=ETIMEDOUT, subject=path)
        signal = task.exit_code & 0x7F
        return Finished(128 + signal if signal else task.exit_code >> 8, "".join(output))

    def start(self, comm: str, work: Callable[[Core], object]) -> Task:
        """Start a process that runs ``work`` and return at once; it runs when the machine next runs."""
        core = self.core

        def entry() -> int:
            work(core)
            return 0

        return core.processes.fork(comm, entry)

    def _in_task(self, comm: str, work: Callable[[], T], *, died: str, subject: str) -> T:
        """Run ``work`` in a process and return its result; its exceptions are raised here.

        Raises LoadError with the text ``died`` if the process ended in an oops or by a signal.
        """

        def program() -> T:
            self.core.processes.enter_mm()
            return work()

        attempt = Attempt(self.core, program)
        task = self._run_task(comm, attempt, subject=subject)
        if not task.exited and not attempt.has_failed:
            text = f"{comm} has not returned: it waits for something that does not happen"
            raise LoadError(text, errno=ETIMEDOUT, subject=subject)
        if not attempt.ended:
            raise LoadError(died, errno=EFAULT, subject=subject)
        return attempt.result()

    def _run_task(self, comm: str, entry: Callable[[], int], *, subject: str) -> Task:
        """Run ``entry`` in a new process, which is left as it is if it does not end.

        Raises LoadError with fork()'s errno if the machine can have no further process.
        """
        try:
            task = self.core.start(comm, entry)
        except LimitError as error:
            text = f"{comm} cannot be started: {error}"
            raise LoadError(text, errno=error.errno, subject=subject) from error
        self.core.wait_for(task, limit=WAIT)
        return task

    @property
    def modules(self) -> dict[str, Module]:
        """The loaded modules by name, latest first."""
        return {module.name: module for module in self.core.modules} if self._core else {}

    def run(self, seconds: float) -> None:
        """Let ``seconds`` of virtual time pass. Raises UsageError for a time that cannot pass."""
        self.core.run(checked_seconds(seconds))

    def settle(self) -> None:
        """Let enough virtual time pass for all work deferred to RCU, work queues and timers to finish.

        This never waits in real time, even if ``realtime`` is set.
        """
        clock = self.core.clock
        realtime = clock.realtime
        clock.begin(realtime=False)
        try:
            self.core.run(DEFERRED)
        finally:
            clock.begin(realtime=realtime)

    # -- looking --------------------------------------------------------------------------------------

    def dmesg(self, *, raw: bool = False) -> str:
        """The kernel log as printed by dmesg, or with levels (``raw``) by dmesg -r."""
        return self._core.log.dmesg(raw=raw) if self._core else ""

    def on_record(self, listener: Callable[[Record], None]) -> None:
        """Call ``listener(record)`` for each line of the log as it is printed."""
        self._listeners.append(listener)
        if self._core is not None:
            self._core.log.on_record.append(listener)

    @property
    def requests(self) -> Sequence[Request]:
        """Every request_module() that has returned: its caller, the requested name and the result."""
        return self._core.trace.requests if self._core else ()

    def leaks(self) -> Sequence[Leak]:
        """Memory that unloaded modules allocated and that has not been freed, by allocation site.

        Memory whose freeing was left to a work queue or timer needs time: see ``settle``. Memory that a
        kernel allocates once, for its first user, looks like a leak too; a second cycle would not add to it.
        What the file systems remember of files that were used is dropped first.
        """
        if self._process is not None:
            self._drop_dentries()
        return tuple(self._core.slab.left_behind()) if self._core else ()

    def _drop_dentries(self) -> None:
        from ukmod.kernel.user.caches import drop_dentries

        core = self.core
        if (image := core.image) is not None:
            self._in_task("sh", lambda: drop_dentries(core, image), died=_OOPSED, subject="drop_caches")

    @property
    def dangling(self) -> Sequence[Dangling]:
        """Everything that unloaded modules left behind for the kernel to use.

        Threads that were not stopped; timers, work and callbacks that were pending when an exit function
        returned; and pointers to the module's memory: a notifier, an interrupt handler or a file that is
        still registered.
        """
        if self._core is None:
            return ()
        core = self._core
        left = [thread(core, task) for task in self.threads if task.owner not in self.modules]
        known = {one.target for one in core.dangling}
        return (
            *(one for one in core.dangling if is_current(core, one)),
            *(one for one in left if one.target not in known),
        )

    @property
    def oopses(self) -> Sequence[Oops]:
        """Oops reports, in order."""
        return tuple(self._core.oopses) if self._core else ()

    @property
    def warnings(self) -> Sequence[Warn]:
        """WARN() and WARN_ON() reports, and soft lockups, in order."""
        return tuple(self._core.warnings) if self._core else ()

    @property
    def reports(self) -> Sequence[Report]:
        """Detected misuse of memory: use after free, out of bounds, double free."""
        return tuple(self._core.reports) if self._core else ()

    @property
    def threads(self) -> Sequence[Task]:
        """Kernel threads started by modules that have not ended."""
        return tuple(task for task in self._core.kthreads.running() if task.owner) if self._core else ()

    def read(self, path: str) -> str:
        """Read a file. Raises OSError, and LoadError if that ended in an oops.

        Files of /proc and /sys that this kernel keeps itself, as those of modules, need no image.
        """
        if self._is_own(path):
            return self._in_task("cat", lambda: self.core.procfs.read(path), died=_OOPSED, subject=path)
        return self.process.read(path).decode("utf-8", "surrogateescape")

    def write(self, path: str, text: str) -> None:
        """Write to a file: see ``read``."""
        if self._is_own(path):
            self._in_task("sh", lambda: self.core.procfs.write(path, text), died=_OOPSED, subject=path)
            return
        self.process.write(path, text.encode("utf-8", "surrogateescape"))

    def _is_own(self, path: str) -> bool:
        """True for a file that Python serves: with an image, only what it keeps itself."""
        core = self.core
        return core.procfs.has(path) or (core.image is None and path.startswith(("/proc/", "/sys/")))

    def sysctl(self, name: str, value: str | None = None) -> str:
        """Return a sysctl's value, after setting it to ``value`` if given:

        ``k.sysctl("kernel.modprobe", "")``. With an image, all files of /proc/sys are sysctls. As with
        sysctl(8), a dot in a file's name is written as a slash.

        Raises UsageError if there is none of that name, and OSError if the kernel refuses a value.
        """
        if value is not None and self._core is None:
            self._sysctls[name] = value
            return value
        return self._sysctl(self.core, name, value)

    def _sysctl(self, core: Core, name: str, value: str | None = None) -> str:
        if core.image is None or name in core.sysctl:
            if value is not None:
                core.sysctl[name] = value
            return core.sysctl[name]
        path = f"/proc/sys/{name.translate(_SYSCTL)}"
        try:
            if value is not None:
                self.process.write(path, value.encode())
            return self.process.read(path).decode("utf-8", "surrogateescape").rstrip("\n")
        except FileNotFoundError as error:
            raise UsageError("no such sysctl", subject=name) from error

    # -- the user's side ------------------------------------------------------------------------------

    @property
    def process(self) -> UserProcess:
        """The process that makes this object's system calls, root's; a new one if the last one was killed.

        The first one finds /dev, /proc, /sys and others mounted. Raises UsageError without an image.
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

        self._process = first_process(core, self._root)
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
        return process(core, work, self._identity(uid, gid, caps))

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

        Raises OSError if it cannot be executed, TimeoutError if it has not ended in time and was killed, and
        UsageError without an image.
        """
        from ukmod.kernel.user.program import run_program

        core, identity = self.process.core, self._identity(uid, gid, caps)
        return run_program(core, argv, stdin=stdin, env=env, timeout=timeout, identity=identity)

    @staticmethod
    def _identity(uid: int, gid: int | None, caps: Collection[int] | None) -> ProcessIdentity:
        from ukmod.kernel.user.identity import ProcessIdentity

        return ProcessIdentity(uid, uid if gid is None else gid, caps)

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

    def mknod(self, path: str, mode: int, device: int = 0) -> None:
        """mknod(2), by root: see UserProcess.mknod. Raises OSError."""
        self.process.mknod(path, mode, device)

    def mkdir(self, path: str, permissions: int = 0o777) -> None:
        """mkdir(2), by root. Raises OSError."""
        self.process.mkdir(path, permissions)

    def symlink(self, target: str, path: str) -> None:
        """symlink(2), by root. Raises OSError."""
        self.process.symlink(target, path)

    def mount(self, source: str, target: str, filesystem: str, *, flags: int = 0, options: str = "") -> None:
        """mount(2), by root: see UserProcess.mount. The kernel may load a module for it. Raises OSError."""
        self.process.mount(source, target, filesystem, flags=flags, options=options)

    def umount(self, target: str, *, flags: int = 0) -> None:
        """umount2(2), by root. Raises OSError."""
        self.process.umount(target, flags=flags)

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

    # -- functions ------------------------------------------------------------------------------------

    @overload
    def export(self, function: F, /, *, name: str = "", gpl: bool = False, new: bool = False) -> F: ...
    @overload
    def export(self, /, *, name: str = "", gpl: bool = False, new: bool = False) -> Callable[[F], F]: ...
    def export(
        self, function: F | None = None, /, *, name: str = "", gpl: bool = False, new: bool = False
    ) -> F | Callable[[F], F]:
        """Export a Python function to modules loaded later, replacing the kernel's function of that name.

        Use it as ``k.export(function)``, ``@k.export`` or ``@k.export(gpl=True)``. The function's parameters
        and result are annotated with C types (``ukmod.Int``, ``ukmod.Ptr``, ``ukmod.CStr``, ...). It may
        sleep and call guest functions. ``gpl``: EXPORT_SYMBOL_GPL. ``new``: the name is new; no kernel has
        this function.

        Raises UsageError if a parameter has no type or not a C type, NotFoundError if neither the kernel nor
        a module has such a function. Before the kernel has booted, insmod() or boot() raises the latter.
        """
        if function is None:
            return lambda decorated: self.export(decorated, name=name, gpl=gpl, new=new)
        one = mock(function, name=name, gpl=gpl, new=new)
        if self._core is not None:
            check(self._core, [one], lambda: modules_of(self.tree))
            add(self._core, [one])
        self._mocks.append(one)
        return function

    def install(self, path: str, program: Program | None) -> None:
        """Install a program that usermode helpers can execute;

        None installs a file that is not executable.
        """
        self.programs.install(path, program)

    def call(self, symbol: str | int, *arguments: Argument, returns: Any = INFER) -> Any:
        """Call a function of a module or of the kernel, by name or address, in its own process.

        Integers, pointers, enums and bools are passed as int; None is NULL. ``str`` and ``bytes`` are passed
        as ``char *`` to a copy that exists during the call; ``bytes`` for a parameter that is a struct are
        passed by value. The result is an int, a bool, or bytes for ``char *`` (None for NULL) or a struct.
        ``returns`` is its C type: ``ukmod.Int`` and the like, or any C name (``"unsigned long"``,
        ``"__kernel_size_t"``, ``"enum irqreturn"``); None for void. The default is the type in the debugging
        information, or int if there is none.

        Raises NotFoundError if there is no such symbol, UsageError if the arguments do not match the function
        or the type does not exist, LoadError if the call ended in an oops.
        """
        core = self.core
        address = self.address(symbol) if isinstance(symbol, str) else symbol
        name = symbol.rpartition(":")[2] if isinstance(symbol, str) else hex(symbol)
        signature = signature_of(core, name, returns)
        return self._in_task(
            "python",
            lambda: call(core, name, address, signature, arguments),
            died=_OOPSED,
            subject=str(symbol),
        )

    def address(self, symbol: str) -> int:
        """The address of an exported symbol, or of any function of a module.

        ``module:function`` names a function that is not exported. Raises NotFoundError.
        """
        core = self.core
        module_name, _, name = symbol.rpartition(":")
        if not module_name and (found := core.modules.find_symbol(name)) is not None:
            return found.address
        for module in core.modules:
            if module_name in ("", module.name):
                names = module.layout.symbol_names
                if name in names:
                    return module.layout.symbol_starts[names.index(name)]
        text = "no such symbol in the kernel or in any loaded module"
        raise NotFoundError(text, subject=symbol)


def _sh(process: Process) -> int:
    """/bin/sh, which few runs start."""
    from ukmod.userland.shell import sh

    return sh(process)
