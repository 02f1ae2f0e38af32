"""task_struct: the half of a task that guest code sees.

``current`` is a per-CPU load, and ``signal_pending()``, ``set_current_state()`` and others are inlined into
modules: they access task_struct directly. Its fields are therefore authoritative, and Python keeps no copies.
"""

from __future__ import annotations

import struct as struct_
from collections.abc import Callable
from errno import EAGAIN
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.mm.quarantine import Quarantine
from ukmod.kernel.sched.core import (
    DEFAULT_PRIO,
    PF_FORKNOEXEC,
    PF_KTHREAD,
    PF_NO_SETAFFINITY,
    PF_NOFREEZE,
    TASK_INTERRUPTIBLE,
    TASK_RUNNING,
    TASK_WAKEKILL,
    Task,
    ThreadGroup,
    block,
)
from ukmod.kernel.sighand import NSIG, SIG_DFL, SIG_IGN, SIGACTION_SIZE
from ukmod.kernel.signal_numbers import SIGCHLD, SIGKILL
from ukmod.kernel.x86 import thread_flags
from ukmod.machine.area import VMALLOC_START, Area
from ukmod.machine.memory import PAGE_SIZE, Fault, Memory, page_align

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

THREAD_SIZE: Final = 16384
"""The size of a task's kernel stack in bytes, arch/x86/include/asm/page_64_types.h."""
TASK_COMM_LEN: Final = 16
STACK_END_MAGIC: Final = 0x57AC6E9D
_STACKS = 0x100_0000_0000
"""The size of the vmalloc space for stacks, in bytes."""
MIN_THREADS: Final = 20
"""kernel/fork.c."""
PID_MAX: Final = 0x8000
"""kernel.pid_max, include/linux/threads.h: the first number that is no pid."""
RESERVED_PIDS: Final = 300
"""kernel/pid.c: after the highest pid, numbering continues with this one."""
INIT_PID: Final = 1
KTHREADD_PID: Final = 2
FIRST_PID: Final = 3
"""The pids before it are those of the idle task, init and kthreadd."""
_INITIAL_USAGE = 2
"""The initial reference count of a task_struct: its own, and its parent's."""

_KTHREAD: Final = PF_KTHREAD | PF_NOFREEZE | PF_FORKNOEXEC
"""The flags that kthreadd's children inherit or are given: kthreadd(), copy_process()."""
_QUARANTINE: Final = 256


class Tasks:
    """Creates, finds and removes tasks, and accesses their task_structs."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._memory = kernel.memory
        self._stacks = Area(kernel.memory, VMALLOC_START, _STACKS)
        types = kernel.types
        # The structs that a task_struct points to, and that inlined code accesses, are placed after it.
        self._parts: dict[str, int] = {}
        size = types.sizeof("task_struct")
        if not types.has("task_struct", "thread.fpu") and types.has("fpu"):
            size += types.sizeof("fpu")
        for member, struct in (("signal", "signal_struct"), ("sighand", "sighand_struct")):
            if types.has("task_struct", member) and types.has(struct):
                self._parts[member] = size = (size + 63) & ~63
                size += types.sizeof(struct)
        self._own_sighand = 0
        if "sighand" not in self._parts:  # no guest code can look for it
            self._own_sighand = size = (size + 63) & ~63
            size += NSIG * SIGACTION_SIZE
        self._pages = page_align(size) // PAGE_SIZE
        image = kernel.image
        self._init_task = image.address("init_task") if image is not None else 0
        self.tif = thread_flags.of_types(types) if image is None else thread_flags.of_image(image.image)
        """The bits of thread_info.flags."""
        self._usage = types.offset("task_struct", "usage")
        self._state = types.offset(
            "task_struct", "__state" if types.has("task_struct", "__state") else "state"
        )
        self._thread_flags = types.offset("task_struct", "thread_info.flags")
        self._comm = types.offset("task_struct", "comm")
        self._flags = types.offset("task_struct", "flags")
        self._pending = types.offset("task_struct", "pending.signal")
        self._by_address: dict[int, Task] = {}
        self._by_pid: dict[int, Task] = {}
        threads = max(kernel.memory.size // (8 * THREAD_SIZE), MIN_THREADS)
        self.max_threads = min(threads, PID_MAX - RESERVED_PIDS)
        """kernel.threads-max: the stacks of so many threads take an eighth of the RAM."""
        self._next_pid = 0
        self.on_create: list[Callable[[Task], object]] = []
        """Called with each new task, before it runs."""
        self.kernel_init: Callable[[], int] | None = None
        """The work of process 1, once it is woken: see user/init.py."""
        self.quarantine = Quarantine(self._memory, _QUARANTINE, self._pages)
        """The freed task_structs."""

    def wake_saved_state(self, task: Task, states: int) -> None:
        """ttwu_state_match(): the state that a task had before it began to wait for a sleeping spinlock."""
        if not self._k.types.has("task_struct", "saved_state"):
            return
        at = task.address + self._k.types.offset("task_struct", "saved_state")
        if self._memory.u32(at) & states:
            self._memory.set_u32(at, TASK_RUNNING)

    # -- life -----------------------------------------------------------------------------------------

    def create_first(self) -> None:
        """rest_init(): create init and kthreadd, which every machine has."""
        idle = self._by_pid[0]
        init = self.create("init", self._kernel_init, parent=idle)
        kthreadd = self.create("kthreadd", self._wait_for_ever, kthread=True, parent=idle)
        for task in (init, kthreadd):
            self.set_state(task, TASK_INTERRUPTIBLE)

    def _kernel_init(self) -> int:
        """The main function of init: it waits until there is a program for it, if there ever is one."""
        while self.kernel_init is None:
            block(self._k, TASK_INTERRUPTIBLE)
            self._k.signals.deliver()
        return self.kernel_init()

    def _wait_for_ever(self) -> int:
        while True:
            block(self._k, TASK_INTERRUPTIBLE)

    @property
    def init(self) -> Task:
        """The parent of those whose own has ended."""
        return self._by_pid[INIT_PID]

    @property
    def kthreadd(self) -> Task:
        """The parent of all kernel threads."""
        return self._by_pid[KTHREADD_PID]

    def create(
        self, comm: str, entry: Callable[[], int], *, kthread: bool = False, parent: Task | None = None,
        group: ThreadGroup | None = None, pid: int = 0,
    ) -> Task:  # fmt: skip
        """A new task, not yet running, which will run ``entry`` and end with the exit code it returns.

        Its parent, if none is given, is the current task, or init if no task is. It is a process, unless it
        becomes a thread of a ``group``. Its number is ``pid``, or else the next free one. Raises LimitError:
        EAGAIN if there are too many tasks, ENOMEM without memory.
        """
        k, memory, offset = self._k, self._memory, self._k.types.offset
        if len(self._by_pid) >= self.max_threads:
            raise LimitError(f"there are {self.max_threads} tasks: kernel.threads-max", errno=EAGAIN)
        stack = self._stacks.alloc(THREAD_SIZE)
        memory.set_u64(stack, STACK_END_MAGIC)
        if k.shadow is not None:
            k.shadow.allow(stack, THREAD_SIZE)  # another task's frames may have been marked there
        try:
            address = self._new_struct()
        except LimitError:
            self._stacks.free(stack)
            raise
        pid = pid or self._next_free_pid()
        task = Task(pid, address, stack, THREAD_SIZE, entry)
        task.is_kthread = kthread
        task.parent = parent or k.sched.current or self._by_pid.get(INIT_PID)
        task.group = group or task.group
        memory.set_u32(address + self._usage, _INITIAL_USAGE)
        memory.set_u32(address + offset("task_struct", "pid"), pid)
        memory.set_u32(address + offset("task_struct", "tgid"), task.group.leader.pid)
        first = PF_KTHREAD if not self._by_pid else 0
        memory.set_u32(address + self._flags, _KTHREAD if kthread else first)
        memory.set_u64(address + offset("task_struct", "stack"), stack)
        self._set_parts(address, task.group.leader.address)
        memory.set_u64(address + offset("task_struct", "group_leader"), task.group.leader.address)
        try:
            k.creds.begin(task)
        except LimitError:
            self.quarantine.add(address)
            self._stacks.free(stack)
            raise
        k.process_lists.link(task)
        if k.types.has("task_struct", "cpus_ptr"):
            mask = address + offset("task_struct", "cpus_mask")
            memory.set_u64(address + offset("task_struct", "cpus_ptr"), mask)
        for name in ("prio", "static_prio", "normal_prio"):
            if k.types.has("task_struct", name):
                memory.set_u32(address + offset("task_struct", name), DEFAULT_PRIO)
        if k.types.has("task_struct", "exit_signal"):
            memory.set_u32(address + offset("task_struct", "exit_signal"), SIGCHLD)
        self.set_flag(task, self.tif.need_fpu_load)  # fpu_clone()
        if kthread:
            k.sighands.fill(task, SIG_IGN)
        self.set_comm(task, comm)
        for callback in self.on_create:
            callback(task)
        self._by_address[address] = self._by_pid[pid] = task
        self._count(task)
        if group is not None:
            self._join(task, group)
        return task

    def _count(self, created: Task | None = None) -> None:
        """Count the tasks that there are and were in the image, for /proc/loadavg; and note the last pid."""
        image, types = self._k.image, self._k.types
        if image is None:
            return
        image.set("nr_threads", len(self._by_pid) - 1, 4)  # the idle task does not count
        if created is not None and (forks := image.get("total_forks")) is not None:
            self._memory.set_u64(forks, self._memory.u64(forks) + 1)
        if created is not None and types.has("pid_namespace", "idr.idr_next"):
            cursor = image.address("init_pid_ns") + types.offset("pid_namespace", "idr.idr_next")
            self._memory.set_u32(cursor, created.pid + 1)

    def _join(self, task: Task, group: ThreadGroup) -> None:
        """The part of copy_process() for a thread: it has no parent to tell of its end."""
        at = task.address + self._k.types.offset("task_struct", "exit_signal")
        self._memory.set_u32(at, -1 & 0xFFFF_FFFF)
        self.get(group.owner)  # until this one is freed
        group.threads.append(task)

    def _set_parts(self, address: int, leader: int) -> None:
        """Have a new task_struct point to its parts, or to those of the leader of its group.

        init_task of an image already points to its own.
        """
        if address == self._init_task:
            return
        for member, place in self._parts.items():
            pointer = self._k.types.offset("task_struct", member)
            if leader != address:
                self._memory.set_u64(address + pointer, self._memory.u64(leader + pointer))
                continue
            if self._init_task:
                first = self._memory.u64(self._init_task + pointer)
                size = self._k.types.sizeof(f"{member}_struct")
                _copy_relocated(self._memory, first, address + place, size)
            self._memory.set_u64(address + pointer, address + place)

    def fpu(self, task: Task) -> int:
        """x86_task_fpu(): a task's struct fpu, which is in its task_struct or, since v6.16, behind it."""
        types = self._k.types
        is_member = types.has("task_struct", "thread.fpu")
        return task.address + (
            types.offset("task_struct", "thread.fpu") if is_member else types.sizeof("task_struct")
        )

    def sighand(self, task: Task) -> int:
        """``task->sighand``, or the place of one if no guest code knows that member."""
        if self._own_sighand:
            return task.address + self._own_sighand
        return self._memory.u64(task.address + self._k.types.offset("task_struct", "sighand"))

    def placed_sighand(self, task: Task) -> int:
        """The address of the sighand_struct that lies with a task's task_struct."""
        return task.address + self._parts["sighand"]

    def _next_free_pid(self) -> int:
        """alloc_pid()."""
        while (pid := self._next_pid) in self._by_pid:
            self._next_pid = pid + 1 if pid + 1 < PID_MAX else RESERVED_PIDS
        self._next_pid = pid + 1 if pid + 1 < PID_MAX else RESERVED_PIDS
        return pid

    def restart_pids(self) -> None:
        """Continue with the lowest free pid, as the kernel does after reaching the highest."""
        self._next_pid = FIRST_PID

    def _new_struct(self) -> int:
        """dup_task_struct(): a new task_struct; with an image, a copy of its ``init_task``."""
        memory, init, first = self._memory, self._init_task, not self._by_pid
        if first:
            return init or self._k.symbols.add_variable("init_task", self._pages * PAGE_SIZE, align=64)
        address = memory.map_direct(memory.alloc_frames(self._pages), self._pages * PAGE_SIZE)
        if init:
            _copy_relocated(memory, init, address, self._k.types.sizeof("task_struct"))
            self._k.lockdep.init_task(address)
            if self._k.types.has("task_struct", "rcu_read_lock_nesting"):
                # The idle task may be in an interrupt that is a reader.
                memory.set_u32(address + self._k.types.offset("task_struct", "rcu_read_lock_nesting"), 0)
        return address

    def get(self, task: Task) -> None:
        """get_task_struct()."""
        at = task.address + self._usage
        self._memory.set_u32(at, self._memory.u32(at) + 1)

    def put(self, task: Task, count: int = 1) -> None:
        """put_task_struct(): the last reference frees the task_struct."""
        at = task.address + self._usage
        left = self._memory.u32(at) - count
        self._memory.set_u32(at, left)
        if left <= 0:
            self.free(task)

    def free(self, task: Task) -> None:
        """__put_task_struct(): free the memory; a later access to it is a page fault."""
        if self._by_address.pop(task.address, None) is None:
            return
        self._k.creds.forget(task)
        self.quarantine.add(task.address)
        if task.group.owner is not task:
            self.put(task.group.owner)
        elif task.group.actions is not task:
            self.put(task.group.actions)

    def release(self, task: Task) -> None:
        """release_task(): free the pid and stack of a task that has exited."""
        if self._by_pid.pop(task.pid, None) is not None:
            self._count()
            self._k.trace.ended(task.pid)
            self._k.process_lists.unlink(task, self.init)
            self.put(task, _INITIAL_USAGE)  # may run on this stack
            self._stacks.free(task.stack)

    def become_process(self, task: Task) -> None:
        """Turn a kernel thread that has executed a program into a user process."""
        self.set_pf(task, _KTHREAD | PF_NO_SETAFFINITY, to=False)
        self._k.sighands.fill(task, SIG_DFL)
        task.is_kthread = False

    # -- finding --------------------------------------------------------------------------------------

    def at(self, address: int) -> Task:
        """The task whose task_struct is at ``address``. Raises Fault if there is none."""
        if (task := self._by_address.get(address)) is None:
            raise Fault(address)
        return task

    def exchange_pids(self, left: Task, right: Task) -> None:
        """Give each of two tasks the pid of the other."""
        left.pid, right.pid = right.pid, left.pid
        for task in (left, right):
            self._by_pid[task.pid] = task
            self._memory.set_u32(task.address + self._k.types.offset("task_struct", "pid"), task.pid)

    def by_pid(self, pid: int) -> Task | None:
        """The task with this process id, or None."""
        return self._by_pid.get(pid)

    def all(self) -> list[Task]:
        """All tasks, by pid."""
        return list(self._by_pid.values())

    # -- fields ---------------------------------------------------------------------------------------

    def state(self, task: Task) -> int:
        """``task->__state``."""
        return self._memory.u32(task.address + self._state)

    def set_state(self, task: Task, state: int) -> None:
        """__set_current_state()."""
        self._memory.set_u32(task.address + self._state, state)

    def comm(self, task: Task) -> str:
        """``task->comm``; ? if the guest has destroyed it, for what reports that must name the task."""
        try:
            name = self._memory.read(task.address + self._comm, TASK_COMM_LEN)
        except Fault:
            return "?"
        return name.split(b"\0")[0].decode("latin-1")

    def set_comm(self, task: Task, comm: str) -> None:
        """Set ``task->comm``, cut to 15 characters."""
        name = comm.encode("latin-1", "replace")[: TASK_COMM_LEN - 1]
        self._memory.write(task.address + self._comm, name.ljust(TASK_COMM_LEN, b"\0"))

    def pf(self, task: Task) -> int:
        """``task->flags``: PF_ bits."""
        return self._memory.u32(task.address + self._flags)

    def set_pf(self, task: Task, flags: int, *, to: bool = True) -> None:
        """Set, or clear, PF_ bits."""
        before = self.pf(task)
        self._memory.set_u32(task.address + self._flags, before | flags if to else before & ~flags)

    def flags(self, task: Task) -> int:
        """``task_thread_info(task)->flags``."""
        return self._memory.u64(task.address + self._thread_flags)

    def set_flag(self, task: Task, flag: int, *, to: bool = True) -> None:
        """Set, or clear, a TIF_ bit."""
        at = task.address + self._thread_flags
        flags = self._memory.u64(at)
        self._memory.set_u64(at, flags | flag if to else flags & ~flag)

    def pending(self, task: Task) -> int:
        """The set of signals in ``task->pending.signal``: bit n-1 is signal n."""
        return self._memory.u64(task.address + self._pending)

    def set_pending(self, task: Task, signals: int) -> None:
        """Store ``task->pending.signal``."""
        self._memory.set_u64(task.address + self._pending, signals)

    def shared_pending(self, task: Task) -> int:
        """The set of signals in ``task->signal->shared_pending.signal``, for any thread of a process."""
        at = self._shared_pending(task)
        return self._memory.u64(at) if at else 0

    def set_shared_pending(self, task: Task, signals: int) -> None:
        """Store ``task->signal->shared_pending.signal``."""
        self._memory.set_u64(self._shared_pending(task), signals)

    def _shared_pending(self, task: Task) -> int:
        types = self._k.types
        signal = self._memory.u64(task.address + types.offset("task_struct", "signal"))
        return signal + types.offset("signal_struct", "shared_pending.signal")

    def signal_pending(self, task: Task) -> bool:
        """signal_pending(): a signal is pending, or TIF_NOTIFY_SIGNAL requests the same treatment."""
        return bool(self.flags(task) & (self.tif.sigpending | self.tif.notify_signal))

    def signal_pending_state(self, state: int, task: Task) -> bool:
        """signal_pending_state(): True if a pending signal would wake a task in ``state``."""
        if not state & (TASK_INTERRUPTIBLE | TASK_WAKEKILL) or not self.signal_pending(task):
            return False
        return bool(state & TASK_INTERRUPTIBLE) or bool(self.pending(task) >> (SIGKILL - 1) & 1)

    def running(self, task: Task) -> bool:
        """True if its state is TASK_RUNNING."""
        return self.state(task) == TASK_RUNNING


def _copy_relocated(memory: Memory, source: int, target: int, size: int) -> None:
    """Copy a struct whose empty lists point to themselves: the copy's point to the copy."""
    words = struct_.Struct(f"<{size // 8}Q")
    template = words.unpack(memory.read(source, words.size))
    moved = (word + target - source if source <= word < source + size else word for word in template)
    memory.write(target, words.pack(*moved))
