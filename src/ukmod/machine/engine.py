"""The engine: one emulated CPU of Unicorn's, on a machine's memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from typing import Any, Final

from ukmod.errors import MachineError, MissingExtraError
from ukmod.machine import registers as values
from ukmod.machine import stubs
from ukmod.machine.memory import PAGE_SIZE, Memory
from ukmod.machine.registers import Registers

try:
    from ukmod.machine import libunicorn as lib
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("The emulated machine", "machine", error) from error

emu_start: Final = lib.uc_emu_start
"""``emu_start(handle, rip, until, 0, instructions)`` runs guest code; returns the engine's error, or 0."""
MSR_STAR: Final = 0xC000_0081
MSR_GS_BASE: Final = 0xC000_0101
MSR_KERNEL_GS_BASE: Final = 0xC000_0102
_MSR_EFER = 0xC000_0080
_EFER_SCE, _EFER_LME, _EFER_LMA, _EFER_NX = 1 << 0, 1 << 8, 1 << 10, 1 << 11
_CPU_MODEL = lib.control(lib.CTL_CPU_MODEL, 1)
_TLB_FLUSH = lib.control(lib.CTL_TLB_FLUSH)
_TB_FLUSH = lib.control(lib.CTL_TB_FLUSH)
_TB_REMOVE = lib.control(lib.CTL_TB_REMOVE_CACHE, 2)
_RIP, _RFLAGS, _CR3, _CR4 = (lib.REGISTERS[name] for name in ("rip", "rflags", "cr3", "cr4"))
_FS, _GS = lib.REGISTERS["fs_base"], lib.REGISTERS["gs_base"]
_EXTENDED: Final = (
    *(f"xmm{n}" for n in range(16)), "mxcsr",
    *(f"fp{n}" for n in range(8)), "fpcw", "fpsw", "fptag",
    "fs_base", "gs_base", "msr",
)  # fmt: skip
_SLOT: Final = 16
"""The bytes that a block has for each register: what the largest needs."""
_BEFORE_DR0: Final = 16
"""The distance in the engine's CPU state from the error code of the last exception to DR0."""
_PF_BITS: Final = values.PF_PROT | values.PF_WRITE | values.PF_USER | values.PF_RSVD | values.PF_INSTR
_MARK: Final = 0x5DEE_CE66_D123_4567
"""A value of DR0 that the CPU state has nowhere else."""
_VECTOR_OF_ERROR = {
    lib.ERR_INSN_INVALID: values.UD_VECTOR,
    # Missing physical memory, because of page tables that the guest made itself, or has none.
    lib.ERR_FETCH_UNMAPPED: values.MC_VECTOR,
    lib.ERR_READ_UNMAPPED: values.MC_VECTOR,
    lib.ERR_WRITE_UNMAPPED: values.MC_VECTOR,
}
"""The exception that hardware would raise for each error that the engine reports as its own."""


class RegisterBlock:
    """Some registers, read and written by one call of the library; "msr" is MSR_KERNEL_GS_BASE."""

    def __init__(self, handle: ctypes.c_void_p, *names: str) -> None:
        self._handle = handle
        self._count = len(names)
        self._numbers = (ctypes.c_int * self._count)(*(lib.REGISTERS[name] for name in names))
        self._buffer = (ctypes.c_char * (_SLOT * self._count))()
        base = ctypes.addressof(self._buffer)
        self._places = (ctypes.c_void_p * self._count)(*(base + _SLOT * n for n in range(self._count)))
        if "msr" in names:
            lib.Msr.from_buffer(self._buffer, _SLOT * names.index("msr")).rid = MSR_KERNEL_GS_BASE
        self._words = memoryview(self._buffer).cast("B").cast("Q")

    def read(self) -> None:
        """Read all of them from the CPU."""
        lib.uc_reg_read_batch(self._handle, self._numbers, self._places, self._count)

    def write(self) -> None:
        """Set all of them in the CPU."""
        lib.uc_reg_write_batch(self._handle, self._numbers, self._places, self._count)

    def save(self) -> bytes:
        """Their values, for ``restore``."""
        self.read()
        return self._buffer.raw

    def restore(self, values: bytes) -> None:
        """Set all of them to values that ``save`` has returned."""
        self._buffer.raw = values
        self.write()

    def values(self) -> list[int]:
        """The low 8 bytes of each register, in their order."""
        self.read()
        return self._words.tolist()[::2]

    def assign(self, values: Iterable[int]) -> None:
        """Set all of them, in their order."""
        for n, value in enumerate(values):
            self._words[2 * n] = value
        self.write()


class Engine:
    """An engine in 64-bit mode. It calls ``interrupt(vector)`` for exceptions.

    Its methods raise MachineError if the engine refuses.
    """

    def __init__(self, memory: Memory, interrupt: Callable[[int], None]) -> None:
        self.handle = ctypes.c_void_p()
        """The engine's uc_engine *."""
        self.raised: BaseException | None = None
        """An exception of a callback: none can pass through the engine, so it has stopped instead."""
        lib.check(lib.uc_open(lib.ARCH_X86, lib.MODE_64, ctypes.byref(self.handle)))
        self._callbacks: list[object] = []
        """The engine does not keep them alive."""
        # As used by the real kernels we compare with.
        lib.check(lib.uc_ctl(self.handle, _CPU_MODEL, ctypes.c_int(lib.CPU_X86_QEMU64)))
        self._ram: Any = (ctypes.c_char * memory.size).from_buffer(memory.ram)
        lib.check(lib.uc_mem_map_ptr(self.handle, 0, memory.size, lib.PROT_ALL, ctypes.addressof(self._ram)))
        self.set_root(memory.root)
        self.set_cr4(values.CR4)
        self.write_msr(_MSR_EFER, _EFER_SCE | _EFER_LME | _EFER_LMA | _EFER_NX)
        self._write(lib.REGISTERS["cr0"], values.CR0)
        self._write(_RFLAGS, values.RFLAGS)
        self._hook(lib.HOOK_INTR, lib.INTERRUPT, lambda _uc, vector, _: interrupt(vector))
        self._extended = self.block(*_EXTENDED)
        self._settable = self.block(*stubs.REGISTERS, "rflags")
        self._all = self.block(*stubs.REGISTERS, "rip", "rflags", "cr2")
        self._context = ctypes.c_void_p()
        lib.check(lib.uc_context_alloc(self.handle, ctypes.byref(self._context)))
        self._exception = self._find_exception()

    def close(self) -> None:
        """Free the engine, which uses some 30 MB of the host's memory, and let go of the machine's.

        It has no handle then: a later call is an error of Python's, and does not reach the library.
        """
        if context := vars(self).pop("_context", None):
            lib.uc_context_free(context)
        if handle := vars(self).pop("handle", None):
            lib.uc_close(handle)
        vars(self).clear()

    def __del__(self) -> None:
        self.close()

    def stop(self) -> None:
        """End the run that is in progress, from another thread or a callback."""
        lib.uc_emu_stop(self.handle)

    # -- callbacks ------------------------------------------------------------------------------------

    def add_device(self, physical: int, read: Callable[[int, int], int]) -> None:
        """Make ``read(offset, size)`` answer loads from a page that is not RAM."""
        answer = self._callback(lib.MMIO_READ, lambda _uc, offset, size, _: read(offset, size))
        lib.check(lib.uc_mmio_map(self.handle, physical, PAGE_SIZE, answer, None, None, None))

    def add_ports(self, load: Callable[[int, int], int], store: Callable[[int, int, int], None]) -> None:
        """Make ``load(port, size)`` answer IN, and ``store(port, size, value)`` take OUT."""
        self._hook(lib.HOOK_INSN, lib.IN, lambda _uc, port, size, _: load(port, size), lib.X86_INS_IN)
        self._hook(
            lib.HOOK_INSN,
            lib.OUT,
            lambda _uc, port, size, value, _: store(port, size, value),
            lib.X86_INS_OUT,
        )

    def on_syscall(self, function: Callable[[], None]) -> None:
        """Call ``function`` at each SYSCALL, which otherwise does nothing."""
        self._hook(lib.HOOK_INSN, lib.SYSCALL, lambda _uc, _: function(), lib.X86_INS_SYSCALL)

    def _hook(self, kind: int, form: Any, function: Callable[..., Any], *instruction: int) -> None:
        place, more = ctypes.byref(ctypes.c_size_t()), map(ctypes.c_int, instruction)
        callback = self._callback(form, function)
        lib.check(lib.uc_hook_add(self.handle, place, kind, callback, None, 1, 0, *more))  # at any address

    def _callback(self, form: Any, function: Callable[..., Any]) -> Any:
        def called(*arguments: int) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:  # noqa: BLE001 - the run's owner raises it
                self.raised = self.raised or error
                self.stop()
                return 0

        callback = form(called)
        self._callbacks.append(callback)
        return callback

    # -- registers ------------------------------------------------------------------------------------

    def _read(self, register: int) -> int:
        value = ctypes.c_uint64()
        lib.uc_reg_read(self.handle, register, ctypes.byref(value))
        return value.value

    def _write(self, register: int, value: int) -> None:
        lib.uc_reg_write(self.handle, register, ctypes.byref(ctypes.c_uint64(value)))

    @property
    def rflags(self) -> int:
        """RFLAGS."""
        return self._read(_RFLAGS)

    @rflags.setter
    def rflags(self, value: int) -> None:
        self._write(_RFLAGS, value)

    @property
    def rip(self) -> int:
        """RIP: where the run that has ended would continue."""
        return self._read(_RIP)

    def set_root(self, root: int) -> None:
        """Use the page table at a physical address: MOV to CR3, which also discards cached translations."""
        self._write(_CR3, root)

    def write_msr(self, number: int, value: int) -> None:
        """WRMSR."""
        lib.check(lib.uc_reg_write(self.handle, lib.REGISTERS["msr"], ctypes.byref(lib.Msr(number, value))))

    def registers(self) -> Registers:
        """All registers at present, except those of the FPU."""
        *general, rip, rflags, cr2 = self._all.values()
        return Registers(tuple(general), rip, rflags, cr2)

    def set_registers(self, registers: Registers, extended: bytes) -> None:
        """Set all registers except RIP; ``extended`` are those of ``extended_registers``, or empty."""
        self._settable.assign((*registers.gpr, registers.rflags))
        if extended:
            self._extended.restore(extended)

    def block(self, *names: str) -> RegisterBlock:
        """These registers, to be read and written together."""
        return RegisterBlock(self.handle, *names)

    def set_table(self, register: str, base: int, limit: int, *, selector: int = 0, flags: int = 0) -> None:
        """LGDT or LTR: "gdtr" or "tr"."""
        table = lib.Table(selector, base, limit, flags)
        lib.check(lib.uc_reg_write(self.handle, lib.REGISTERS[register], ctypes.byref(table)))

    def set_cr4(self, value: int) -> None:
        """MOV to CR4."""
        self._write(_CR4, value)

    @property
    def privilege(self) -> int:
        """The current privilege level, 0 to 3."""
        return self._read(lib.REGISTERS["cs"]) & 3

    def jump(self, address: int) -> None:
        """Set RIP, in a callback: the run in progress continues there."""
        self._write(_RIP, address)

    def extended_registers(self) -> bytes:
        """The registers of the FPU and of SSE, and the bases of FS and GS."""
        return self._extended.save()

    def restore_extended(self, values: bytes) -> None:
        """Set the registers that ``extended_registers`` has returned."""
        self._extended.restore(values)

    def swap_gs(self) -> None:
        """SWAPGS."""
        own, other = self._read(_GS), self._read_msr(MSR_KERNEL_GS_BASE)
        self._write(_GS, other)
        self.write_msr(MSR_KERNEL_GS_BASE, own)

    def user_bases(self) -> tuple[int, int]:
        """In ring 0: the bases of FS, and of the GS that SWAPGS would set."""
        return self._read(_FS), self._read_msr(MSR_KERNEL_GS_BASE)

    def set_user_bases(self, fs: int, gs: int) -> None:
        """Set what ``user_bases`` returns."""
        self._write(_FS, fs)
        self.write_msr(MSR_KERNEL_GS_BASE, gs)

    def _read_msr(self, number: int) -> int:
        msr = lib.Msr(number, 0)
        lib.check(lib.uc_reg_read(self.handle, lib.REGISTERS["msr"], ctypes.byref(msr)))
        value: int = msr.value
        return value

    def save(self) -> bytes:
        """The state of the CPU, with what the engine knows of it apart from registers."""
        lib.check(lib.uc_context_save(self.handle, self._context))
        return ctypes.string_at(self._context, lib.uc_context_size(self.handle))

    def error_code(self) -> int:
        """The error code of the last page fault, which the engine keeps but gives no name to.

        Raises MachineError if it is not one: another version of the engine.
        """
        code, _ = self.exception_state()
        if code & ~_PF_BITS:
            raise MachineError(
                f"the engine keeps no error code of a page fault where it is known to: {code:#x}"
            )
        return code

    def exception_state(self) -> tuple[int, bool]:
        """The error code of the last exception, and whether INT n has raised it."""
        lib.uc_context_save(self.handle, self._context)
        code, software = self._exception
        return code, bool(software)

    def _find_exception(self) -> ctypes.Array[ctypes.c_uint32]:
        """These two words in the saved state, which lie at a known distance from a register."""
        self._write(lib.REGISTERS["dr0"], _MARK)
        at = self.save().find(_MARK.to_bytes(8, "little"))
        self._write(lib.REGISTERS["dr0"], 0)
        if at < 0:
            raise MachineError("the engine's state does not have DR0 where it is known to")
        return (ctypes.c_uint32 * 2).from_address((self._context.value or 0) + at - _BEFORE_DR0)

    def restore(self, state: bytes) -> None:
        """Restore a state that ``save`` has returned, in this process or another one."""
        if len(state) != lib.uc_context_size(self.handle):
            raise MachineError("the CPU's state is not of this version of the engine")
        lib.check(lib.uc_context_restore(self.handle, state))

    # -- translations ---------------------------------------------------------------------------------

    def flush_tlb(self) -> None:
        """Discard cached address translations."""
        lib.uc_ctl(self.handle, _TLB_FLUSH)

    def flush_code(self) -> None:
        """Discard all translated code."""
        lib.uc_ctl(self.handle, _TB_FLUSH)

    def forget_code(self, start: int, end: int) -> None:
        """Discard the code translated from these virtual addresses, which lie in one page."""
        lib.uc_ctl(self.handle, _TB_REMOVE, ctypes.c_uint64(start), ctypes.c_uint64(end))


def vector_of(error: int) -> int:
    """The exception for an error of the engine's own. Raises MachineError if there is none."""
    if error not in _VECTOR_OF_ERROR:
        lib.check(error)
    return _VECTOR_OF_ERROR[error]
