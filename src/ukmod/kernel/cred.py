"""Credentials and capabilities: kernel/cred.c, kernel/capability.c, security/commoncap.c.

A task's struct cred is in guest memory, where modules read and change it. Kernel threads share the idle
task's; a usermode helper, and each process that one starts, has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site
from ukmod.kernel.export import export
from ukmod.kernel.sched.core import Task
from ukmod.machine.abi import Bool, Int, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

CAP_SETPCAP: Final = 8
CAP_SYS_MODULE: Final = 16
CAP_SYS_ADMIN: Final = 21
CAP_SYS_NICE: Final = 23
CAP_SYSLOG: Final = 34
"""include/uapi/linux/capability.h"""
CAP_CHECKPOINT_RESTORE: Final = 40
CAP_FULL_SET: Final = (1 << 41) - 1
"""Every capability since v5.9, up to CAP_CHECKPOINT_RESTORE."""
_SECURE_NOROOT: Final = 1 << 0
_INITIAL: Final = ("cap_permitted", "cap_effective", "cap_bset")
"""The sets that are full in init_cred. The inheritable and the ambient set are empty."""


class Creds:
    """The credentials of tasks."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        types = kernel.types
        self._known = types.has("cred", "cap_effective")
        """Without a layout no module reads credentials, and every task may do anything."""
        self._own: dict[int, int] = {}
        """By address of a task: the credentials that are its own."""
        self._shared = kernel.image.address("init_cred") if kernel.image is not None else 0

    def _offset(self, member: str) -> int:
        return self._k.types.offset("cred", member)

    def begin(self, task: Task) -> None:
        """copy_creds(): give a new process its parent's credentials, a copy if those are the parent's own."""
        if not self._known:
            return
        if not self._shared:
            self._shared = self._initial()
        if task.parent is not None and task.parent.address in self._own and not task.is_kthread:
            self.commit(task, self.prepare(task.parent))
        else:
            self._assign(task, self._shared)

    def _initial(self) -> int:
        """init_cred: root's, with every capability."""
        memory, size = self._k.memory, self._k.types.sizeof("cred")
        cred = memory.map_direct(memory.alloc_frames(1), size)
        memory.set_u32(cred + self._offset("usage"), 4)
        for member in _INITIAL:
            memory.set_u64(cred + self._offset(member), CAP_FULL_SET)
        return cred

    def _assign(self, task: Task, cred: int) -> None:
        for member in ("cred", "real_cred"):
            if self._k.types.has("task_struct", member):
                self._k.memory.set_u64(task.address + self._k.types.offset("task_struct", member), cred)

    def of(self, task: Task) -> int:
        """The address of a task's struct cred; 0 if the layout is unknown."""
        if self._k.image is None or task.address in self._own:
            return self._own.get(task.address, self._shared)
        # A process's own may have been made by the image.
        return self._k.memory.u64(task.address + self._k.types.offset("task_struct", "cred"))

    def prepare(self, task: Task) -> int:
        """prepare_kernel_cred(): a copy of a task's credentials, with one reference; 0 without a layout.

        Raises LimitError without memory.
        """
        if not (old := self.of(task)):
            return 0
        size = self._k.types.sizeof("cred")
        new = self._k.slab.kernel_object(size)
        self._k.memory.write(new, self._k.memory.read(old, size))
        self._k.memory.set_u32(new + self._offset("usage"), 1)
        return new

    def commit(self, task: Task, cred: int) -> None:
        """commit_creds(): from now on these are the task's own credentials; they are freed with it."""
        if not cred:
            return
        self.forget(task)
        self._assign(task, cred)
        self._own[task.address] = cred

    def abort(self, cred: int) -> None:
        """abort_creds(): free credentials that were not committed."""
        if cred:
            self._k.slab.kfree(cred)

    def forget(self, task: Task) -> None:
        """put_cred(): free the credentials of a task that ends, if they are its own."""
        if cred := self._own.pop(task.address, 0):
            self._k.slab.kfree(cred)

    def uid(self, task: Task, member: str = "uid") -> int:
        """A task's uid, or another id that struct cred has."""
        cred = self.of(task)
        return self._k.memory.u32(cred + self._offset(member)) if cred else 0

    # -- capabilities ---------------------------------------------------------------------------------

    def caps(self, cred: int, member: str) -> int:
        """A set of capabilities: bit n is capability n."""
        return self._k.memory.u64(cred + self._offset(member))

    def set_caps(self, cred: int, **sets: int) -> None:
        """Store sets of capabilities by their member's name."""
        for member, value in sets.items():
            self._k.memory.set_u64(cred + self._offset(member), value)

    def capable(self, capability: int) -> bool:
        """capable(): True if the current task has this capability, or if no task runs.

        The capabilities of a user namespace of one's own are none over the kernel.
        """
        task = self._k.sched.current
        cred = self.of(task) if task is not None else 0
        if cred and self._namespace(cred) != self._namespace(self._shared):
            return False
        return not cred or bool(self.caps(cred, "cap_effective") >> capability & 1)

    def _namespace(self, cred: int) -> int:
        """The address of a struct cred's user namespace."""
        return self._k.memory.u64(cred + self._offset("user_ns"))

    def exec(self, task: Task) -> None:
        """cap_bprm_creds_from_file(): the capabilities of a task that executes a program without its own.

        For root they are those of the bounding and the inheritable set; for anybody else the ambient ones.
        """
        if task.address not in self._own:
            return
        cred, memory = self._own[task.address], self._k.memory
        uid, euid, securebits = (memory.u32(cred + self._offset(it)) for it in ("uid", "euid", "securebits"))
        ambient = self.caps(cred, "cap_ambient")
        permitted = effective = ambient
        if not securebits & _SECURE_NOROOT and 0 in (uid, euid):
            permitted |= self.caps(cred, "cap_bset") | self.caps(cred, "cap_inheritable")
            effective = permitted if euid == 0 else ambient
        self.set_caps(cred, cap_permitted=permitted, cap_effective=effective)


def _capable_common(k: Core, capability: int, within: str) -> bool:
    """ns_capable_common(), which compilers put into its callers: BUG() for what is no capability."""
    if not CAP_FULL_SET >> (capability & 0xFFFF_FFFF) & 1:
        k.printk(f"capable() called with invalid cap={capability & 0xFFFF_FFFF}\n", 2)
        k.crash.bug(Site("kernel/capability.c", 373, within))
    return k.creds.capable(capability)


@export(image_first=True)
def capable(k: Core, capability: Int) -> Bool:
    """``bool capable(int cap)``."""
    return _capable_common(k, capability, "capable")


@export(image_first=True)
def ns_capable(k: Core, namespace: Ptr, capability: Int) -> Bool:
    """``bool ns_capable(struct user_namespace *ns, int cap)``; without an image there is only one."""
    del namespace
    return _capable_common(k, capability, "ns_capable")
