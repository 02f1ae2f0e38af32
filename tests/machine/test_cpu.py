"""The CPU: calls in both directions, exceptions, and code that runs on and on."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from tests.machine.stops import Stops

from ukmod.errors import MachineError
from ukmod.machine import stubs
from ukmod.machine.cpu import FORGOTTEN_PAGES, Cpu
from ukmod.machine.memory import PAGE_SIZE, READ_EXEC, READ_ONLY, Fault
from ukmod.machine.registers import (
    DE_VECTOR,
    GP_VECTOR,
    MC_VECTOR,
    PF_VECTOR,
    UD_VECTOR,
    CpuException,
    Registers,
)

CODE = 0xFFFF_FFFF_C000_0000
DATA = 0xFFFF_C900_0000_0000


class Ended(BaseException):
    """The kernel's answer to an exception in these tests."""


def load(cpu: Cpu, code: bytes, at: int = CODE) -> int:
    if not cpu.memory.prot(at):
        cpu.memory.map(at, cpu.memory.alloc_frames(1), PAGE_SIZE, READ_EXEC)
    cpu.memory.write(at, code, force=True)
    cpu.flush_code()
    return at


def mov(register: str, value: int) -> bytes:
    """Movabs $value,%register."""
    number = stubs.REGISTERS.index(register)
    return bytes((0x48 | number >> 3, 0xB8 | number & 7)) + struct.pack("<Q", value & (1 << 64) - 1)


def call(function: int) -> bytes:
    """Call a function with the stack aligned, and go on."""
    return b"\x55" + mov("rax", function) + b"\xff\xd0\x5d"


def raised_by(cpu: Cpu, code: bytes, *arguments: int) -> CpuException:
    """The exception that the code ends with."""
    caught: list[CpuException] = []

    def on_exception(raised: CpuException) -> Registers:
        caught.append(raised)
        raise Ended

    cpu.on_exception = on_exception
    function = load(cpu, code)
    with pytest.raises(Ended):
        cpu.call(function, *arguments)
    return caught[0]


class TestCalls:
    """Python calls the guest, the guest calls Python, and so on."""

    def test_arguments_and_result(self, cpu: Cpu) -> None:
        # lea (%rdi,%rsi),%rax; sub %rdx,%rax; ret
        code = load(cpu, b"\x48\x8d\x04\x37\x48\x29\xd0\xc3")
        assert cpu.call(code, 5, 6, 12) == (1 << 64) - 1

    def test_python_function(self, cpu: Cpu) -> None:
        stub = cpu.stubs.add_function(lambda frame: frame[stubs.F_ARGS] * 2 + frame[stubs.F_ARGS + 5])
        assert cpu.call(load(cpu, call(stub) + b"\xc3"), 20, 0, 0, 0, 0, 2) == 42

    def test_a_negative_result_is_sign_extended(self, cpu: Cpu) -> None:
        assert cpu.call(cpu.stubs.add_function(lambda _: -22)) == (1 << 64) - 22

    def test_what_a_c_function_preserves_is_preserved(self, cpu: Cpu) -> None:
        # push %rbx; mov %rdi,%rbx; call; mov %rbx,%rax; pop %rbx; ret
        stub = cpu.stubs.add_function(lambda frame: cpu.call(CODE + 64))
        load(cpu, b"\x53\x48\x89\xfb" + mov("rax", stub) + b"\xff\xd0\x48\x89\xd8\x5b\xc3")
        cpu.memory.write(CODE + 64, mov("rax", 7) + b"\xc3", force=True)
        assert cpu.call(CODE, 0x1234) == 0x1234

    def test_calls_between_guest_and_python_nest(self, cpu: Cpu) -> None:
        def factorial(frame: memoryview) -> int:
            n = frame[stubs.F_ARGS]
            return n * cpu.call(CODE, n - 1) if n > 1 else 1

        load(cpu, call(cpu.stubs.add_function(factorial)) + b"\xc3")
        assert cpu.call(CODE, 10) == 3628800
        assert cpu.depth == 0

    def test_without_end_they_fault(self, cpu: Cpu) -> None:
        load(cpu, call(cpu.stubs.add_function(lambda _: cpu.call(CODE))) + b"\xc3")
        with pytest.raises(Fault):
            cpu.call(CODE)
        assert cpu.depth == 0

    def test_what_a_python_function_raises_is_told_with_its_number(self, cpu: Cpu) -> None:
        told: list[int] = []

        def on_error(_error: BaseException, number: int) -> None:
            told.append(cpu.stubs.address(number))

        cpu.on_error = on_error
        stub = cpu.stubs.add_function(lambda _: cpu.memory.u8(0))
        with pytest.raises(Fault):
            cpu.call(stub)
        assert told == [stub]

    def test_more_functions_than_the_first_pages_hold(self, cpu: Cpu) -> None:
        stubs_ = [cpu.stubs.add_function(lambda _, n=n: n) for n in range(10_000)]
        assert [cpu.call(stubs_[n]) for n in (0, 4095, 9_999)] == [0, 4095, 9_999]


def returns(value: int) -> bytes:
    """A function's code."""
    return mov("rax", value) + b"\xc3"


class TestCode:
    """Code that is written where code was."""

    def test_new_code_in_the_place_of_old(self, cpu: Cpu) -> None:
        assert cpu.call(load(cpu, returns(1))) == 1
        cpu.memory.write(CODE, returns(2), force=True)
        cpu.flush_icache(CODE, len(returns(2)))
        assert cpu.call(CODE) == 2

    def test_one_changed_byte_inside_a_function(self, cpu: Cpu) -> None:
        assert cpu.call(load(cpu, returns(1))) == 1
        cpu.memory.write(CODE + 2, b"\x07", force=True)
        cpu.flush_icache(CODE + 2, 1)
        assert cpu.call(CODE) == 7

    def test_code_across_pages_that_are_not_neighbours_in_ram(self, cpu: Cpu) -> None:
        for page in (CODE, CODE + PAGE_SIZE):
            cpu.memory.map(page, cpu.memory.alloc_frames(1), PAGE_SIZE, READ_EXEC)
            cpu.memory.alloc_frames(3)
        at = CODE + PAGE_SIZE - 5
        assert [cpu.call(load(cpu, returns(value), at)) for value in (1, 2)] == [1, 2]
        cpu.memory.write(at, returns(3), force=True)
        cpu.flush_icache(at, len(returns(3)))
        assert cpu.call(at) == 3

    @pytest.mark.skipif(
        not Path("/proc/self/statm").exists(), reason="only Linux says how much memory is used"
    )
    def test_code_that_is_replaced_again_and_again_uses_up_no_memory(self, cpu: Cpu) -> None:
        """Modules that are loaded and unloaded all day."""

        def used() -> int:
            return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_SIZE

        def rewrite(times: int) -> None:
            code = (mov("rax", 1) + b"\xeb\x00") * 50 + b"\xc3"  # 50 blocks, each ends in a jump to the next
            for _ in range(times):
                cpu.memory.write(CODE, code, force=True)
                cpu.flush_icache(CODE, len(code))
                cpu.call(CODE)

        load(cpu, returns(1))
        rewrite(2 * FORGOTTEN_PAGES)
        before = used()
        rewrite(8 * FORGOTTEN_PAGES)
        assert used() - before < 8 << 20

    def test_what_cannot_be_executed_is_passed_over_without_a_fault(self, cpu: Cpu) -> None:
        cpu.memory.map(DATA, cpu.memory.alloc_frames(1), PAGE_SIZE, READ_ONLY)
        load(cpu, returns(1), DATA + 2 * PAGE_SIZE)
        cpu.flush_icache(DATA, 4 * PAGE_SIZE)
        assert cpu.call(DATA + 2 * PAGE_SIZE) == 1

    def test_a_frame_that_was_code_elsewhere(self, cpu: Cpu) -> None:
        frame = cpu.memory.alloc_frames(1)
        for value in (1, 2):
            cpu.memory.map(DATA, frame, PAGE_SIZE, READ_EXEC)
            cpu.memory.write(DATA, returns(value), force=True)
            cpu.flush_icache(DATA, PAGE_SIZE)
            assert cpu.call(DATA) == value
            cpu.memory.unmap(DATA, PAGE_SIZE)
        caught = raised_by(cpu, call(DATA))
        assert (caught.vector, caught.address) == (PF_VECTOR, DATA)


class TestExceptions:
    """What hardware raises, as a value."""

    @pytest.mark.parametrize(
        ("code", "vector"),
        [
            (b"\x0f\x0b", UD_VECTOR),
            (b"\x31\xc9\xf7\xf1", DE_VECTOR),
            (b"\x0f\xaa", UD_VECTOR),  # rsm
            (b"\xcd\x80", 0x80),
            (mov("rax", 0x8000_0000_0000_0000) + b"\x8b\x00", GP_VECTOR),
        ],
    )
    def test_vectors(self, cpu: Cpu, code: bytes, vector: int) -> None:
        assert raised_by(cpu, code).vector == vector

    @pytest.mark.parametrize(
        ("code", "write"),
        [(b"\x48\x8b\x07", False), (b"\x48\x89\x07", True), (b"\xff\x07", True), (b"\xf3\xaa", True)],
    )
    def test_absent_page(self, cpu: Cpu, code: bytes, write: bool) -> None:
        raised = raised_by(cpu, mov("rcx", 8) + code + b"\xc3", DATA + 8)
        assert (raised.vector, raised.address) == (PF_VECTOR, DATA + 8)
        assert (raised.write, raised.fetch, raised.present) == (write, False, False)

    def test_read_only_page(self, cpu: Cpu) -> None:
        cpu.memory.map(DATA, cpu.memory.alloc_frames(1), PAGE_SIZE, READ_ONLY)
        raised = raised_by(cpu, b"\x48\x89\x07\xc3", DATA)
        assert (raised.write, raised.present) == (True, True)

    def test_data_is_not_executed(self, cpu: Cpu) -> None:
        cpu.memory.map(DATA, cpu.memory.alloc_frames(1), PAGE_SIZE, READ_ONLY)
        raised = raised_by(cpu, b"\xff\xe7", DATA)
        assert (raised.fetch, raised.present, raised.registers.rip) == (True, True, DATA)

    @pytest.mark.parametrize("address", [0, DATA, 0xFFFF_FFFF_FFFF_FFF0])
    def test_jump_to_nothing(self, cpu: Cpu, address: int) -> None:
        raised = raised_by(cpu, b"\xff\xe7", address)
        assert (raised.fetch, raised.present, raised.address) == (True, False, address)

    def test_a_repaired_fault_is_tried_again(self, cpu: Cpu) -> None:
        def repair(raised: CpuException) -> Registers:
            cpu.memory.map(DATA, cpu.memory.alloc_frames(1), PAGE_SIZE, READ_ONLY)
            cpu.memory.write(DATA, b"\x2a", force=True)
            return raised.registers

        cpu.on_exception = repair
        assert cpu.call(load(cpu, b"\x48\x8b\x07\xc3"), DATA) == 42

    def test_a_handler_may_skip_the_faulting_instruction(self, cpu: Cpu) -> None:
        cpu.on_exception = lambda raised: replace(raised.registers, rip=raised.registers.rip + 2)
        assert cpu.call(load(cpu, mov("rax", 3) + b"\x0f\x0b\xc3")) == 3

    def test_many_calls_do_not_change_what_a_fault_is(self, cpu: Cpu) -> None:
        stub = cpu.stubs.add_function(lambda _: 0)
        # mov $2000,%ebx; call; dec %ebx; jnz; mov (0),%eax
        loop = b"\xbb\xd0\x07\x00\x00" + call(stub) + b"\xff\xcb\x75\xee"
        raised = raised_by(cpu, b"\x53" + loop + b"\x8b\x04\x25\0\0\0\0")
        assert (raised.vector, raised.address) == (PF_VECTOR, 0)


class TestForgery:
    """Guest code may know how Python is called, and try to do it itself."""

    @pytest.mark.parametrize("number", [2, 1000, 1 << 31, 1 << 63, (1 << 64) - 1])
    def test_a_trap_without_a_function(self, cpu: Cpu, number: int) -> None:
        raised = raised_by(cpu, mov("r11", number) + mov("rax", stubs.TRAP_AT) + b"\xff\xe0")
        assert raised.vector == GP_VECTOR
        assert stubs.TRAP_AT < raised.registers.rip <= stubs.PADDING_AT

    @pytest.mark.parametrize("number", [1000, (1 << 64) - 1])
    def test_a_forged_trap_frame(self, cpu: Cpu, number: int) -> None:
        code = mov("rdi", stubs.FRAME_BASE) + mov("rax", number) + b"\x48\x89\x07\xf4"
        assert raised_by(cpu, code).vector == GP_VECTOR

    @pytest.mark.parametrize("sp", [0, 8, 1 << 63, stubs.STUB_BASE, (1 << 64) - 8])
    def test_a_trap_without_a_stack(self, cpu: Cpu, sp: int) -> None:
        stub = cpu.stubs.add_function(lambda _: 0)
        raised = raised_by(cpu, mov("rsp", sp) + mov("rax", stub) + b"\xff\xe0")
        assert raised.vector in (PF_VECTOR, GP_VECTOR)

    def test_stubs_cannot_be_written(self, cpu: Cpu) -> None:
        raised = raised_by(cpu, b"\xc6\x07\x90\xc3", cpu.stubs.add_function(lambda _: 0))
        assert (raised.write, raised.present) == (True, True)

    def test_the_trap_frame_is_not_executed(self, cpu: Cpu) -> None:
        assert raised_by(cpu, b"\xff\xe7", stubs.FRAME_BASE).fetch

    @pytest.mark.parametrize(
        "code",
        [
            b"\x31\xc0\x0f\x22\xc0",  # mov %rax,%cr0: paging off
            mov("rax", 0x40_0000) + b"\x0f\x22\xd8\xc3",  # page tables of nothing
            mov("rax", 0xF_FFFF_FFFF_F000) + b"\x0f\x22\xd8\xc3",  # page tables outside of RAM
            b"\x31\xc0\x0f\x22\xe0\xc3",  # mov %rax,%cr4
            b"\xb9\x80\x00\x00\xc0\x31\xc0\x31\xd2\x0f\x30\xc3",  # wrmsr EFER
        ],
    )
    def test_control_registers(self, cpu: Cpu, code: bytes) -> None:
        assert raised_by(cpu, code).vector in (PF_VECTOR, GP_VECTOR, MC_VECTOR)
        assert cpu.call(load(cpu, mov("rax", 42) + b"\xc3", CODE + PAGE_SIZE)) == 42

    @pytest.mark.parametrize(
        "code",
        [b"\x48\xcf", b"\xcf", b"\x48\x0f\x07", b"\x0f\x05", b"\x0f\x34", b"\x0f\x35", b"\x48\xcb", b"\xcb"],
    )
    def test_ways_out_of_the_kernel(self, cpu: Cpu, code: bytes) -> None:
        raised_by(cpu, code)

    @pytest.mark.parametrize("byte", [0, 0xFF])
    def test_a_guest_that_is_its_own_hypervisor(self, cpu: Cpu, byte: int) -> None:
        """Its virtual machine's state is nonsense; the engine alone would leave and fault for ever."""
        block = cpu.memory.alloc_frames(1)
        cpu.memory.view[block : block + PAGE_SIZE] = bytes([byte]) * PAGE_SIZE
        # rdmsr EFER; or $SVME,%eax; wrmsr; vmrun
        code = b"\xb9\x80\x00\x00\xc0\x0f\x32\x0d\x00\x10\x00\x00\x0f\x30" + mov("rax", block)
        raised_by(cpu, code + b"\x0f\x01\xd8\xc3")
        assert cpu.call(load(cpu, mov("rax", 42) + b"\xc3", CODE + PAGE_SIZE)) == 42

    def test_ports_lead_nowhere(self, cpu: Cpu) -> None:
        cpu.call(load(cpu, b"\xec\xee\xe4\x60\xc3"))


class TestRunningOn:
    """Code that does not call the kernel is interrupted."""

    @pytest.mark.parametrize(
        "code", [b"\xeb\xfe", b"\xfa\xeb\xfe", b"\xf4\xeb\xfd", b"\xe8\0\0\0\0\x58\xeb\xf8"]
    )
    def test_guest_code_that_runs_on_is_reported_as_stuck(self, cpu: Cpu, code: bytes) -> None:
        told: list[int] = []

        def stuck(registers: Registers, silent: bool) -> None:
            told.append(registers.rip)
            assert silent
            raise Ended

        cpu.on_stuck = stuck
        with pytest.raises(Ended):
            cpu.call(load(cpu, code))
        assert CODE <= told[0] < CODE + 64

    def test_stuck_guest_code_may_continue(self, cpu: Cpu) -> None:
        # 1: cmpb $0,(%rdi); je 1b; mov $5,%eax; ret
        at = cpu.memory.map_direct(cpu.memory.alloc_frames(1), PAGE_SIZE)
        cpu.on_stuck = lambda _registers, _silent: cpu.memory.set_u8(at, 1)
        assert cpu.call(load(cpu, b"\x80\x3f\x00\x74\xfb\xb8\x05\x00\x00\x00\xc3"), at) == 5

    def test_an_interrupted_run_is_no_fault_because_an_earlier_one_left_a_vector(self, cpu: Cpu) -> None:
        """As one does that was begun by the engine itself, for a benchmark for example."""
        at = cpu.memory.map_direct(cpu.memory.alloc_frames(1), PAGE_SIZE)
        cpu.on_stuck = lambda _registers, _silent: cpu.memory.set_u8(at, 1)
        cpu._interrupt(14)
        assert cpu.call(load(cpu, b"\x80\x3f\x00\x74\xfb\xb8\x05\x00\x00\x00\xc3"), at) == 5

    @pytest.mark.parametrize("first", range(8))
    def test_wherever_it_is_interrupted_it_continues(self, cpu: Cpu, first: int) -> None:
        """On its way into and out of Python, too, where the trap frame alone has what comes next."""
        other = load(cpu, returns(7), CODE + 64)
        stub = cpu.stubs.add_function(lambda frame: frame[stubs.F_ARGS] * 2)
        load(cpu, b"\x53\x48\x89\xfb" + call(stub) + b"\x48\x01\xd8\x5b\xc3")  # rbx = rdi; call; rax += rbx

        def interrupt(_registers: Registers, _silent: bool) -> None:
            cpu.call(other, 3)

        cpu.on_stuck = interrupt
        stops = Stops(cpu, every=100, first=first)
        assert cpu.call(CODE, 20) == 60
        assert len(stops.places) == (first < 7)

    def test_a_loop_of_exceptions_uses_up_the_slice(self, cpu: Cpu) -> None:
        cpu.on_exception = lambda raised: replace(raised.registers, rip=raised.registers.rip + 2)
        told: list[bool] = []

        def stuck(_registers: Registers, silent: bool) -> None:
            told.append(silent)
            raise Ended

        cpu.on_stuck = stuck
        cpu.new_slice(10_000)
        with pytest.raises(Ended):
            cpu.call(load(cpu, b"\x0f\x0b\xeb\xfc"))
        assert told == [False]


def test_an_exception_without_a_handler_is_a_machine_error(cpu: Cpu) -> None:
    with pytest.raises(MachineError, match="unhandled exception 6"):
        cpu.call(load(cpu, b"\x0f\x0b"))


def test_what_a_port_raises_comes_out_of_the_call(cpu: Cpu) -> None:
    def load_(port: int, size: int) -> int:
        raise KeyboardInterrupt(port, size)

    cpu.on_port_io(load_, lambda _port, _size, _value: None)
    code = load(cpu, b"\x31\xc0\xe4\x42\xeb\xfe")  # xor %eax,%eax; in $0x42,%al; 1: jmp 1b
    with pytest.raises(KeyboardInterrupt) as caught:
        cpu.call(code)
    assert caught.value.args == (0x42, 1)


def test_a_state_of_another_size_is_refused(cpu: Cpu) -> None:
    state = cpu._engine.save()
    with pytest.raises(MachineError, match="version of the engine"):
        cpu._engine.restore(state[:-8])
