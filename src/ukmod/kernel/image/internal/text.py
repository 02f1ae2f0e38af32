"""Functions of an image that write code, and that ask where there is any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.machine.abi import Bool, Int, Ptr, SizeT, UInt, ULong
from ukmod.machine.memory import NX

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def _poke(k: Core, address: int, opcode: int, length: int) -> None:
    k.memory.write(address, k.memory.read(opcode, length), force=True)
    k.cpu.flush_icache(address, length)


@export("text_poke", "text_poke_kgdb", "text_poke_copy", "text_poke_copy_locked")
def text_poke(k: Core, address: Ptr, opcode: Ptr, length: SizeT) -> Ptr:
    """void *text_poke(void *addr, const void *opcode, size_t len)."""
    _poke(k, address, opcode, length)
    return address


@export()
def text_poke_set(k: Core, address: Ptr, byte: Int, length: SizeT) -> Ptr:
    """void *text_poke_set(void *addr, int c, size_t len)."""
    k.memory.fill(address, byte & 0xFF, length, force=True)
    k.cpu.flush_icache(address, length)
    return address


@export("text_poke_bp", "text_poke_queue", "text_poke_early", "smp_text_poke_single",
        "smp_text_poke_batch_add")  # fmt: skip
def text_poke_bp(k: Core, address: Ptr, opcode: Ptr, length: SizeT) -> None:
    """void text_poke_bp(void *addr, const void *opcode, size_t len[, const void *emulate]).

    Since v6.16 they are named after all CPUs, which have to agree.
    """
    _poke(k, address, opcode, length)


@export("text_poke_finish", "text_poke_sync", "smp_text_poke_batch_finish", "smp_text_poke_sync_each_cpu")
def text_poke_finish(k: Core) -> None:
    """void text_poke_finish(void)."""
    del k


@export("__module_text_address")
def module_text_address(k: Core, address: ULong) -> Ptr:
    """struct module *__module_text_address(unsigned long addr)."""
    module = k.modules.of_code(address)
    return module.address if module is not None and not k.memory.prot(address) & NX else 0


@export()
def is_module_text_address(k: Core, address: ULong) -> Bool:
    """bool is_module_text_address(unsigned long addr)."""
    return bool(module_text_address(k, address))


@export()
def is_module_address(k: Core, address: ULong) -> Bool:
    """bool is_module_address(unsigned long addr)."""
    return k.modules.of_code(address) is not None


@export()
def stack_trace_save_tsk_reliable(k: Core, task: Ptr, store: Ptr, size: UInt) -> Int:
    """int stack_trace_save_tsk_reliable(struct task_struct *, unsigned long *store, unsigned int size).

    Tasks are switched only where they call the kernel, and its functions are Python's: no stack is in the way
    of a live patch.
    """
    del k, task, store, size
    return 0
