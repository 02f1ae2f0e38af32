"""Whatever system calls a process makes, with whatever arguments, they end, and not in a traceback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answering import Answering
from tests.kernel.hostile_system_calls import VALUES
from tests.real import debian

pytestmark = [pytest.mark.real, pytest.mark.fuzz]

NUMBERS = [*range(335), *range(424, 451)]
"""The system calls of v6.1 on x86-64."""
VALUE = st.sampled_from(sorted(VALUES))
DESCRIPTOR = st.sampled_from([hex(number) for number in range(14)])
CALL = st.tuples(st.sampled_from(NUMBERS), DESCRIPTOR | VALUE, VALUE, VALUE, VALUE, VALUE, VALUE)


@pytest.fixture(scope="module")
def attacker() -> Iterator[Answering]:
    with Answering("tests.kernel.hostile_system_calls", str(debian.require().vmlinuz)) as program:
        yield program


def test_hostile_system_calls_end(attacker: Answering) -> None:
    @settings(max_examples=settings().max_examples // 2)
    @given(st.lists(CALL, min_size=1, max_size=6))
    def make(calls: list[tuple[int | str, ...]]) -> None:
        assert attacker.ask(*calls) == ""

    make()
