"""Whatever arguments a guest passes to what Python implements, the call ends, and not in a traceback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answering import Answering
from tests.kernel.hostile_calls import VALUES

from ukmod.kernel.exports import SUBSYSTEMS, kernel_functions

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def attacker() -> Iterator[Answering]:
    with Answering("tests.kernel.hostile_calls") as program:
        yield program


@pytest.mark.parametrize("subsystem", SUBSYSTEMS)
def test_hostile_arguments_end_as_on_a_real_kernel(attacker: Answering, subsystem: str) -> None:
    functions = kernel_functions()
    names = sorted(name for name in functions if functions[name][1].__module__ == f"ukmod.kernel.{subsystem}")

    @settings(max_examples=settings().max_examples // 20)
    @given(st.sampled_from(names), st.lists(st.sampled_from(sorted(VALUES)), min_size=8, max_size=8))
    def call(name: str, values: list[str]) -> None:
        assert attacker.ask(name, values) == ""

    call()
