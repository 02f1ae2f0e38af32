"""Whatever system calls a program in ring 3 makes, with whatever arguments: the machine survives them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answering import Answering
from tests.golden import REPOSITORY
from tests.real import debian

pytestmark = [pytest.mark.real, pytest.mark.fuzz]

SOURCE = REPOSITORY / "examples/programs/hammer.c"
CALLS = 80
"""System calls of one example."""


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    program: Path = tmp_path_factory.mktemp("hammer") / "hammer"
    options = (
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-result",
        "-D_GNU_SOURCE",
        "-static",
        "-pthread",
    )
    subprocess.run(["gcc", *options, "-o", program, SOURCE], check=True)
    vmlinuz = str(debian.require().vmlinuz)
    with Answering("tests.kernel.hostile_programs", vmlinuz, str(program)) as answers:
        yield answers


def test_hostile_programs_end(attacker: Answering) -> None:
    @settings(max_examples=max(settings().max_examples // 10, 1))
    @given(st.integers(1, 1 << 40))
    def make(seed: int) -> None:
        assert attacker.ask(seed, CALLS) == ""

    make()
