"""The stored transcripts are fresh: a real kernel, given the same modules, still does what they say."""

from __future__ import annotations

import pytest
from tests import golden
from tests.cases import CASES
from tests.normalise import outcomes
from tests.real import debian, guest, initramfs, qemu
from tests.steps import Case
from tests.transcript import render

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def machine() -> qemu.Guest:
    """The booted guest with every compiled module in its tree."""
    kernel = debian.require(*initramfs.PROGRAMS)
    return qemu.boot(kernel, list(golden.modules().values()), golden.REPOSITORY / ".cache" / "guests")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_real_kernel_does_what_is_stored(machine: qemu.Guest, case: Case) -> None:
    """Compared as text, for a readable difference."""
    found = outcomes(case, guest.run(machine, case))
    assert render(found) == render(outcomes(case, golden.load(case)))
