"""Programs in ring 3 of the kernels that ``make kernels`` has fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.user import programs
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import open_tree

pytestmark = [pytest.mark.real, pytest.mark.kernels, pytest.mark.slow]


@pytest.fixture(scope="module", params=["bullseye", "backport", "trixie", "trixie-rt", "testing", "sid"])
def other(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    package = debian.require_other(request.param)
    with Kernel(tree=open_tree(package.modules), image=package.vmlinuz) as k:
        yield k


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs.build(tmp_path_factory.mktemp("programs"))


def test_a_program_does_what_it_does_on_the_host(other: Kernel, trial: Path) -> None:
    other.put(trial, "/bin/trial")
    for subject in programs.SUBJECTS:
        assert programs.outcome(other, subject) == programs.natively(trial, subject), subject
    assert not other.core.oopses
    assert not other.core.warnings
