"""What a kernel sets as it starts is set when its image is up, although not all of its code has run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.real import debian, exported

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    "name",
    ["", "backport", *(pytest.param(name, marks=pytest.mark.kernels) for name in ("bullseye", "trixie"))],
)
def test_exported_variables_are_set_where_the_real_kernel_sets_them(name: str, tmp_path: Path) -> None:
    kernel = debian.require_other(name) if name else debian.require()
    real = exported.under_qemu(kernel, exported.build(tmp_path), tmp_path / "guests")
    assert len(real) > 300
    with Kernel(image=kernel.vmlinuz) as k:
        k.boot()
        assert exported.unset(k, real) - exported.REASONS.keys() == set()
