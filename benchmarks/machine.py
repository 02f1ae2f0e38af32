"""The emulated CPU beside bare Unicorn: how fast guest code runs, and what a call into Python costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from tests import golden
from unicorn import UC_ARCH_X86, UC_HOOK_CODE, UC_MODE_64, Uc
from unicorn import x86_const as x86

from benchmarks import Row, table
from ukmod.kernel.api import Kernel
from ukmod.machine.cpu import Cpu
from ukmod.machine.engine import emu_start
from ukmod.machine.memory import PAGE_SIZE, READ_EXEC, Memory
from ukmod.machine.stubs import REGISTERS
from ukmod.record import replace

_RUNS = 7
LAPS = 20_000_000
_CALLS = 200_000
_CODE = 0xFFFF_FFFF_C000_0000
_FLAT_CODE, _FLAT_STACK, _FLAT_DATA, _FLAT_HOOKED = 0x10_0000, 0x21_0000, 0x32_3000, 0x43_5000

# %rax += %rdi and two increments, %rdi times
ARITHMETIC = bytes.fromhex("31c0 4801f8 48ffc0 48ffcf 75f5 c3")
# %rax = *%rsi += %rdi, %rdi times
_LOAD_STORE = bytes.fromhex("31c0 488906 488b06 4801f8 488906 48ffcf 75f2 c3")
# the function at %rsi called %rdi times
_CALL = bytes.fromhex("53 55 4154 4889fb 4989f4 31ff 41ffd4 48ffcb 75f6 415c 5d 5b c3")


def main() -> list[Row]:
    """Time both in turn."""
    return [
        *_rate("arithmetic loop", ARITHMETIC, 4),
        *_rate("load and store loop", _LOAD_STORE, 5),
        *_calls(),
    ]


class _Ours:
    """A CPU of ours with one page of code, a stack and one page of data."""

    def __init__(self, code: bytes) -> None:
        memory = Memory(16 << 20)
        self.cpu = Cpu(memory)
        self.cpu.sp = memory.map_direct(memory.alloc_frames(4), 4 * PAGE_SIZE) + 4 * PAGE_SIZE
        self.data = memory.map_direct(memory.alloc_frames(1), PAGE_SIZE)
        memory.map(_CODE, memory.alloc_frames(1), PAGE_SIZE, READ_EXEC)
        memory.write(_CODE, code, force=True)
        self.cpu.flush_code()

    def run(self, *arguments: int) -> int:
        return self.cpu.call(_CODE, *arguments)

    def run_plainly(self, count: int, size: int) -> None:
        engine = self.cpu._engine  # noqa: SLF001 - the engine without what is measured
        now = engine.registers()
        arguments = {"rdi": count, "rsi": self.data}
        general = tuple(arguments.get(name, value) for name, value in zip(REGISTERS, now.gpr, strict=True))
        engine.set_registers(replace(now, gpr=general), b"")
        emu_start(engine.handle, _CODE, _CODE + size - 1, 0, 0)

    def close(self) -> None:
        self.cpu.close()
        self.cpu.memory.close()


class Bare:
    """The same in Unicorn alone: page tables that map each address to itself, nothing hooked."""

    def __init__(self, code: bytes) -> None:
        self.uc: Any = Uc(UC_ARCH_X86, UC_MODE_64)
        self.uc.mem_map(0, 16 << 20)
        tables = (0x1000, 0x2003), (0x2000, 0x3003), *((0x3000 + 8 * n, n << 21 | 0x83) for n in range(8))
        for at, entry in tables:
            self.uc.mem_write(at, entry.to_bytes(8, "little"))
        for register, value in ((x86.UC_X86_REG_CR3, 0x1000), (x86.UC_X86_REG_CR4, 0x620)):
            self.uc.reg_write(register, value)
        self.uc.msr_write(0xC000_0080, 0x500)  # EFER: LME, LMA
        self.uc.reg_write(x86.UC_X86_REG_CR0, 0x8005_0033)
        self.uc.mem_write(_FLAT_CODE, code)
        self.end = _FLAT_CODE + len(code) - 1

    def run(self, count: int, pointer: int) -> int:
        """Run the code with these in %rdi and %rsi; returns what is in %rax."""
        self.uc.reg_write(x86.UC_X86_REG_RSP, _FLAT_STACK + 0x8008)
        self.uc.reg_write(x86.UC_X86_REG_RDI, count)
        self.uc.reg_write(x86.UC_X86_REG_RSI, pointer)
        self.uc.emu_start(_FLAT_CODE, self.end)
        return int(self.uc.reg_read(x86.UC_X86_REG_RAX))


def _rate(name: str, code: bytes, instructions: int) -> list[Row]:
    """Two rows: beside an engine that is set up by the book, and beside our own engine without our loop
    around it. The second one says what our loop costs; the first also has what the set-up makes of it.
    """
    ours, bare = _Ours(code), Bare(code)
    assert ours.run(LAPS, ours.data) == bare.run(LAPS, _FLAT_DATA)
    times = _in_turn(
        lambda: ours.run(LAPS, ours.data),
        lambda: ours.run_plainly(LAPS, len(code)),
        lambda: bare.run(LAPS, _FLAT_DATA),
    )
    ours.close()
    rate, plain, theirs = (instructions * LAPS / 1e6 / taken for taken in times)
    return [
        Row(name, rate, plain, "M instr/s", "other: the same engine, by a plain emu_start()"),
        Row(name, rate, theirs, "M instr/s", "other: a bare Unicorn of its own"),
    ]


def _calls() -> list[Row]:
    bare, ours = Bare(_CALL), _Ours(_CALL)
    bare.uc.mem_write(_FLAT_HOOKED, b"\xc3")
    bare.uc.hook_add(UC_HOOK_CODE, lambda *_: None, begin=_FLAT_HOOKED, end=_FLAT_HOOKED)
    function = ours.cpu.stubs.add_function(lambda _frame: 0)
    with Kernel() as k:
        core = k.boot([golden.modules()["ok_dep"]])
        core.memory.map(_CODE, core.memory.alloc_frames(1), PAGE_SIZE, READ_EXEC)
        core.memory.write(_CODE, _CALL, force=True)
        core.cpu.flush_code()
        exported = core.symbols.address("jiffies_to_msecs")

        def kernel() -> None:
            core.run_task("bench", lambda: core.cpu.call(_CODE, _CALLS, exported) and 0)

        times = _in_turn(lambda: ours.run(_CALLS, function), lambda: bare.run(_CALLS, _FLAT_HOOKED), kernel)
    ours.close()
    stub, hook, full = (taken / _CALLS * 1e6 for taken in times)
    note = "other: a callback of bare Unicorn's HOOK_CODE"
    return [
        Row("call into Python", stub, hook, "us", f"{note}; ours may sleep"),
        Row("call of an exported kernel function", full, hook, "us", "the same, arguments converted"),
    ]


def _in_turn(*works: Callable[[], object]) -> tuple[float, ...]:
    """The median of what each takes, in seconds of CPU time, all of them run in turn."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(_RUNS):
        for work, taken in zip(works, times, strict=True):
            start = time.process_time()
            work()
            taken.append(time.process_time() - start)
    return tuple(map(statistics.median, times))


if __name__ == "__main__":
    print(table(main()))
