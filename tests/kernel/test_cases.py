"""Every case of tests/cases.py, in the emulated kernel: what it does is what the real kernel did."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import golden, normalise
from tests.cases import CASES
from tests.kernel import emulator
from tests.steps import Case

_WITHOUT_IMAGE = tuple(case for case in CASES if not case.needs_image)


@pytest.mark.parametrize("case", _WITHOUT_IMAGE, ids=lambda case: case.name)
def test_does_what_the_real_kernel_did(case: Case, tmp_path: Path) -> None:
    expected = normalise.text(case, golden.load(case))
    assert normalise.text(case, emulator.run(case, tmp_path)) == expected
