"""Usermode helpers: kernel/umh.c.

call_usermodehelper_exec() queues work on system_unbound_wq, whose workers have done since Linux 4.4 what
khelper did before. The worker starts the task that becomes the helper. It waits for the helper's end if the
caller does; otherwise kthreadd is the helper's parent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from errno import E2BIG, EAGAIN, EBUSY, EINVAL, ENOMEM
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.cred import CAP_FULL_SET
from ukmod.kernel.export import export
from ukmod.kernel.freezer import freezable, try_to_freeze
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.sched.core import PF_KTHREAD, TASK_INTERRUPTIBLE, TASK_KILLABLE, TASK_UNINTERRUPTIBLE
from ukmod.kernel.sched.waiters import Waiters
from ukmod.kernel.workqueue.work import Work
from ukmod.machine.abi import GfpT, Int, Long, Ptr
from ukmod.machine.memory import Fault
from ukmod.record import field, mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

UMH_NO_WAIT, UMH_WAIT_EXEC, UMH_WAIT_PROC, UMH_KILLABLE, UMH_FREEZABLE = 0, 1, 2, 4, 8
"""include/linux/umh.h. UMH_FREEZABLE exists since v6.1."""
UMH_ENABLED, UMH_FREEZING, UMH_DISABLED = 0, 1, 2
"""enum umh_disable_depth."""
KHELPER: Final = "khelper"
"""The oldest name of the workqueue that runs helpers, under which a trace names it."""
_WORK: Final = "call_usermodehelper_exec_work"
_NO_ARGUMENTS: Final = Site("fs/exec.c", 2024, "kernel_execve")
RUNNING_HELPERS_TIMEOUT: Final = 5
"""How long usermodehelper_disable() waits for running helpers, in seconds."""
ARGUMENTS_LIMIT: Final = 2 << 20
"""Bytes of arguments and environment, pointers included: a quarter of the stack's 8 MiB, fs/exec.c."""
ARGUMENT_LIMIT: Final = 32 << 12
"""Bytes of a single one, its end included: MAX_ARG_STRLEN."""


@mutable
class SubprocessInfo:
    """A struct subprocess_info: a helper before, during and after its execution."""

    path: str = ""
    argv: tuple[str, ...] = ()
    envp: tuple[str, ...] = ()
    address: int = 0
    """Its address in guest memory, if a module made it: the module reads and changes it there."""
    members: dict[str, int] = field(default_factory=dict)
    """The addresses of the struct's members."""
    wait: int = 0
    retval: int = 0
    done: bool = False
    abandoned: bool = False
    """No task waits for it any more: completing it frees it."""
    caller: int = 0
    """The pid of the task that asked for the helper."""
    pid: int = 0
    """The pid of the process that becomes the program."""
    waiters: Waiters = field(kw_only=True)


class Helpers:
    """The running helpers, and whether helpers are allowed."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self.bset = self.inheritable = CAP_FULL_SET
        """kernel.usermodehelper.bset and inheritable: the capabilities that a helper may have, or inherit."""
        self._infos: dict[int, SubprocessInfo] = {}
        self._running = 0
        self._running_waiters = Waiters(kernel)
        self._disabled_waiters = Waiters(kernel)
        self._readers = self._writers = 0
        """Tasks that hold umhelper_sem for reading, and those that wait for it to write."""
        self._sem_waiters = Waiters(kernel)
        self.disable_depth = UMH_ENABLED
        """usermodehelper_disabled: while tasks freeze, readers wait; then they are refused."""

    # -- setting up -----------------------------------------------------------------------------------

    def setup(self, path: str, argv: Sequence[str], envp: Sequence[str]) -> SubprocessInfo:
        """call_usermodehelper_setup() for the kernel itself."""
        return SubprocessInfo(path, tuple(argv), tuple(envp), waiters=Waiters(self._k))

    def setup_guest(
        self, path: int, argv: int, envp: int, init: int, cleanup: int, data: int
    ) -> SubprocessInfo:
        """call_usermodehelper_setup() for a module, which may read and change the struct."""
        k = self._k
        pointers = {"path": path, "argv": argv, "envp": envp, "init": init, "cleanup": cleanup, "data": data}
        members = (*pointers, "wait", "retval")
        # Where the struct is unknown no module accesses one, and its members may be anywhere.
        known = k.types.has("subprocess_info")
        address = k.slab.kernel_object(k.types.sizeof("subprocess_info") if known else 8 * len(members))
        info = SubprocessInfo(address=address, waiters=Waiters(k))
        for n, name in enumerate(members):
            info.members[name] = address + (k.types.offset("subprocess_info", name) if known else 8 * n)
        for name, pointer in pointers.items():
            k.memory.set_u64(info.members[name], pointer)
        self._infos[address] = info
        return info

    def find(self, address: int) -> SubprocessInfo:
        """The helper of a struct subprocess_info *. Raises Fault if there is none."""
        if (info := self._infos.get(address)) is None:
            raise Fault(address)
        return info

    def _pointer(self, info: SubprocessInfo, name: str) -> int:
        """A pointer in the struct as it is now; NULL in one that no module made."""
        return self._k.memory.u64(info.members[name]) if info.address else 0

    def unwaited(self) -> Iterator[tuple[SubprocessInfo, int]]:
        """The modules' helpers that no task waits for, each with the function that will be called, or 0."""
        for info in self._infos.values():
            if info.abandoned:
                yield info, self._pointer(info, "cleanup") or self._pointer(info, "init")

    def _publish(self, info: SubprocessInfo) -> None:
        """Store its status in guest memory for the module's callbacks."""
        if info.address:
            self._k.memory.set_u32(info.members["retval"], info.retval)
            self._k.memory.set_u32(info.members["wait"], info.wait)

    def _free(self, info: SubprocessInfo) -> None:
        """call_usermodehelper_freeinfo()."""
        k = self._k
        if cleanup := self._pointer(info, "cleanup"):
            self._publish(info)
            k.cpu.call(cleanup, info.address)
        if info.address:
            del self._infos[info.address]
            k.slab.kfree(info.address)

    # -- running --------------------------------------------------------------------------------------

    def exec(self, info: SubprocessInfo, wait: int) -> int:
        """call_usermodehelper_exec(): run the helper and wait as ``wait`` says.

        Returns 0 or the helper's wait status; a negative errno if it could not be started; -EBUSY while
        helpers are disabled; -ERESTARTSYS if a UMH_KILLABLE waiter was killed. In the last case the helper
        continues, and frees its own resources.
        """
        k = self._k
        if info.address:
            if not (path := self._pointer(info, "path")):
                self._free(info)
                return -EINVAL
            info.path = _text(k, path)
        self._running += 1
        try:
            if self.disabled or not info.path:
                self._free(info)
                return -EBUSY if self.disabled else 0
            info.wait, info.abandoned = wait, wait == UMH_NO_WAIT
            self._publish(info)
            task = k.sched.task()
            info.caller = task.pid
            k.trace.step(task.pid, k.tasks.comm(task), "queue_work", KHELPER)
            unbound = k.workqueues.system("system_unbound_wq", "system_dfl_wq")
            k.workqueues.queue(unbound, Work(lambda: self._work(info), _WORK))
            return self._wait(info) if wait != UMH_NO_WAIT else 0
        finally:
            self._running -= 1
            if not self._running:
                self._running_waiters.wake_all()

    def _wait(self, info: SubprocessInfo) -> int:
        state = TASK_KILLABLE if info.wait & UMH_KILLABLE else TASK_UNINTERRUPTIBLE
        if info.wait & UMH_FREEZABLE:
            state = freezable(self._k, state)
        result = info.waiters.wait_event(lambda: info.done, state)
        if not info.done:
            info.abandoned = True
            return result
        retval = info.retval
        self._free(info)
        return retval

    def _complete(self, info: SubprocessInfo) -> None:
        """umh_complete()."""
        if info.abandoned:
            self._free(info)
        else:
            info.done = True
            info.waiters.wake_all()

    def _work(self, info: SubprocessInfo) -> None:
        """call_usermodehelper_exec_work(), run by a worker."""
        k = self._k
        worker = k.sched.task()
        comm = k.tasks.comm(worker)
        waits = bool(info.wait & UMH_WAIT_PROC)
        parent = worker if waits else worker.parent  # CLONE_PARENT
        try:
            helper = k.processes.fork(comm, lambda: self._helper(info), kthread=True, parent=parent)
        except LimitError as error:
            info.retval = -error.errno
            self._complete(info)
            return
        k.trace.step(worker.pid, comm, "kernel_thread", info.path, caller=info.caller, child=helper.pid)
        if waits:
            status = k.processes.wait(helper)
            if not info.retval:
                info.retval = status
            self._complete(info)

    def _helper(self, info: SubprocessInfo) -> int:
        """call_usermodehelper_exec_async(): become the program."""
        k = self._k
        task = k.sched.task()
        k.tasks.set_pf(task, PF_KTHREAD, to=False)  # user_mode_thread()
        info.pid = task.pid
        k.trace.helper(info.pid)
        program = None
        info.retval = self._prepare(info)
        if not info.retval:
            try:
                program = self._execve(info)
            except OSError as failure:
                info.retval = -(failure.errno or EINVAL)
        if not info.wait & UMH_WAIT_PROC:
            self._complete(info)
        return program() if program is not None else 0

    def _prepare(self, info: SubprocessInfo) -> int:
        """Make the program's credentials, which the module's init function may change; returns its result."""
        k = self._k
        task = k.sched.task()
        init = self._pointer(info, "init")
        try:
            if init:
                k.processes.enter_files()
            cred = k.creds.prepare(task)
        except LimitError:
            return -ENOMEM
        if cred:
            bset, inheritable = k.creds.caps(cred, "cap_bset"), k.creds.caps(cred, "cap_inheritable")
            k.creds.set_caps(cred, cap_bset=bset & self.bset, cap_inheritable=inheritable & self.inheritable)
        result = signed(k.cpu.call(init, info.address, cred), 4) if init else 0
        if result:
            k.creds.abort(cred)
        else:
            k.creds.commit(task, cred)
        return result

    def _execve(self, info: SubprocessInfo) -> Callable[[], int]:
        """Execute the program, with the arguments as they are now. Raises OSError with execve()'s errno."""
        if info.address:
            k = self._k
            info.path = _text(k, self._pointer(info, "path"))
            info.argv = _strings(k, self._pointer(info, "argv"))
            info.envp = _strings(k, self._pointer(info, "envp"))
        if not info.argv:
            warn_once(self._k, _NO_ARGUMENTS)
            raise OSError(EINVAL, os.strerror(EINVAL))
        return self._k.processes.begin(info.path, info.argv, info.envp)

    # -- enabling -------------------------------------------------------------------------------------

    @property
    def disabled(self) -> bool:
        """True if no helper may start."""
        return self.disable_depth != UMH_ENABLED

    def disable(self, depth: int = UMH_DISABLED) -> int:
        """__usermodehelper_disable(): forbid new helpers; 0, or -EAGAIN if running ones do not end in 5 s.

        -EINVAL for UMH_ENABLED.
        """
        if depth == UMH_ENABLED:
            return -EINVAL
        self.set_disable_depth(depth)
        timeout = RUNNING_HELPERS_TIMEOUT * self._k.clock.hz
        if self._running_waiters.wait_event(lambda: not self._running, TASK_UNINTERRUPTIBLE, timeout):
            return 0
        self.enable()
        return -EAGAIN

    def enable(self) -> None:
        """usermodehelper_enable()."""
        self.set_disable_depth(UMH_ENABLED)

    def set_disable_depth(self, depth: int) -> None:
        """__usermodehelper_set_disable_depth(): wait for the readers; readers to come wait for this."""
        self._writers += 1
        self._sem_waiters.wait_event(lambda: not self._readers)
        self._writers -= 1
        self.disable_depth = depth
        self._sem_waiters.wake_all()
        self._disabled_waiters.wake_all()

    def _down_read(self) -> None:
        self._sem_waiters.wait_event(lambda: not self._writers)
        self._readers += 1

    def read_unlock(self) -> None:
        """usermodehelper_read_unlock()."""
        self._readers -= 1
        self._sem_waiters.wake_all()

    def read_trylock(self) -> int:
        """usermodehelper_read_trylock(): 0 and a reader, or -EAGAIN while helpers are disabled.

        While tasks freeze, it waits for the end of that, and freezes, too.
        """
        k = self._k
        self._down_read()
        while self.disabled:
            self.read_unlock()
            if self.disable_depth == UMH_DISABLED:
                return -EAGAIN
            if self._disabled_waiters.wait_event(self._is_decided, TASK_INTERRUPTIBLE) < 0:
                k.sched.schedule()  # the freezer's signal wakes it
            try_to_freeze(k)
            self._down_read()
        return 0

    def _is_decided(self) -> bool:
        return self.disable_depth != UMH_FREEZING

    def read_lock_wait(self, timeout: int) -> int:
        """usermodehelper_read_lock_wait(): a reader and the jiffies left, or 0 if helpers stay disabled.

        If helpers are enabled, a ``timeout`` of 0 makes a reader, too.
        """
        if timeout < 0:
            return -EINVAL
        self._down_read()
        while self.disabled:
            self.read_unlock()
            timeout = self._disabled_waiters.wait_event(
                lambda: not self.disabled, TASK_UNINTERRUPTIBLE, timeout
            )
            if not timeout:
                break
            self._down_read()
        return timeout


def _text(k: Core, address: int) -> str:
    return k.memory.cstring(address).decode("utf-8", "surrogateescape")


def _strings(k: Core, array: int) -> tuple[str, ...]:
    """The strings of a NULL-terminated array, which may itself be NULL. Raises OSError (E2BIG)."""
    found: list[str] = []
    room = ARGUMENTS_LIMIT
    while array and (pointer := k.memory.u64(array + 8 * len(found))):
        text = k.memory.cstring(pointer, ARGUMENT_LIMIT)
        room -= 8 + len(text) + 1
        if room < 0 or len(text) >= ARGUMENT_LIMIT:
            raise OSError(E2BIG, os.strerror(E2BIG))
        found.append(text.decode("utf-8", "surrogateescape"))
    return tuple(found)


@export()
def call_usermodehelper_setup(
    k: Core, path: Ptr, argv: Ptr, envp: Ptr, gfp: GfpT, init: Ptr, cleanup: Ptr, data: Ptr
) -> Ptr:
    """``struct subprocess_info *call_usermodehelper_setup(path, argv, envp, gfp, init, cleanup, data)``"""
    del gfp
    try:
        return k.helpers.setup_guest(path, argv, envp, init, cleanup, data).address
    except LimitError:
        return 0


@export()
def call_usermodehelper_exec(k: Core, info: Ptr, wait: Int) -> Int:
    """``int call_usermodehelper_exec(struct subprocess_info *sub_info, int wait)``."""
    return k.helpers.exec(k.helpers.find(info), wait)


@export()
def call_usermodehelper(k: Core, path: Ptr, argv: Ptr, envp: Ptr, wait: Int) -> Int:
    """``int call_usermodehelper(const char *path, char **argv, char **envp, int wait)``."""
    info = call_usermodehelper_setup(k, path, argv, envp, 0, 0, 0, 0)
    return call_usermodehelper_exec(k, info, wait) if info else -ENOMEM


@export(gpl=True)
def usermodehelper_read_trylock(k: Core) -> Int:
    """``int usermodehelper_read_trylock(void)``."""
    return k.helpers.read_trylock()


@export(gpl=True)
def usermodehelper_read_lock_wait(k: Core, timeout: Long) -> Long:
    """``long usermodehelper_read_lock_wait(long timeout)``."""
    return k.helpers.read_lock_wait(timeout)


@export(gpl=True)
def usermodehelper_read_unlock(k: Core) -> None:
    """void usermodehelper_read_unlock(void)."""
    k.helpers.read_unlock()
