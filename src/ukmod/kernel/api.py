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
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import EFAULT, ENOENT, ETIMEDOUT
from typing import Any, Final, Self, TypeVar, overload

from ukmod.errors import LoadError, NotFoundError, UkmodError
from ukmod.kernel.boot import (
    Configuration,
    boot,
    checked_hz,
    checked_memory,
    checked_seconds,
    image_named,
)
from ukmod.kernel.calling import INFER, Argument, call, signature_of
from ukmod.kernel.core import Kernel as Core
from ukmod.kernel.finished import Finished, modprobe_error
from ukmod.kernel.image.choice import AUTO, Need, need_of_symbols
from ukmod.kernel.mm.kasan import Report
from ukmod.kernel.mm.slab import Leak
from ukmod.kernel.mocks import Mock, add, check, mock
from ukmod.kernel.module.load import load_module
from ukmod.kernel.module.main import Module
from ukmod.kernel.module.unload import delete_module
from ukmod.kernel.oops import Oops, Warn
from ukmod.kernel.printk import Record
from ukmod.kernel.sched.core import Task
from ukmod.kernel.trace import Request
from ukmod.kernel.trees import (
    depends,
    module_files,
    modules_of,
    needed_files,
    open_tree,
    read_module_file,
    tree_beside,
    try_elf,
)
from ukmod.kmod.elf import Elf
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.tree import Tree
from ukmod.machine.memory import Fault
from ukmod.machine.types import Types
from ukmod.userland import Process, Program, Programs
from ukmod.userland.modprobe import modprobe
from ukmod.userland.shell import sh

DEFERRED: Final = 400.0
"""Virtual seconds after which nothing is deferred any more. The longest known: IMA keeps the keys that it has
seen for five minutes after booting, for a policy that may come."""
T = TypeVar("T")
_OOPSED: Final = "the call ended in an oops: see dmesg"
F = TypeVar("F", bound=Callable[..., Any])


class Kernel:
    """A kernel to load modules into. It boots when the first module is known, for that tells which kernel it
    is to be: struct layouts come from ``btf`` or ``image``, a shipped profile of that very kernel, or the
    module's own debug information.

    tree: what modprobe loads from: a ``Tree``, a /lib/modules/<release> directory, or any directory of .ko's.
    By default it is what lies beside the first module that is loaded from a file: the indexed
    lib/modules/<release> that the file is in, or else its directory.
    btf: a file with the kernel's BTF (/sys/kernel/btf/vmlinux).
    image: its vmlinuz, whose code then runs what Python does not implement; "none" or None for no image.
    "auto", the default, takes the one that is found, by vermagic, below the root of the module's tree, in
    /boot and in /lib/modules, if a module needs it. That is decided once, when the kernel boots, by the
    modules that are then to be loaded, with their dependencies: those given to insmod(), modprobe() or
    boot(). Without any it is the image of the tree's kernel, if there is one. ``need`` says what was decided.
    An image takes seconds to bring up for the first time, and a tenth of a second from its snapshot.
    release: ``uname -r``; by default what the first module was built for.
    hz: CONFIG_HZ of that kernel, 1 to 10,000.
    memory: bytes of RAM at most.
    realtime: virtual time passes no faster than real time.
    seed: runnable tasks take turns at random, reproducibly, instead of in order.
    cmdline: the kernel's command line.
    strict_modprobe: /sbin/modprobe behaves exactly as kmod's; by default a request may carry parameters, as
    in request_module("send_signal level=3").
    snapshot: keep what bringing up an image comes to in the user's cache, and begin with it the next time.

    Raises UsageError for a value that makes no sense, NotFoundError for a tree that does not exist, and
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
        memory: int = 1 << 30,
        realtime: bool = False,
        seed: int | None = None,
        cmdline: str = "",
        strict_modprobe: bool = False,
        snapshot: bool = True,
    ) -> None:
        self._tree = tree if isinstance(tree, Tree) or tree is None else open_tree(tree)
        self._trees: dict[str, Tree | None] = {}
        """The trees that modules' files are in, by directory."""
        self._beside: str | None = None
        """The first module that was loaded from a file: what lies beside it is the tree if none was given."""
        self.programs = Programs()
        """What a usermode helper can execute, by path."""
        program = modprobe(lambda: self.tree, parameters=not strict_modprobe)
        for path in ("/sbin/modprobe", "/usr/sbin/modprobe"):
            self.programs.install(path, program)
        for path in ("/bin/sh", "/usr/bin/sh"):
            self.programs.install(path, sh)
        options = {"hz": checked_hz(hz), "memory": checked_memory(memory), "release": release}
        self._wanted = Configuration(
            image=image_named(image),
            btf=os.fspath(btf) if btf is not None else None,
            types=types,
            options={**options, "cmdline": cmdline},
            keep=snapshot,
        )
        self._user: dict[str, Any] = {"realtime": realtime, "seed": seed}
        self.need: Need | None = None
        """Why the modules that this kernel booted for need an image, and the one that was found, if there is;
        None if they need none, or if it is not "auto"."""
        self.patience = 300.0
        """Virtual seconds that insmod(), rmmod() and call() wait for what they began."""
        self._core: Core | None = None
        self._mocks: list[Mock] = []
        self._sysctls: dict[str, str] = {}
        self._listeners: list[Callable[[Record], None]] = []

    # -- life -----------------------------------------------------------------------------------------

    def _boot(self, modules: Sequence[Elf]) -> Core:
        booted = boot(self._wanted, modules, lambda: self.tree, self._mocks)
        self.need, core = booted.need, booted.core
        core.begin(self.programs, **self._user)
        self._core = core
        for name, value in self._sysctls.items():
            core.sysctl[name] = value
        for listener in self._listeners:
            core.log.on_record.append(listener)
        return core

    def boot(self, modules: Iterable[str | os.PathLike[str]] = ()) -> Core:
        """Boot now, as the kernel that these module files (or the tree's) were built for, with their image if
        they need one.

        Raises LayoutError if nothing tells that kernel's struct layouts.
        """
        if self._core is not None:
            return self._core
        paths = [os.fspath(path) for path in modules]
        self._beside = self._beside or next(iter(paths), None)
        return self._boot([Elf(read_module_file(path), path) for path in paths])

    @property
    def tree(self) -> Tree | None:
        """What modprobe loads from; None if none was given and no module has been loaded from a file."""
        if self._tree is None and self._beside is not None:
            self._tree = self._tree_beside(self._beside)
        return self._tree

    @tree.setter
    def tree(self, tree: Tree | None) -> None:
        self._tree = tree

    @property
    def core(self) -> Core:
        """The kernel itself, with all its parts. Boots it if need be."""
        return self._core or self.boot()

    def close(self) -> None:
        """Take the machine down. Listeners of its log are first given a last line that has no newline."""
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
        self,
        module: str | os.PathLike[str] | bytes,
        params: str = "",
        *,
        flags: int = 0,
        dependencies: bool = True,
    ) -> Module:
        """Load a module from a file (compressed or not) or its bytes.

        The modules that it depends on and that are not loaded yet are loaded first: from the tree, or, if
        none was given, from beside the file. ``dependencies=False`` does without, as insmod(8) does.
        ``flags`` are finit_module(2)'s.

        Raises NotFoundError for a file that cannot be read, LoadError with the kernel's errno if the module
        or a dependency is refused; the kernel's own message is in ``dmesg()``.
        """
        path = "" if isinstance(module, bytes) else os.fspath(module)
        image = module if isinstance(module, bytes) else read_module_file(path)
        self._beside = self._beside or path or None
        elf = try_elf(image, path)
        if elf is None and self._core is None and self._wanted.image in (AUTO, None):
            Elf(image, path)  # nothing tells which kernel this is to be: that is why
        files = self._dependencies(elf) if dependencies and elf is not None else ()
        core = self._core or self._boot([*self._elves(files), *([elf] if elf is not None else ())])
        for file in files:
            if modname_from_path(file) not in self.modules:
                self._load(core, read_module_file(file), "", file, 0)
        try:
            return self._load(core, image, params, path, flags)
        except LoadError as error:
            if elf is not None and error.errno == ENOENT and (hint := self._hint(elf)):
                error.add_note(hint)
            raise

    def _load(self, core: Core, image: bytes, params: str, path: str, flags: int) -> Module:
        return self._in_task(
            "insmod",
            lambda: load_module(core, image, params, path=path, flags=flags),
            died="its init function did not return: see dmesg",
            subject=path,
        )

    def _elves(self, files: Iterable[str]) -> list[Elf]:
        """These files, those left out that cannot be read: the loader is to say so."""
        read = (try_elf(read_module_file(file), file) for file in files)
        return [elf for elf in read if elf is not None]

    def _dependencies(self, module: Elf) -> tuple[str, ...]:
        if set(depends(module)) <= self.modules.keys():
            return ()
        tree = self._tree or (self._tree_beside(module.path) if module.path else self.tree)
        return needed_files(tree, module) if tree is not None else ()

    def _tree_beside(self, module: str) -> Tree | None:
        """The tree that a module's file is in; a warning, and None, if it cannot be made one of."""
        directory = os.path.dirname(os.path.abspath(module))
        if directory not in self._trees:
            try:
                self._trees[directory] = tree_beside(module)
            except (UkmodError, OSError) as error:
                text = f"no module can be loaded from beside {module}: {error}"
                warnings.warn(text, RuntimeWarning, stacklevel=4)
                self._trees[directory] = None
        return self._trees[directory]

    def _hint(self, module: Elf) -> str:
        """What to do about a symbol that is missing; empty if nothing is known to help."""
        core = self.core
        if self._wanted.image != AUTO or core.image is not None:
            return ""
        need = need_of_symbols(core.symbols, [module], lambda: self.tree, ())
        if need is None or need.image is None:
            return str(need or "")
        text = "the kernel has booted without an image, for the first module needed none"
        return (
            f"{need.what}; {text}: give Kernel(image={need.image!r}), or name this module in boot() as well"
        )

    def rmmod(self, name: str, *, flags: int = 0) -> None:
        """Unload a module, dashes or underscores, as rmmod does.

        Raises LoadError with the kernel's errno; EFAULT if its exit function ended in an oops, after which
        the module stays.
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

        Raises LoadError if it fails, with its message and the errno that this names; ``check=False`` returns
        what it came to instead.
        """
        if self._core is None and self.tree is not None:
            words = [word.replace("-", "_") for word in arguments if not word.startswith("-")]
            files = dict.fromkeys(file for word in words for file in module_files(self.tree, word))
            self._boot(self._elves(files))
        finished = self.execute("/sbin/modprobe", *arguments)
        if check and finished.status:
            raise modprobe_error(arguments, finished)
        return finished

    def execute(self, path: str, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run one of the machine's programs as a process; look at its status.

        Raises NotFoundError if there is no such program, LoadError with ETIMEDOUT if it does not end.
        """
        core = self.core
        output: list[str] = []
        try:
            program = self.programs.exec(path)
        except OSError as error:
            raise NotFoundError("there is no such program in the machine", subject=path) from error

        def main(process: Process) -> int:
            process.output = output
            return program(process)

        environment = {"HOME": "/", "PATH": "/sbin:/usr/sbin:/bin:/usr/bin", **(env or {})}
        task = core.run_task(
            path.rpartition("/")[2],
            lambda: core.processes.execve(main, path, (path, *arguments), environment),
            limit=self.patience,
        )
        if not task.exited:
            raise LoadError(f"has not ended after {self.patience:g} seconds", errno=ETIMEDOUT, subject=path)
        signal = task.exit_code & 0x7F
        return Finished(128 + signal if signal else task.exit_code >> 8, "".join(output))

    def start(self, comm: str, work: Callable[[Core], object]) -> Task:
        """Begin a process that does ``work`` and return at once; it runs when the machine next does."""
        core = self.core

        def entry() -> int:
            work(core)
            return 0

        return core.processes.fork(comm, entry)

    def _in_task(self, comm: str, work: Callable[[], T], *, died: str, subject: str) -> T:
        """What ``work`` returns, done as a process; what it raises is raised here.

        Raises LoadError, which says ``died``, if the process ended otherwise: by an oops, or by a signal.
        """
        results: list[T] = []
        failures: list[Exception] = []

        def entry() -> int:
            try:
                results.append(work())
            except Fault:
                raise  # an oops
            except Exception as error:  # noqa: BLE001 - raised again, in the caller's stack
                failures.append(error)
                return 1 << 8
            return 0

        task = self.core.run_task(comm, entry, limit=self.patience)
        if failures:
            raise failures[0]
        if not task.exited:
            text = f"{comm} has not returned: it waits for something that does not happen"
            raise LoadError(text, errno=ETIMEDOUT, subject=subject)
        if not results:
            raise LoadError(died, errno=EFAULT, subject=subject)
        return results[0]

    @property
    def modules(self) -> dict[str, Module]:
        """The loaded modules by name, the latest first."""
        return {module.name: module for module in self.core.modules} if self._core else {}

    def run(self, seconds: float) -> None:
        """Let ``seconds`` of virtual time pass. Raises UsageError for a time that cannot pass."""
        self.core.run(checked_seconds(seconds))

    def settle(self) -> None:
        """Let so much virtual time pass that all is done that was left to RCU, work queues and timers.

        Nobody waits for it, even where time is real otherwise.
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
        """The kernel log, as dmesg prints it; ``raw``: with levels, as dmesg -r does."""
        return self._core.log.dmesg(raw=raw) if self._core else ""

    def on_record(self, listener: Callable[[Record], None]) -> None:
        """Call ``listener(record)`` for each line of the log as it is printed."""
        self._listeners.append(listener)
        if self._core is not None:
            self._core.log.on_record.append(listener)

    @property
    def requests(self) -> Sequence[Request]:
        """Every request_module() that has returned: who asked, for what, and what came of it."""
        return self._core.trace.requests if self._core else ()

    def leaks(self) -> Sequence[Leak]:
        """Memory that modules which are gone had allocated and that is not free by now, by allocation site.

        What they left to a work queue or a timer to free takes its time: see ``settle``. And what a kernel
        makes once, for the first who needs it, looks like a leak too: a second cycle would not add to it.
        """
        return tuple(self._core.slab.left_behind()) if self._core else ()

    @property
    def oopses(self) -> Sequence[Oops]:
        """Oops reports, in order."""
        return tuple(self._core.oopses) if self._core else ()

    @property
    def warnings(self) -> Sequence[Warn]:
        """WARN() and WARN_ON() that came true, and soft lockups, in order."""
        return tuple(self._core.warnings) if self._core else ()

    @property
    def reports(self) -> Sequence[Report]:
        """Misuse of memory that was found: use after free, out of bounds, double free."""
        return tuple(self._core.reports) if self._core else ()

    @property
    def threads(self) -> Sequence[Task]:
        """Kernel threads that modules have started and that have not ended."""
        return tuple(task for task in self._core.kthreads.running() if task.owner) if self._core else ()

    def read(self, path: str) -> str:
        """A file of /proc or /sys. Raises OSError, and LoadError if reading it ended in an oops."""
        return self._in_task("cat", lambda: self.core.procfs.read(path), died=_OOPSED, subject=path)

    def write(self, path: str, text: str) -> None:
        """Write to a file of /proc or /sys. Raises OSError, and LoadError if that ended in an oops."""
        self._in_task("sh", lambda: self.core.procfs.write(path, text), died=_OOPSED, subject=path)

    def sysctl(self, name: str, value: str | None = None) -> str:
        """A sysctl's value, after setting it if ``value`` is given: ``k.sysctl("kernel.modprobe", "")``."""
        if value is not None:
            if self._core is None:
                self._sysctls[name] = value
                return value
            self._core.sysctl[name] = value
        return self.core.sysctl[name]

    # -- functions ------------------------------------------------------------------------------------

    @overload
    def export(self, function: F, /, *, name: str = "", gpl: bool = False, new: bool = False) -> F: ...
    @overload
    def export(self, /, *, name: str = "", gpl: bool = False, new: bool = False) -> Callable[[F], F]: ...
    def export(
        self, function: F | None = None, /, *, name: str = "", gpl: bool = False, new: bool = False
    ) -> F | Callable[[F], F]:
        """Export a Python function to modules that are loaded later, in place of the kernel's of that name.

        ``k.export(function)``, ``@k.export`` and ``@k.export(gpl=True)`` all do. Its parameters and result
        are annotated with C types (``ukmod.Int``, ``ukmod.Ptr``, ``ukmod.CStr``, ...). It may
        sleep, and call the guest. ``gpl`` is EXPORT_SYMBOL_GPL.
        ``new``: no kernel has a function of that name.

        Raises UsageError if a parameter's type is missing or is not a C type, NotFoundError if neither the
        kernel nor a module has such a function; before the kernel has booted, insmod() or boot() raises that.
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
        """Put a program where usermode helpers can execute it; None: a file that is not executable."""
        self.programs.install(path, program)

    def call(self, symbol: str | int, *arguments: Argument, returns: Any = INFER) -> Any:
        """Call a function of a module or of the kernel, by name or address, in its own process.

        Integers, pointers, enums and bools are passed as int; None is NULL. ``str`` and ``bytes`` are passed
        as ``char *`` to a copy that lives as long as the call, ``bytes`` to a parameter that is a struct by
        value as that. The result is an int, a bool, bytes for ``char *`` (None for NULL) or for a struct.
        ``returns`` is its C type: one of ``ukmod.Int`` and so on, or any C name (``"unsigned long"``,
        ``"__kernel_size_t"``, ``"enum irqreturn"``); None for void. By default it is what debug information
        says, and int where that says nothing.

        Raises NotFoundError if there is no such symbol, UsageError if the arguments are not what the function
        takes or the type does not exist, LoadError if the call ended in an oops.
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
        """The address of a symbol that the kernel or a module exports, or of a module's own function.

        ``module:function`` names one that is not exported. Raises NotFoundError.
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
