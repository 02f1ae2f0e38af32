"""Exceptions become the oopses of a real kernel; their texts as a whole are compared in test_cases.py."""

from __future__ import annotations

import struct

import pytest
from tests.kernel import machine_code
from tests.kernel.machine_code import CODE, Code

from ukmod.errors import KernelPanic, PatienceError
from ukmod.kernel import watchdog
from ukmod.kernel.core import Core
from ukmod.kernel.oops import Wording
from ukmod.kernel.x86.bug_table import BUGFLAG_ARGS, BUGFLAG_ONCE, BUGFLAG_WARNING, BugLayout
from ukmod.record import replace

SIGKILL, SIGSEGV = 9, 11


def log(k: Core) -> list[str]:
    return list(k.log.lines)


@pytest.fixture
def code(kernel: Core) -> Code:
    return Code(kernel)


def test_a_write_near_null_ends_the_task(kernel: Core, code: Code) -> None:
    assert code.run(machine_code.WRITE_8) == (SIGKILL, None)
    (oops,) = kernel.oopses
    assert (oops.kind, oops.address, oops.title) == ("page fault", 8, "Oops: 0002")
    assert [text for _, text in oops.header[:3]] == [
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "#PF: supervisor write access in kernel mode",
        "#PF: error_code(0x0002) - not-present page",
    ]
    assert oops.state.registers.rip == CODE
    assert kernel.taint.has("D")


def test_newer_kernels_begin_each_title_with_oops(kernel: Core, code: Code) -> None:
    code.run(machine_code.READ_RDI, 0x10)
    (oops,) = kernel.oopses
    newer = replace(oops, state=replace(oops.state, wording=Wording(says_oops=True)))
    assert (oops.title, newer.title) == ("Oops: 0000", "Oops: Oops: 0000")


@pytest.mark.parametrize(
    ("instructions", "arguments", "title"),
    [
        (machine_code.READ_RDI, (0x10,), "Oops: 0000"),
        (machine_code.WRITE_RDI, (CODE,), "Oops: 0003"),
        (machine_code.CALL_NULL, (), "Oops: 0010"),
        (machine_code.DIVIDE, (), "divide error: 0000"),
        (machine_code.UD2, (), "invalid opcode: 0000"),
        (
            machine_code.READ_RDI,
            (0xDEAD_0000_0000_0100,),
            "general protection fault, probably for non-canonical address 0xdead000000000100: 0000",
        ),
    ],
)
def test_each_exception_has_its_title(
    kernel: Core, code: Code, instructions: bytes, arguments: tuple[int, ...], title: str
) -> None:
    code.run(instructions, *arguments)
    assert kernel.oopses[0].title == title
    assert title.startswith("Oops") == (kernel.oopses[0].address is not None)


class TestWarnings:
    """WARN() of Linux 6.19: a format in the entry, and arguments in registers and on the stack."""

    LAYOUT = BugLayout(size=16, address=0, file=8, line=12, flags=14, format=4)

    @pytest.fixture
    def entry(self, kernel: Core, monkeypatch: pytest.MonkeyPatch) -> int:
        monkeypatch.setattr("ukmod.kernel.x86.bugs.bug_layout", lambda types: self.LAYOUT)
        return kernel.slab.kernel_object(256)

    def fill(self, kernel: Core, at: int, words: bytes, flags: int) -> None:
        kernel.memory.write(at + 32, b"drivers/a.c\0")
        kernel.memory.write(at + 64, words + b"\0")
        kernel.memory.write(at, struct.pack("<iiiHH", 0, 60, 24, 7, flags | 9 << 8))

    def warn(self, code: Code, at: int, *more: int) -> tuple[int, int | None]:
        pushed = b"".join(b"\x6a" + bytes([value]) for value in reversed(more))
        undone = b"\x48\x83\xc4" + bytes([8 * len(more)])  # add $n,%rsp
        arguments = b"\xbe\x01\0\0\0\xba\x02\0\0\0\xb9\x03\0\0\0\x41\xb8\x04\0\0\0\x41\xb9\x05\0\0\0"
        ud1 = b"\x67\x48\x0f\xb9\x3a"
        return code.run(arguments + pushed + ud1 + undone + b"\xb8\x2a\0\0\0\xc3", at)

    def test_the_message_has_its_arguments(self, kernel: Core, code: Code, entry: int) -> None:
        self.fill(kernel, entry, b"%d %d %d %d %d %d %d", BUGFLAG_WARNING | BUGFLAG_ARGS)
        assert self.warn(code, entry, 6, 7) == (0, 42)
        (warning,) = kernel.warnings
        assert (warning.message, warning.file, warning.line) == ("1 2 3 4 5 6 7", "drivers/a.c", 7)
        assert kernel.taint.has("W")

    def test_a_format_without_arguments_is_the_message(self, kernel: Core, code: Code, entry: int) -> None:
        self.fill(kernel, entry, b"100%", BUGFLAG_WARNING)
        self.warn(code, entry)
        assert kernel.warnings[0].message == "100%"

    def test_once_is_once(self, kernel: Core, code: Code, entry: int) -> None:
        self.fill(kernel, entry, b"again", BUGFLAG_WARNING | BUGFLAG_ONCE | BUGFLAG_ARGS)
        assert [self.warn(code, entry)[0] for _ in range(2)] == [0, 0]
        assert len(kernel.warnings) == 1


def test_a_fault_after_many_kernel_calls_is_still_seen(kernel: Core, code: Code) -> None:
    kfree = machine_code.call(kernel.symbols.address("kfree"))
    assert code.run(b"\x31\xff" + 20 * kfree + machine_code.WRITE_8) == (SIGKILL, None)
    assert kernel.oopses[0].address == 8


def test_the_next_task_runs_as_if_nothing_had_been(kernel: Core, code: Code) -> None:
    code.run(machine_code.WRITE_8)
    assert code.run(b"\xb8\x2a\x00\x00\x00\xc3") == (0, 42)


def test_a_bad_pointer_given_to_a_kernel_function_is_an_oops_there(kernel: Core, code: Code) -> None:
    strlen = kernel.symbols.address("strlen")
    assert code.run(b"\xbf\x10\x00\x00\x00" + machine_code.call(strlen) + b"\xc3") == (SIGKILL, None)
    (oops,) = kernel.oopses
    assert oops.address == 0x10
    assert oops.state.rip.symbol == "strlen"
    assert oops.state.frames[0].address == CODE + 18
    assert oops.state.frames[0].reliable


def test_running_off_the_stack_is_the_end_of_the_machine(kernel: Core, code: Code) -> None:
    with pytest.raises(KernelPanic, match="Fatal exception in interrupt"):
        code.run(machine_code.RECURSE)
    assert kernel.oopses[0].header[0][1].startswith("BUG: TASK stack guard page was hit at ")


def test_panic_on_oops(kernel: Core, code: Code) -> None:
    kernel.crash.panic_on_oops = True
    with pytest.raises(KernelPanic, match="Fatal exception"):
        code.run(machine_code.WRITE_8)


def test_vector_registers_survive_an_exception(kernel: Core, code: Code) -> None:
    address = kernel.slab.kmalloc(64)
    kernel.slab.kfree(address)  # the fence: reported, and the access goes on
    # movq %rsi,%xmm3; mov (%rdi),%rax; movq %xmm3,%rax; ret
    instructions = b"\x66\x48\x0f\x6e\xde\x48\x8b\x07\x66\x48\x0f\x7e\xd8\xc3"
    assert code.run(instructions, address, 0x1234_5678) == (0, 0x1234_5678)
    assert len(kernel.reports) == 1


def test_code_that_never_ends_is_a_soft_lockup_and_goes_on(
    kernel: Core, code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LOCKUP_SLICES", 8)
    polls = machine_code.call(kernel.symbols.address("rcu_is_watching"))
    code.start(polls + b"\xeb\xf0")
    kernel.run(0.45)
    first, second = kernel.warnings
    pid = first.state.pid
    assert log(kernel)[0] == f"watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [victim:{pid}]"
    assert f"watchdog: BUG: soft lockup - CPU#0 stuck for 44s! [victim:{pid}]" in log(kernel)
    assert second.state.pid == pid
    assert kernel.taint.has("L")


def test_code_that_never_ends_ends_with_the_callers_patience(kernel: Core, code: Code) -> None:
    kernel.patience = 0.2
    polls = machine_code.call(kernel.symbols.address("rcu_is_watching"))
    with pytest.raises(PatienceError, match=r"victim:\d+ was in"):
        code.run(polls + b"\xeb\xf0")
