"""stack_trace_print(): what its last argument, the width of a column, may be."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest


@pytest.mark.parametrize(("spaces", "before"), [(0, 1), (3, 4), (-1, 1), (-3, 2)])
def test_a_column_is_filled_as_by_printf(guest: Guest, spaces: int, before: int) -> None:
    guest.call("stack_trace_print", guest.words(0x1234), 1, spaces)
    assert guest.kernel.log.lines[-1] == " " * before + "0x1234"


@pytest.mark.parametrize("spaces", [-(1 << 31), (1 << 31) - 1, 100_000])
def test_a_column_wider_than_a_line_fills_it(guest: Guest, spaces: int) -> None:
    guest.call("stack_trace_print", guest.words(0x1234), 1, spaces)
    guest.kernel.printk("next\n")
    assert [line.strip() for line in guest.kernel.log.lines[-2:]] == ["", "next"]
