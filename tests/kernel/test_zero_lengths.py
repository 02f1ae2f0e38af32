"""Nothing at all may be copied, compared, searched: include/linux/slab.h on ZERO_SIZE_PTR."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.zero_lengths import GIVEN, LEFT_OUT, RESULTS, Function, functions

from ukmod.kernel.mm.slab import ZERO_SIZE_PTR
from ukmod.machine.abi import c_value
from ukmod.machine.registers import MASK64

FUNCTIONS = functions()


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f.name not in LEFT_OUT], ids=str)
def test_a_length_of_0_leaves_the_pointer_alone(guest: Guest, function: Function) -> None:
    raw = guest.call(function.name, *function.arguments()) & MASK64
    if function.result is None:
        assert guest.string(raw) == b""
    else:
        assert (c_value(guest.kernel.memory, function.type_of("return"), raw) or 0) == function.result
    assert not guest.kernel.oopses
    assert not guest.kernel.warnings


def test_kmalloc_of_0_bytes_returns_the_pointer_that_is_passed_here(guest: Guest) -> None:
    assert guest.call("__kmalloc", 0, 0xCC0) == ZERO_SIZE_PTR


def test_the_tables_name_functions_that_take_a_length() -> None:
    named = RESULTS.keys() | GIVEN.keys() | LEFT_OUT.keys()
    assert named <= {function.name for function in FUNCTIONS}
