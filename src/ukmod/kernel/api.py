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
from errno import EFAULT, EINVAL, ETIMEDOUT
from typing import Any, Final, Self, TypeVar

from ukmod.errors import LoadError, NotFoundError, UsageError
from ukmod.kernel.core import Kernel as Core
from ukmod.kernel.export import Export
from ukmod.kernel.image import snapshot as snapshots
from ukmod.kernel.mm.kasan import Report
from ukmod.kernel.mm.slab import Leak
from ukmod.kernel.module.load import load_module
from ukmod.kernel.module.main import Module
from ukmod.kernel.module.unload import delete_module
from ukmod.kernel.oops import Oops, Warn
from ukmod.kernel.printk import Record
from ukmod.kernel.sched.core import Task
from ukmod.kernel.trace import Request
from ukmod.kmod.elf import Elf
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.tree import Tree
from ukmod.machine import abi
from ukmod.machine.image import KernelImage
from ukmod.machine.memory import Fault
from ukmod.machine.types import Types, types_for
from ukmod.record import record
from ukmod.userland import Process, Program, Programs
from ukmod.userland.modprobe import modprobe
from ukmod.userland.shell import sh

DEFERRED: Final = 400.0
"""Virtual seconds after which nothing is deferred any more. The longest known: IMA keeps the keys that it has
seen for five minutes after booting, for a policy that may come."""
T = TypeVar("T")
_OOPSED: Final = "the call ended in an oops: see dmesg"
INFER = object()
"""The result's type is to be found out."""


@record
class Finished:
    """A program that has ended: its exit status (or 128 + the signal that killed it) and what it wrote."""

    status: int
    output: str


class Kernel:
    """A kernel to load modules into. It boots when the first module is known, for that tells which kernel it
    is to be: struct layouts come from ``btf`` or ``image``, a shipped profile of that very kernel, or the
    module's own debug information.

    tree: what modprobe loads from: a ``Tree``, a /lib/modules/<release> directory, or any directory of .ko's.
    btf: a file with the kernel's BTF (/sys/kernel/btf/vmlinux).
    image: its vmlinuz, whose code then runs what Python does not implement. It takes seconds to bring up for
    the first time.
    release: ``uname -r``; by default what the first module was built for.
    hz: CONFIG_HZ of that kernel.
    memory: bytes of RAM at most.
    realtime: virtual time passes no faster than real time.
    seed: runnable tasks take turns at random, reproducibly, instead of in order.
    cmdline: the kernel's command line.
    strict_modprobe: /sbin/modprobe behaves exactly as kmod's; by default a request may carry parameters, as
    in request_module("send_signal level=3").
    snapshot: keep what bringing up an image comes to in the user's cache, and begin with it the next time.
    """

    def __init__(
        self,
        *,
        tree: Tree | str | os.PathLike[str] | None = None,
        btf: str | os.PathLike[str] | None = None,
        image: str | os.PathLike[str] | None = None,
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
        self.tree = tree if isinstance(tree, Tree) or tree is None else open_tree(tree)
        self.programs = Programs()
        """What a usermode helper can execute, by path."""
        program = modprobe(lambda: self.tree, parameters=not strict_modprobe)
        for path in ("/sbin/modprobe", "/usr/sbin/modprobe"):
            self.programs.install(path, program)
        for path in ("/bin/sh", "/usr/bin/sh"):
            self.programs.install(path, sh)
        self._btf = btf
        self._image = KernelImage(os.fspath(image)) if image is not None else None
        # Layouts that are not the image's own may be any.
        self._snapshot = snapshot and types is None and btf is None
        self._options: dict[str, Any] = {
            "hz": hz,
            "memory": memory,
            "release": release,
            "cmdline": cmdline,
        }
        self._user: dict[str, Any] = {"realtime": realtime, "seed": seed}
        self.patience = 300.0
        """Virtual seconds that insmod(), rmmod() and call() wait for what they began."""
        self._core: Core | None = None
        self._exports: list[tuple[Export, Callable[..., Any]]] = []
        self._sysctls: dict[str, str] = {}
        self._listeners: list[Callable[[Record], None]] = []
        if types is not None:
            self._boot(lambda: types)

    # -- life -----------------------------------------------------------------------------------------

    def _boot(self, types: Callable[[], Types]) -> Core:
        if self._image is None:
            core = Core(types(), **self._options)
        else:
            core = snapshots.boot(self._image, types, self._options, keep=self._snapshot)
        core.begin(self.programs, **self._user)
        self._core = core
        for exported, function in self._exports:
            core.symbols.add_function(exported, function, kernel=False)
        for name, value in self._sysctls.items():
            core.sysctl[name] = value
        for listener in self._listeners:
            core.log.on_record.append(listener)
        return core

    def boot(self, modules: Iterable[str | os.PathLike[str]] = ()) -> Core:
        """Boot now, as the kernel that these module files (or the tree's) were built for.

        Raises LayoutError if nothing tells that kernel's struct layouts.
        """
        if self._core is not None:
            return self._core
        paths = [os.fspath(path) for path in modules]
        if not paths and self.tree is not None and not self._btf and not self._image:
            paths = [path for name in list(self.tree.module_names())[:1] if (path := self._path_of(name))]
        elves = [Elf(_contents(path), path) for path in paths]
        return self._boot(lambda: self._types(elves))

    def _types(self, modules: Sequence[Elf]) -> Types:
        btf = os.fspath(self._btf) if self._btf is not None else None
        # What a module knows is added when it is loaded; an image is brought up without.
        return types_for(modules if self._image is None else (), btf=btf, kernel=self._image)

    def _path_of(self, name: str) -> str:
        assert self.tree is not None
        line = self.tree.dependency_line(name) or ""
        return self.tree.files.real(self.tree.path(line.partition(":")[0])) if line else ""

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

    def insmod(self, module: str | os.PathLike[str] | bytes, params: str = "", *, flags: int = 0) -> Module:
        """Load a module from a file (compressed or not) or its bytes, as insmod does: without dependencies.

        Raises LoadError with the kernel's errno; the kernel's own message is in ``dmesg()``.
        """
        path = "" if isinstance(module, bytes) else os.fspath(module)
        image = module if isinstance(module, bytes) else _contents(path)
        core = self._core or self._boot(lambda: self._types([Elf(image, path)]))
        return self._in_task(
            "insmod",
            lambda: load_module(core, image, params, path=path, flags=flags),
            died="its init function did not return: see dmesg",
            subject=path,
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

    def modprobe(self, *arguments: str) -> Finished:
        """Run modprobe with these arguments, as a process of this kernel."""
        return self.execute("/sbin/modprobe", *arguments)

    def execute(self, path: str, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run one of the machine's programs as a process. Raises NotFoundError if ``path`` is none."""
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
        )
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
        """Let ``seconds`` of virtual time pass."""
        self.core.run(seconds)

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

    def export(
        self, function: Callable[..., Any], *, name: str = "", gpl: bool = False
    ) -> Callable[..., Any]:
        """Export a Python function to modules as a kernel symbol; usable as a decorator.

        Its parameters and result are annotated with the C types of ``ukmod.machine.abi`` (Int, Ptr, CStr...).
        It takes the place of a kernel function of that name, for modules loaded later.
        """
        exported = Export(name or function.__name__, gpl)
        self._exports.append((exported, function))
        if self._core is not None:
            self._core.symbols.add_function(exported, function, kernel=False)
        return function

    def install(self, path: str, program: Program | None) -> None:
        """Put a program where usermode helpers can execute it; None: a file that is not executable."""
        self.programs.install(path, program)

    def call(self, symbol: str | int, *arguments: int | str | bytes, returns: Any = INFER) -> Any:
        """Call a function of a module or of the kernel, by name or address, in its own process.

        Strings are passed as ``char *`` to a copy that lives as long as the call. ``returns`` is the C type
        of the result, one of ``ukmod.machine.abi`` or its C name (``"unsigned long"``); None for void. By
        default it is what debug information says, and int where that says nothing.

        Raises NotFoundError if there is no such symbol, LoadError if the call ended in an oops.
        """
        core = self.core
        address = self.address(symbol) if isinstance(symbol, str) else symbol
        kind = self._returns(symbol) if returns is INFER else returns
        kind = abi.from_c_name(kind) if isinstance(kind, str) else kind

        def work() -> Any:
            copies = [_copy(core, text) for text in arguments if not isinstance(text, int)]
            pointers = iter(copies)
            values = [item if isinstance(item, int) else next(pointers) for item in arguments]
            result = abi.c_value(core.memory, kind, core.cpu.call(address, *values))
            for copy in copies:
                core.slab.kfree(copy)
            return result

        return self._in_task("python", work, died=_OOPSED, subject=str(symbol))

    def _returns(self, symbol: str | int) -> Any:
        name = symbol.rpartition(":")[2] if isinstance(symbol, str) else ""
        prototype = self.core.types.prototype(name) if name else None
        return abi.Int if prototype is None else str(prototype.returns)

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
        raise NotFoundError("no module and not the kernel has such a symbol", subject=symbol)


def open_tree(path: str | os.PathLike[str]) -> Tree:
    """The module tree at a directory: one that depmod has been over, or any directory of .ko files.

    The configuration is that of the root that the directory lies in, if it is a root's lib/modules/RELEASE.
    Raises NotFoundError if it is not a directory.
    """
    tree = Tree.at(path)
    if not os.path.isdir(tree.dirname):
        tree.require_indexes()
    indexed = os.path.exists(f"{tree.dirname}/modules.dep.bin")
    return tree if indexed else Tree.from_directory(tree.dirname, config_paths=tree.config_paths)


def _contents(path: str) -> bytes:
    try:
        with ModuleFile(path) as file:
            return file.contents()
    except OSError as error:
        why = "it is too short for a module" if error.errno == EINVAL else f"cannot read it: {error.strerror}"
        raise NotFoundError(why, subject=path, errno=error.errno) from error


def _copy(core: Core, text: str | bytes) -> int:
    data = (text.encode() if isinstance(text, str) else text) + b"\0"
    address = core.slab.kmalloc(len(data))
    if not address:
        raise UsageError("the machine has no memory for the string")
    core.memory.write(address, data)
    return address
