"""Whatever guest code sets its registers and page tables to, its task ends, and not in a traceback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.answering import Answering
from tests.kernel.hostile_state import CODE, ENTRY, INSTRUCTIONS, NUMBERS, SHIFTS, mov
from tests.real import debian

from ukmod.machine import stubs

pytestmark = pytest.mark.fuzz

NUMBER = st.builds(
    lambda number, near: number + near, st.sampled_from(NUMBERS), st.sampled_from((0, 0, 0, 1, -8))
)
SET = st.builds(mov, st.sampled_from(stubs.REGISTERS), NUMBER)
ANYTHING = st.builds(lambda start, rest: start + rest, st.sampled_from(INSTRUCTIONS), st.binary(max_size=3))
PROGRAM = st.lists(SET | SET | ANYTHING | st.binary(min_size=1, max_size=8), min_size=2, max_size=12).map(
    b"".join
)
BITS = st.lists(st.integers(0, 63), max_size=5).map(lambda bits: sum({1 << bit for bit in bits}))
FRAME = st.sampled_from((0, 1 << 20, 2 << 20, (1 << 30) - 4096, 1 << 30, 1 << 36, 0xF_FFFF_FFFF_F000))

SVM = "b9800000c00f320d00100000" + "0f3048b80000200000000000" + "0f01d8"
"""EFER.SVME is set, and a virtual machine of zeros entered: the engine used to fault for ever."""


@pytest.fixture(scope="module")
def attacker() -> Iterator[Answering]:
    with Answering("tests.kernel.hostile_calls") as program:
        yield program


@pytest.fixture(scope="module")
def attacker_of_an_image() -> Iterator[Answering]:
    with Answering("tests.kernel.hostile_calls", str(debian.require().vmlinuz)) as program:
        yield program


def test_machine_code_ends(attacker: Answering) -> None:
    run_programs(attacker, settings().max_examples // 2)


@pytest.mark.real
def test_machine_code_ends_on_an_image(attacker_of_an_image: Answering) -> None:
    run_programs(attacker_of_an_image, settings().max_examples // 4)


def run_programs(attacker: Answering, examples: int) -> None:
    """Run machine code that sets any registers, and does anything."""

    @settings(max_examples=examples)
    @example(bytes.fromhex(SVM))
    @given(PROGRAM)
    def run(code: bytes) -> None:
        assert attacker.ask([CODE, [code.hex()]]) == ""

    run()


@pytest.mark.parametrize(
    "start", [stubs.TRAP_AT, stubs.RESUME_AT, stubs.ENTER_AT, stubs.STUB_BASE + stubs.CODE_SIZE]
)
def test_the_stubs_entered_with_any_registers_end(attacker: Answering, start: int) -> None:
    registers = st.lists(SET, min_size=4, max_size=10).map(b"".join)

    @settings(max_examples=settings().max_examples // 5)
    @given(registers, NUMBER, st.integers(-16, 256))
    def run(code: bytes, sp: int, offset: int) -> None:
        jump = mov("rax", start + offset) + b"\xff\xe0"
        assert attacker.ask([CODE, [(code + mov("rsp", sp) + jump).hex()]]) == ""

    run()


@pytest.mark.parametrize("level", range(len(SHIFTS)))
def test_a_page_table_entry_of_any_bits_ends(attacker: Answering, level: int) -> None:
    use_entries(attacker, level, settings().max_examples // 5)


@pytest.mark.real
@pytest.mark.parametrize("level", range(len(SHIFTS)))
def test_a_page_table_entry_of_any_bits_ends_on_an_image(attacker_of_an_image: Answering, level: int) -> None:
    use_entries(attacker_of_an_image, level, settings().max_examples // 10)


def use_entries(attacker: Answering, level: int, examples: int) -> None:
    """Use an address whose page table entry of a level has any bits."""

    @settings(max_examples=examples)
    @given(FRAME, BITS)
    def use(frame: int, bits: int) -> None:
        assert attacker.ask([ENTRY, [str(level), hex((frame | bits | 1) & (1 << 64) - 1)]]) == ""

    use()
