"""Ring 3: where user code enters an image's kernel, and what of a task's is kept in the CPU.

arch/x86/entry/entry_64.S and the rest of the image's entry code run unchanged. This is what trap_init(),
syscall_init() and __switch_to() would do for them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.kernel.mm.switch import mm_of, set_loaded_mm
from ukmod.kernel.sched.waiters import Waiters
from ukmod.kernel.x86 import tsc, vdso
from ukmod.machine.usermode import PT_REGS_SIZE, UserGates

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.sched.core import Task

_ENTRIES: Final = {
    0: "asm_exc_divide_error",
    1: "asm_exc_debug",
    3: "asm_exc_int3",
    4: "asm_exc_overflow",
    5: "asm_exc_bounds",
    6: "asm_exc_invalid_op",
    7: "asm_exc_device_not_available",
    10: "asm_exc_invalid_tss",
    11: "asm_exc_segment_not_present",
    12: "asm_exc_stack_segment",
    13: "asm_exc_general_protection",
    14: "asm_exc_page_fault",
    16: "asm_exc_coprocessor_error",
    17: "asm_exc_alignment_check",
    19: "asm_exc_simd_coprocessor_error",
}
"""By vector: the code at which the IDT points, arch/x86/kernel/idt.c."""
_INT80: Final = 0x80
"""The vector of system calls of 32-bit code."""


def let_users_in(k: Core, image: MappedImage) -> None:
    """Prepare the machine's CPU for ring 3, once. Raises LayoutError if the image lacks what that takes."""
    if k.cpu.has_user_mode:
        return
    entries = {vector: address for vector, name in _ENTRIES.items() if (address := image.get(name))}
    if int80 := image.get("asm_int80_emulation") or image.get("entry_INT80_compat"):  # since v6.7, and before
        entries[_INT80] = int80
    gates = UserGates(
        syscall=image.address("entry_SYSCALL_64"),
        exceptions=entries,
        leave=_to_user_mode(image, "irqentry_exit_to_user_mode"),
        resume=image.address("swapgs_restore_regs_and_return_to_usermode"),
        iret=image.address("native_irq_return_iret"),
        entry_text=range(image.address("__entry_text_start"), image.address("__entry_text_end")),
        gdt=k.percpu.base + image.address("gdt_page"),
        tss=k.percpu.base + image.address("cpu_tss_rw"),
        stack_top=_stack_top(k, image),
        counter=partial(tsc.counter, k),
    )
    k.cpu.let_users_in(gates)
    vdso.let_users_in(k, image)


def _to_user_mode(image: MappedImage, name: str) -> int:
    """The address of ``void name(struct pt_regs *)``, which does the work before user code continues.

    Since v6.18 such functions are parts of their callers. One of those does for both: with the registers of
    user code, it does not look at its other argument.
    """
    return image.get(name) or image.address("irqentry_exit")


def _stack_top(k: Core, image: MappedImage) -> int:
    """The address of the per-CPU variable with the upper end of the current task's stack."""
    if (hot := image.get("pcpu_hot")) is not None:  # v6.2 to v6.14
        return k.percpu.base + hot + k.types.offset("pcpu_hot", "top_of_stack")
    if (own := image.get("cpu_current_top_of_stack")) is not None:
        return k.percpu.base + own
    # Until v5.15 it is a member of the TSS that the CPU does not use.
    return k.percpu.base + image.address("cpu_tss_rw") + k.types.offset("tss_struct", "x86_tss.sp1")


class Children(Waiters):
    """The children of a process, and the wait queue for what becomes of them and of its threads."""

    def __init__(self, k: Core) -> None:
        super().__init__(k)
        self.tasks: list[Task] = []
        """The processes that it can wait for, zombies among them."""


class UserThread:
    """The state in the CPU of a task that runs in ring 3: struct thread_struct and __switch_to()."""

    def __init__(self, k: Core, image: MappedImage, task: Task, *, parent: UserThread | None = None) -> None:
        """With ``parent``, the current task's, it is a copy of that: copy_thread()."""
        self._k = k
        self._task = task
        self.children = Children(k)
        # TOP_OF_KERNEL_STACK_PADDING: what CPUs with FRED push below a struct pt_regs is two words longer.
        padding = 16 if image.get("asm_fred_entrypoint_user") else 0
        self._top = task.stack + task.stack_size - padding
        self._top_at = _stack_top(k, image)
        self._save_fpu = image.get("copy_fpregs_to_fpstate") or image.address("save_fpregs_to_fpstate")
        self._fpu = k.tasks.fpu(task)
        if (reset := image.get("fpstate_reset")) is not None:  # since v5.16
            k.cpu.call(reset, self._fpu)
        self._leave_at = _to_user_mode(image, "syscall_exit_to_user_mode")
        self._bases = 0, 0
        self.regs = self._top - PT_REGS_SIZE
        """task_pt_regs(): the address of its struct pt_regs."""
        if parent is not None:
            self._copy(parent)

    def _copy(self, parent: UserThread) -> None:
        k = self._k
        if parent._task.group is self._task.group:
            self.children = parent.children
        parent.save_fpu()
        k.memory.write(self.regs, k.memory.read(parent.regs, PT_REGS_SIZE))
        k.memory.set_u64(self.regs + k.types.offset("pt_regs", "ax"), 0)
        member = k.types.member("fpu", "__fpstate" if k.types.has("fpu", "__fpstate") else "state")
        state = k.memory.read(parent._fpu + member.offset, member.size)
        k.memory.write(self._fpu + member.offset, state)
        k.tasks.set_flag(self._task, k.tasks.tif.need_fpu_load)
        self._bases = k.cpu.user_bases()

    def leave(self) -> None:
        """Save what the CPU has of this task: another one will run."""
        self.save_fpu()
        self._bases = self._k.cpu.user_bases()

    def save_fpu(self) -> None:
        """Have the task's FPU registers in memory; on its way back to user code it loads them.

        No other task may come in between: it would leave its own in the CPU.
        """
        k, task = self._k, self._task
        if not k.tasks.flags(task) & k.tasks.tif.need_fpu_load:
            with k.cpu.interrupts_off():
                k.cpu.call(self._save_fpu, self._fpu)
            k.tasks.set_flag(task, k.tasks.tif.need_fpu_load)

    def resume(self) -> None:
        """Load it again: the task is the current one."""
        k = self._k
        k.memory.set_u64(self._top_at, self._top)
        set_loaded_mm(k, mm_of(k, self._task))
        k.cpu.set_user_bases(*self._bases)

    def begin(self) -> None:
        """Make room for the struct pt_regs on the current task's stack, which is to execute a program."""
        k = self._k
        k.memory.write(self.regs, bytes(PT_REGS_SIZE))
        k.cpu.sp = self.regs & ~15
        k.tasks.set_flag(self._task, k.tasks.tif.need_fpu_load)  # fpu_clone()
        self._task.thread = self
        self.resume()

    def begin_child(self, stack: int) -> None:
        """Load what the CPU has of the current task, a copy; with ``stack``, its stack pointer is that."""
        if stack:
            self._k.memory.set_u64(self.regs + self._k.types.offset("pt_regs", "sp"), stack)
        self._k.cpu.sp = self.regs & ~15
        self.resume()

    def set_tls(self, base: int) -> None:
        """CLONE_SETTLS, before ``begin_child``."""
        self._bases = base, self._bases[1]
        at = self._task.address + self._k.types.offset("task_struct", "thread.fsbase")
        self._k.memory.set_u64(at, base)

    def run(self) -> NoReturn:
        """Run the user code of ``regs`` in the current task, to its end."""
        self._k.cpu.run_user(self.regs, self._leave_at)
