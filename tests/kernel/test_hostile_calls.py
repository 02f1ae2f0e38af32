"""Whatever arguments a guest passes to what Python implements, the call ends, and not in a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answering import Answering
from tests.kernel.hostile_values import FORGED, NUMBERS, POINTERS
from tests.real import debian

from ukmod.kernel.export import exports_of
from ukmod.kernel.exports import SUBSYSTEMS, kernel_functions
from ukmod.kernel.image.internal import internal_functions
from ukmod.kernel.image.interpose import SAME_AS
from ukmod.machine.abi import parameters

pytestmark = pytest.mark.fuzz

KERNELS = [
    pytest.param("", id=debian.RELEASE),
    *(pytest.param(name, marks=pytest.mark.kernels) for name in ("backport", "sid")),
]
"""6.1, 6.12, and the newest one, which has functions that the others lack."""


@pytest.fixture(scope="module")
def attacker() -> Iterator[Answering]:
    with Answering("tests.kernel.hostile_calls") as program:
        yield program


@pytest.fixture(scope="module", params=KERNELS)
def attacker_of_an_image(request: pytest.FixtureRequest) -> Iterator[Answering]:
    package = debian.require_other(request.param) if request.param else debian.require()
    with Answering("tests.kernel.hostile_calls", str(package.vmlinuz)) as program:
        yield program


SEED = st.integers(0, 10**6).map(f"{FORGED}{{}}".format)
NUMBER = st.sampled_from(sorted(NUMBERS))
POINTER = st.sampled_from(sorted(POINTERS))
OFFSET = st.sampled_from(("0", "0", "0", "8", "16", "64"))
ARGUMENTS = 8
"""The number of arguments of each call: six in registers, and two on the stack."""
TOGETHER = 6
"""The number of functions that are called in one machine, with objects that they share."""


def implementations() -> dict[str, Callable[..., Any]]:
    """The Python function by the name of each that modules or an image can call."""
    found = {name: function for name, (_, function) in kernel_functions().items()}
    found |= {name: function for name, (_, function) in internal_functions().items()}
    return found | {name: found[other] for name, other in SAME_AS.items()}


@st.composite
def sequences(draw: st.DrawFn, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Calls of all these functions in any order, with arguments of the right types for the most part."""
    forged = st.sampled_from(draw(st.lists(SEED, min_size=1, max_size=3)))
    pointer = POINTER | st.builds("{} + {}".format, forged, OFFSET)
    mostly_pointers, mostly_numbers = pointer | pointer | pointer | NUMBER, NUMBER | NUMBER | NUMBER | pointer
    functions = implementations()

    def arguments(name: str) -> list[str]:
        kinds = ["*" in kind.name for _, kind in parameters(functions[name])[0]]
        kinds += [True, False] * ARGUMENTS
        return [draw(mostly_pointers if is_pointer else mostly_numbers) for is_pointer in kinds[:ARGUMENTS]]

    return [(name, arguments(name)) for name in draw(st.permutations(names))]


def attack(attacker: Answering, names: Sequence[str], examples: int) -> None:
    """Call each function ``examples`` times, in machines that are used for few functions of one kind."""
    for some in batches(names, TOGETHER):

        @settings(max_examples=examples)
        @given(sequences(some))
        def call(calls: list[tuple[str, list[str]]]) -> None:
            assert attacker.ask(*calls) == ""

        call()


def batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The names in lists of at most this size."""
    return (names[at : at + size] for at in range(0, len(names), size))


@pytest.mark.parametrize("subsystem", SUBSYSTEMS)
def test_hostile_arguments_end_as_on_a_real_kernel(attacker: Answering, subsystem: str) -> None:
    names = sorted(exports_of(import_module(f"ukmod.kernel.{subsystem}")))
    attack(attacker, names, settings().max_examples // 50)


@pytest.mark.real
def test_hostile_arguments_end_on_an_image(attacker_of_an_image: Answering) -> None:
    functions = implementations()
    names = sorted(functions, key=lambda name: (functions[name].__module__, name))
    attack(attacker_of_an_image, names, settings().max_examples // 50)
