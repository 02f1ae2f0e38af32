"""The cases of tests/cases.py with a real image under the modules: still what the real kernel did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import golden, normalise
from tests.cases import CASES
from tests.kernel import emulator
from tests.kernel.image.conftest import in_a_copy
from tests.real.debian import Debian
from tests.steps import Case

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def machine(kernel_package: Debian) -> Iterator[Kernel]:
    """A kernel whose image has been brought up, to fork from."""
    with Kernel(image=kernel_package.vmlinuz, strict_modprobe=True) as k:
        k.boot()
        yield k


def outcome(k: Kernel, case: Case, root: Path) -> str:
    """What a case comes to."""
    k.tree = emulator.tree(root, case.config)
    for program in case.programs:
        k.install(program.path, emulator._main(program) if program.executable else None)
    return normalise.text(case, tuple(emulator._outcomes(k, case)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_does_what_the_real_kernel_did(case: Case, machine: Kernel, tmp_path: Path) -> None:
    found = in_a_copy(machine, lambda: outcome(machine, case, tmp_path))
    assert found == normalise.text(case, golden.load(case))
