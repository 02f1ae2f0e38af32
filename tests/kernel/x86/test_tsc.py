"""RDTSC and RDTSCP: which bytes are one, and what they read."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.kernel.conftest import layouts
from tests.kernel.machine_code import Code

from ukmod.kernel.core import Core
from ukmod.kernel.x86 import tsc
from ukmod.machine.registers import CpuException

RDTSC, INT = b"\x0f\x31", bytes((0xCD, tsc.RDTSC_VECTOR))


@pytest.mark.parametrize(
    ("code", "starts", "places"),
    [
        (RDTSC, [0], [0]),
        (b"\x90" + RDTSC + b"\xc3", [0], [1]),
        (b"\xb8" + RDTSC + b"\x00\x00" + RDTSC, [0], [5]),  # first in a number: mov $0x310f, %eax
        (b"\xb8" + RDTSC + b"\x00\x00" + RDTSC, [0, 1], [1, 5]),  # a function begins there
        (b"\x06" + RDTSC, [0], []),  # nothing that is code leads there
        (b"\x06" + RDTSC, [], []),
        (b"\x90" + b"\x0f\x01\xf9", [], [1]),
    ],
)
def test_only_whole_instructions_are_replaced(code: bytes, starts: list[int], places: list[int]) -> None:
    assert [place for place, _ in tsc.replacements(code, starts)] == places


def test_a_replacement_has_the_same_length() -> None:
    (one,), (other,) = (list(tsc.replacements(code, [])) for code in (RDTSC, b"\x0f\x01\xf9"))
    assert (one, len(other[1])) == ((0, INT), 3)


def counter(k: Core, vector: int = tsc.RDTSC_VECTOR) -> int:
    after = tsc.read_counter(k, CpuException(vector, k.cpu.registers()))
    assert vector != tsc.RDTSCP_VECTOR or after["rcx"] == 0
    return after["rdx"] << 32 | after["rax"]


@pytest.mark.parametrize("vector", [tsc.RDTSC_VECTOR, tsc.RDTSCP_VECTOR])
def test_the_counter_is_virtual_time(kernel: Core, vector: int) -> None:
    def read() -> int:
        return counter(kernel, vector)

    kernel.clock.now = -5 * 10**9
    first = read()
    kernel.run(2)
    second = read()
    kernel.clock.now = 3 * 10**9
    third = read()
    assert 0 < first < second < third
    assert third - first == pytest.approx(8 * tsc.TSC_KHZ * 1000, rel=1e-3)


def test_readings_are_not_equally_far_apart_and_the_same_each_time() -> None:
    """jitterentropy of Linux 6.12 gathers for ever if their distance never changes."""
    values = []
    for _ in range(2):
        with Core(layouts()) as k:
            values.append([counter(k) for _ in range(50)])
    distances = [after - before for before, after in pairwise(values[0])]
    assert min(distances) > 0
    assert len(set(distances)) > 10
    assert values[0] == values[1]


def test_guest_code_that_reads_it_continues_behind(kernel: Core) -> None:
    """mov $7, %ecx; int; shl $32, %rdx; or %rdx, %rax; add %rcx, %rax; ret."""
    first, last = b"\xb9\x07\x00\x00\x00", b"\x48\xc1\xe2\x20\x48\x09\xd0\x48\x01\xc8\xc3"
    before = kernel.clock.now
    _, result = Code(kernel).run(first + INT + last)
    assert result is not None
    nanoseconds = (result - 7) * 1_000_000 // tsc.TSC_KHZ - tsc._RESET
    assert before < nanoseconds <= kernel.clock.now
