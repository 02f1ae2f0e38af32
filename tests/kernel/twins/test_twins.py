"""Functions in Python compute what the kernel's own compute: those outcomes are recorded."""

from __future__ import annotations

import pytest
from tests.kernel.twins import recorded
from tests.kernel.twins.tables import TWINS
from tests.kernel.twins.twin import Twin, outcomes

from ukmod.kernel.core import Core


@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_python_computes_what_the_kernel_computed(kernel: Core, twin: Twin) -> None:
    assert recorded.digest(str(twin)) == twin.digest, "run python -m tests.real.computed"
    function = kernel.symbols.address(twin.name)
    assert outcomes(kernel, function, twin.returns, twin.cases[: twin.kept]) == recorded.outcomes()[str(twin)]


def test_each_twin_has_a_name_of_its_own() -> None:
    assert len({str(twin) for twin in TWINS}) == len(TWINS)
