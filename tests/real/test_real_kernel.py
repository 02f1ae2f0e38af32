"""The stored transcripts are fresh: a real kernel, given the same modules, still does what they say."""

from __future__ import annotations

import pytest
from tests import golden, normalise
from tests.cases import CASES
from tests.real import debian, guest, initramfs, qemu
from tests.steps import Case

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def machine() -> qemu.Guest:
    """The booted guest with every compiled module in its tree."""
    kernel = debian.require(*initramfs.PROGRAMS)
    return qemu.boot(kernel, list(golden.modules().values()), golden.REPOSITORY / ".cache" / "guests")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_real_kernel_does_what_is_stored(machine: qemu.Guest, case: Case) -> None:
    """Compared as text, for a readable difference."""
    assert normalise.text(case, guest.run(machine, case)) == normalise.text(case, golden.load(case))
