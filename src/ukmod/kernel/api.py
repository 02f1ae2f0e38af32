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
from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import ENOENT
from typing import Any, Final, Self, TypeVar, overload

from ukmod.errors import LoadError, UsageError
from ukmod.kernel.attempt import execute, in_process
from ukmod.kernel.boot import (
    Configuration,
    boot,
    checked_helpers,
    checked_hz,
    checked_memory,
    checked_patience,
    checked_root,
    checked_seconds,
    image_named,
    modules_of_image,
)
from ukmod.kernel.calling import INFER, Argument, address_of, call, signature_of
from ukmod.kernel.core import Core
from ukmod.kernel.finished import Finished, modprobe_error
from ukmod.kernel.image.choice import AUTO, Need, need_of_symbols
from ukmod.kernel.limits import MEMORY, PATIENCE
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
from ukmod.kernel.user.side import UserSide
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.tree import Tree
from ukmod.machine.types import Types
from ukmod.userland import Process, Program, Programs
from ukmod.userland.modprobe import modprobe

DEFERRED: Final = 400.0
"""Virtual seconds after which no deferred work is left.

The longest known delay is IMA's: for five minutes after boot it keeps keys for a policy that may still be
loaded.
"""
T = TypeVar("T")
_SYSCTL: Final = str.maketrans("./", "/.")
F = TypeVar("F", bound=Callable[..., Any])


class Kernel(UserSide):
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
    only. The modules in it are the tree, if none is given. A root needs an image.
    root_helpers: the programs that the kernel starts, /sbin/modprobe among them, are the root's own, in ring
    3. By default modprobe and sh are ours. In either case, ``install`` puts a program before the root's.
    init: nothing is mounted, because ``run_init`` starts the root's own init, which does that. The programs
    that the kernel starts are the root's then, too.

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
        root_helpers: bool = False,
        init: bool = False,
    ) -> None:
        super().__init__(checked_root(root, image), has_init=init)
        if tree is None and self._root is not None:
            tree = tree_of_root(self._root)
        modules = modules_of_image(image) if tree is None else ""
        self._search = ModuleSearch(tree, modules, lambda: self.modules)
        self.programs = Programs()
        """The programs that usermode helpers can execute, by path."""
        if not checked_helpers(self._root, of_root=root_helpers or init):
            program = modprobe(self._search.tree_for, parameters=not strict_modprobe)
            for path in ("/sbin/modprobe", "/usr/sbin/modprobe"):
                self.programs.install(path, program)
            for path in ("/bin/sh", "/usr/bin/sh"):
                self.programs.install(path, _sh)
        options = {"hz": checked_hz(hz), "memory": checked_memory(memory), "release": release}
        self._wanted = Configuration(
            image=image_named(image, self.tree),
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
        return in_process(
            core,
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
        in_process(
            self.core,
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
            self._boot([Loadable(read_module_file(file, self.tree)) for file in files])
        finished = self.execute("/sbin/modprobe", *arguments)
        if check and finished.status:
            raise modprobe_error(arguments, finished)
        return finished

    def execute(self, path: str, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run one of the machine's programs as a process; the caller must check its status.

        The program is one that was installed, or else one of the root file system. Raises NotFoundError if
        there is none; LoadError with ETIMEDOUT if it does not end, with ENOMEM or EAGAIN if the machine can
        have no further process.
        """
        core = self.core
        if core.processes.has_files and not self.programs.has(path):
            return self._execute_file(path, arguments, env)
        return execute(core, self.programs, path, arguments, env)

    def start(self, comm: str, work: Callable[[Core], object]) -> Task:
        """Start a process that runs ``work`` and return at once; it runs when the machine next runs."""
        core = self.core

        def entry() -> int:
            work(core)
            return 0

        return core.processes.fork(comm, entry)

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
            self._drop_caches()
        return tuple(self._core.slab.left_behind()) if self._core else ()

    def _drop_caches(self) -> None:
        from ukmod.kernel.user.caches import drop_caches

        core = self.core
        if (image := core.image) is not None:
            in_process(core, "sh", lambda: drop_caches(core, image), subject="drop_caches")

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
            return in_process(self.core, "cat", lambda: self.core.procfs.read(path), subject=path)
        return self.process.read(path).decode("utf-8", "surrogateescape")

    def write(self, path: str, text: str) -> None:
        """Write to a file: see ``read``."""
        if self._is_own(path):
            in_process(self.core, "sh", lambda: self.core.procfs.write(path, text), subject=path)
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
                self.process.write(path, f"{value}\n".encode())
            return self.process.read(path).decode("utf-8", "surrogateescape").rstrip("\n")
        except FileNotFoundError as error:
            raise UsageError("no such sysctl", subject=name) from error

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
        return in_process(
            core,
            "python",
            lambda: call(core, name, address, signature, arguments),
            subject=str(symbol),
        )

    def address(self, symbol: str) -> int:
        """The address of an exported symbol, or of any function of a module.

        ``module:function`` names a function that is not exported. Raises NotFoundError.
        """
        return address_of(self.core, symbol)


def _sh(process: Process) -> int:
    """/bin/sh, which few runs start."""
    from ukmod.userland.shell import sh

    return sh(process)
