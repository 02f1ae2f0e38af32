"""The kernel: its parts put together, and the operations its users need.

Each part is in a file named after the kernel's own and keeps its state in an object here (``k.sched``,
``k.modules``, ...). The same files define the functions that modules call, marked with ``export``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from ukmod.errors import LimitError
from ukmod.kernel import watchdog
from ukmod.kernel.async_ import AsyncCalls
from ukmod.kernel.boot_parameters import boot_parameters
from ukmod.kernel.bug import Site
from ukmod.kernel.coredump import CoreDump
from ukmod.kernel.cred import Creds
from ukmod.kernel.exec import Processes
from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.failures import failed
from ukmod.kernel.ftrace import Ftrace
from ukmod.kernel.ftrace_direct import DirectCalls
from ukmod.kernel.kallsyms import Kallsyms
from ukmod.kernel.kdebug import Kdebug
from ukmod.kernel.kmod import Requests
from ukmod.kernel.kthread import Kthreads
from ukmod.kernel.kthread_worker import KthreadWorkers
from ukmod.kernel.lib.lib import Lib
from ukmod.kernel.lib.random import Entropy
from ukmod.kernel.limits import MEMORY, PATIENCE
from ukmod.kernel.locking.lockdep import Lockdep
from ukmod.kernel.locking.mutex import Mutexes
from ukmod.kernel.locking.rwsem import RwSemaphores
from ukmod.kernel.locking.semaphore import Semaphores
from ukmod.kernel.locking.spinlock import SpinLocks
from ukmod.kernel.mm.account import admit
from ukmod.kernel.mm.kmem_cache import Caches
from ukmod.kernel.mm.page_alloc import Pages
from ukmod.kernel.mm.percpu import PerCpu
from ukmod.kernel.mm.slab import Slab
from ukmod.kernel.mm.uaccess import UserMemory
from ukmod.kernel.mm.vmalloc import Vmalloc
from ukmod.kernel.module.inter_module import InterModule
from ukmod.kernel.module.main import Module, Modules
from ukmod.kernel.module.symbols import SymbolTable
from ukmod.kernel.oops import Wording
from ukmod.kernel.panic import Crash, Taint
from ukmod.kernel.params_ops import ParamOps
from ukmod.kernel.pid import Pids
from ukmod.kernel.printk import Log, current_caller, log_size
from ukmod.kernel.process_lists import ProcessLists
from ukmod.kernel.procfs import ProcFs
from ukmod.kernel.rcu.rcu import Rcu
from ukmod.kernel.rcu.srcu import Srcu
from ukmod.kernel.sched.completion import Completions
from ukmod.kernel.sched.core import Scheduler, Task
from ukmod.kernel.sched.swait import SwaitQueues
from ukmod.kernel.sched.wait import WaitQueues
from ukmod.kernel.sched.wait_bit import WaitBits
from ukmod.kernel.sighand import Sighands
from ukmod.kernel.signal import Signals
from ukmod.kernel.softirq import SoftIrqs, Tasklets
from ukmod.kernel.sysctl import Sysctl
from ukmod.kernel.task import Tasks
from ukmod.kernel.time.clock import NSEC_PER_SEC, Clock
from ukmod.kernel.time.hrtimer import HrTimers
from ukmod.kernel.time.timekeeping import Timekeeping
from ukmod.kernel.time.timer import Timers
from ukmod.kernel.trace import Trace
from ukmod.kernel.umh import Helpers
from ukmod.kernel.workqueue.workqueue import Workqueues
from ukmod.kernel.x86 import traps
from ukmod.kernel.x86.unwind import capture
from ukmod.kmod.elf import Elf
from ukmod.machine.area import MODULES_END, MODULES_ONCE, MODULES_VADDR, Area
from ukmod.machine.cpu import Cpu
from ukmod.machine.memory import Memory
from ukmod.machine.watchdog import Stalled
from ukmod.userland import Programs

if TYPE_CHECKING:
    from ukmod.kernel.image.bringup import Boot
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.image.uart import Uart
    from ukmod.kernel.mm.kasan import Report
    from ukmod.kernel.mm.shadow import Shadow
    from ukmod.kernel.module.dangling import Dangling
    from ukmod.kernel.oops import Oops, Warn
    from ukmod.kernel.user.root_files import RootFiles
    from ukmod.machine.image.image import KernelImage
    from ukmod.machine.types import Types
    from ukmod.machine.types.lines import SourceLines


class Core:
    """A booted kernel, the ``core`` of :class:`ukmod.Kernel`: the parts that its functions in Python work on.

    types: the struct layouts of the kernel it represents.

    hz: CONFIG_HZ of that kernel, ticks per second.
    memory: the maximum size of RAM in bytes; the host only provides what is used.
    realtime: let virtual time pass no faster than real time.
    seed: choose among runnable tasks at random, reproducibly, instead of in turn.
    image: a real kernel image, whose code does what Python does not implement.
    """

    def __init__(
        self,
        types: Types,
        *,
        hz: int = 250,
        memory: int = MEMORY,
        realtime: bool = False,
        seed: int | None = None,
        release: str = "",
        vermagic: str | None = None,
        cmdline: str = "",
        programs: Programs | None = None,
        force_load: bool = True,
        force_unload: bool = True,
        image: KernelImage | None = None,
    ) -> None:
        self.types = types
        self.release = release or (image.release if image is not None else "")
        self.vermagic = vermagic or (image.vermagic if image is not None else None) or None
        """The vermagic that modules must have; None until the first module sets it."""
        self.cmdline = cmdline
        self.force_load = force_load
        """CONFIG_MODULE_FORCE_LOAD; for an image, its own configuration applies as well."""
        self.force_unload = force_unload
        """CONFIG_MODULE_FORCE_UNLOAD, which Debian sets."""
        self.reports: list[Report] = []
        """Detected misuse of memory, in order."""
        self.dangling: list[Dangling] = []
        """Everything that unloaded modules have left behind for the kernel to use, in order."""
        self.oopses: list[Oops] = []
        self.warnings: list[Warn] = []
        self.taint = Taint(self)
        self.sources: dict[str, SourceLines] = {}
        """By module: the source lines of its code, if it has debugging information."""
        self.patience = PATIENCE
        """The seconds of CPU time that one call of ``run`` or ``run_task`` may take on the host."""
        self.memory = Memory(memory)
        self.cpu = Cpu(self.memory)
        try:
            self._assemble(image, hz)
            self.begin(programs or Programs(), realtime=realtime, seed=seed)
        except BaseException:
            self.close()  # its threads would keep it, and all its memory
            raise

    def _assemble(self, image: KernelImage | None, hz: int) -> None:
        """Make the parts, in the order in which they need each other, and bring up the image."""
        self.image = _mapped(self, image) if image is not None else None
        """The real kernel image that runs what Python does not implement."""
        self.serial: Uart | None = None
        """The serial line of a machine with an image."""
        self.shadow = _shadow(self) if image is not None else None
        """The memory at which code of an image with KASAN looks before each access; None without KASAN."""
        self.wording = Wording.of(image)
        """How its reports are worded."""
        self.clock = Clock(hz)
        self.log = Log(self.clock, log_size(boot_parameters(self.cmdline).get("log_buf_len")))
        self.percpu = PerCpu(self)
        self.lockdep = Lockdep(self)
        self.sched = Scheduler(self, self.clock)
        self.tasks = Tasks(self)
        self.sighands = Sighands(self)
        self.symbols = SymbolTable(self, kernel_functions())
        for name, offset in self.percpu.symbols().items():
            self.symbols.add_data(name, offset)
        self.creds = Creds(self)
        self.process_lists = ProcessLists(self)
        self.idle = self.tasks.create("swapper/0", int)
        """Pid 0: the current task when no other one is."""
        self.tasks.create_first()
        self.percpu.set_current(self.idle.address)
        self.log.caller = partial(current_caller, self)
        self.kallsyms = Kallsyms(self)
        self.param_ops = ParamOps(self)
        self.lib = Lib(self)
        self.entropy = Entropy()
        self.crash = Crash(self)
        self.kdebug = Kdebug(self)
        self.slab = Slab(self)
        self.pages = Pages(self)
        self.vmalloc = Vmalloc(self)
        self.caches = Caches(self)
        self.user = UserMemory(self)
        self.trace = Trace(self.clock)
        self.module_area = Area(self.memory, MODULES_VADDR, MODULES_END - MODULES_VADDR, once=MODULES_ONCE)
        self.modules = Modules(self)
        self.signals = Signals(self)
        self.pids = Pids(self)
        self.kthreads = Kthreads(self)
        self.processes = Processes(self, Programs())
        self.warned: set[Site] = set()
        """The places where WARN_ON_ONCE() has warned."""
        self.softirqs = SoftIrqs(self)
        self.tasklets = Tasklets(self)
        self.timekeeping = Timekeeping(self)
        self.timers = Timers(self)
        self.hrtimers = HrTimers(self)
        self.waitqueues = WaitQueues(self)
        self.wait_bits = WaitBits(self)
        self.swaitqueues = SwaitQueues(self)
        self.completions = Completions(self)
        self.spinlocks = SpinLocks(self)
        self.mutexes = Mutexes(self)
        self.semaphores = Semaphores(self)
        self.rwsems = RwSemaphores(self)
        self.rcu = Rcu(self)
        self.kthread_workers = KthreadWorkers(self)
        self.workqueues = Workqueues(self)
        self.async_calls = AsyncCalls(self)
        self.srcu = Srcu(self)
        self.ftrace = Ftrace(self)
        self.direct_calls = DirectCalls(self)
        self.helpers = Helpers(self)
        self.core_dump = CoreDump(self)
        self.requests = Requests(self)
        self.inter_module = InterModule(self)
        self.sysctl = Sysctl(self)
        self.procfs = ProcFs(self)
        self.clock.admit = partial(admit, self, what="timers")
        traps.wire(self)
        self.cpu.on_error = partial(failed, self)
        watchdog.wire(self)
        self.boot = _brought_up(self, self.image) if self.image is not None else None
        """The result of bringing up the image."""
        self.root_files: RootFiles | None = None
        """The files of its root, which are made when they are first used; None without a root."""
        self.workqueues.online = True

    def begin(
        self,
        programs: Programs,
        *,
        realtime: bool = False,
        seed: int | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Time 0. Bringing up an image is the same for all users; from here on the machine is this user's."""
        self.patience = patience
        self.sched.last = None
        self.processes.programs = programs
        self.clock.begin(realtime=realtime)
        self.sched.seed(seed)
        if seed is not None:
            self.entropy = Entropy(seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Shut the machine down: unwind every task's stack and free its memory."""
        if "tasks" in vars(self):  # else it could not be assembled
            self.sched.kill_all()
        self.cpu.close()
        self.memory.close()

    def printk(self, text: str, level: int = 4) -> None:
        """Print a line (or, without a newline, a part of one) to the kernel log at ``level``, 0 to 7."""
        self.log.printk(text, level)

    def caller(self) -> str:
        """The caller of the current kernel function: function, offset and module."""
        address = capture(self).caller
        return self.kallsyms.sprint(address, back=1) if address else "the kernel"

    def adopt(self, elf: Elf, module: Module) -> None:
        """Add a module's own type information before the module is loaded."""
        self.types.add(elf, module.name)
        if elf.section(".debug_line") is not None:
            from ukmod.machine.types.lines import SourceLines

            self.sources[module.name] = SourceLines(elf)
        if not self.release:
            self.release = module.modinfo.get("vermagic", [""])[0].partition(" ")[0]

    def look_at_the_time(self) -> None:
        """Have the watchdog look at how far the machine has come: see watchdog.progress."""
        watchdog.progress(self)

    def run(self, seconds: float) -> None:
        """Let ``seconds`` of virtual time pass; tasks, timers and work run when they are due."""
        self.sched.run(None, self.clock.now + round(seconds * NSEC_PER_SEC))

    def run_task(self, comm: str, entry: Callable[[], int], *, limit: float | None = None) -> Task:
        """Run ``entry`` as a new process named ``comm`` until it has ended; returns the task.

        After ``limit`` virtual seconds, or when nothing can ever wake it, it is left as it is.
        """
        task = self.start(comm, entry)
        self.wait_for(task, limit=limit)
        return task

    def wait_for(self, task: Task, *, limit: float | None = None) -> None:
        """Let time pass until ``task`` has ended, at most ``limit`` virtual seconds."""
        deadline = None if limit is None else self.clock.now + round(limit * NSEC_PER_SEC)
        self.sched.run(lambda: task.exited, deadline)

    def start(self, comm: str, entry: Callable[[], int]) -> Task:
        """Create and wake a process named ``comm`` that will run ``entry``. Raises LimitError: see create."""
        self.crash.check()
        try:
            task = self.tasks.create(comm, entry)
            if self.image is not None:
                from ukmod.kernel.process_fs import enter_fs  # not before there is an image

                enter_fs(self, self.image, task)
            self.sched.wake_new(task)
        except LimitError:
            raise  # the caller's: fork() fails
        except Exception as error:
            failed(self, error)
            raise
        return task

    def interrupt(self, action: Callable[[], Any]) -> None:
        """Run ``action``, then the softirqs it raised, as in an interrupt.

        It runs on a separate stack, that of the idle task, whatever task is current, and must not sleep.
        """
        cpu, sched = self.cpu, self.sched
        sp, depth = cpu.sp, cpu.depth
        cpu.sp, cpu.depth = self.idle.sp, 0
        if is_idle := sched.current is None:
            self.percpu.set_current(self.idle.address)
            self.percpu.add_preempt(1)  # the idle task is never preempted
        sched.in_interrupt = True
        self.idle.slices = 0
        try:
            self.percpu.add_preempt(self.percpu.count.hardirq_offset)
            with self.cpu.interrupts_off():
                self.lockdep.hardirq(entered=True)
                action()
                self.lockdep.hardirq(entered=False)
            self.lockdep.follow_interrupts()
            self.percpu.add_preempt(-self.percpu.count.hardirq_offset)
            self.softirqs.run()
        except (Exception, Stalled) as error:
            failed(self, error)
            raise
        finally:
            sched.in_interrupt = False
            self.percpu.add_preempt(-int(is_idle))
            cpu.sp, cpu.depth = sp, depth
            self.lockdep.follow_interrupts()


# Only a kernel with an image imports the code for images.


def _mapped(k: Core, image: KernelImage) -> MappedImage:
    from ukmod.kernel.image.map import MappedImage

    return MappedImage(k, image)


def _shadow(k: Core) -> Shadow | None:
    from ukmod.kernel.mm.shadow import shadow_for

    return shadow_for(k)


def _brought_up(k: Core, image: MappedImage) -> Boot:
    from ukmod.kernel.image.bringup import bring_up

    return bring_up(k, image)
