"""Whatever arguments a guest passes to what Python implements, the call ends, and not in a traceback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answering import Answering
from tests.kernel.hostile_calls import VALUES
from tests.real import debian

from ukmod.kernel.exports import SUBSYSTEMS, kernel_functions
from ukmod.kernel.image.internal import internal_functions
from ukmod.kernel.image.interpose import SAME_AS

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def attacker() -> Iterator[Answering]:
    with Answering("tests.kernel.hostile_calls") as program:
        yield program


@pytest.fixture(scope="module")
def attacker_of_an_image() -> Iterator[Answering]:
    with Answering("tests.kernel.hostile_calls", str(debian.require().vmlinuz)) as program:
        yield program


ARGUMENTS = st.lists(st.sampled_from(sorted(VALUES)), min_size=8, max_size=8)


@pytest.mark.parametrize("subsystem", SUBSYSTEMS)
def test_hostile_arguments_end_as_on_a_real_kernel(attacker: Answering, subsystem: str) -> None:
    functions = kernel_functions()
    names = sorted(name for name in functions if functions[name][1].__module__ == f"ukmod.kernel.{subsystem}")

    @settings(max_examples=settings().max_examples // 20)
    @given(st.sampled_from(names), ARGUMENTS)
    def call(name: str, values: list[str]) -> None:
        assert attacker.ask(name, values) == ""

    call()


@pytest.mark.real
def test_hostile_arguments_end_on_an_image(attacker_of_an_image: Answering) -> None:
    names = sorted({*kernel_functions(), *internal_functions(), *SAME_AS})

    @settings(max_examples=settings().max_examples // 2)
    @given(st.sampled_from(names), ARGUMENTS)
    def call(name: str, values: list[str]) -> None:
        assert attacker_of_an_image.ask(name, values) == ""

    call()
