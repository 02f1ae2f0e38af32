"""Kernels built with other options than distributions choose, where ``make built-kernels`` has built them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.golden import REPOSITORY
from tests.real import built
from tests.real.debian import Debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.image.assumptions import Standing, check
from ukmod.machine.image.image import KernelImage
from ukmod.machine.types.select import types_for

pytestmark = [pytest.mark.real, pytest.mark.kernels, pytest.mark.slow]

WORKING = ("no-btf",)
"""The kernels that come up, by their names in tools/configurations."""
MODULES = ("work", "timers", "threads", "slab", "waits", "srcu", "exporter", "uses_exporter")
"""Of examples/cases: they need nothing but a kernel."""


@pytest.fixture(scope="module", params=WORKING)
def kernel(request: pytest.FixtureRequest) -> Debian:
    """A kernel that was built here."""
    return built.require(request.param)


def test_a_kernel_without_btf_has_the_types_of_a_vmlinux_beside_it() -> None:
    image = KernelImage(str(built.require("no-btf").vmlinuz))
    assert not image.has_btf
    types = types_for((), kernel=image)
    assert types.offset("list_head", "prev") == 8
    assert types.has("task_struct", "comm")
    prototype = types.prototype("kthread_stop")
    assert str(prototype) == "int kthread_stop(struct task_struct *)"


def test_what_is_assumed_of_a_built_kernel_holds(kernel: Debian) -> None:
    image = KernelImage(str(kernel.vmlinuz))
    found = check(image, types_for((), kernel=image))
    assert [str(one) for one in found if one.state is Standing.UNMET] == []


def test_a_built_kernel_runs_modules_that_were_built_for_it(kernel: Debian, tmp_path: Path) -> None:
    for name in MODULES:
        shutil.copy(REPOSITORY / f"examples/cases/{name}.c", tmp_path)
    objects = " ".join(f"{name}.o" for name in MODULES)
    (tmp_path / "Makefile").write_text(f"obj-m := {objects}\n")
    make = ["make", "-s", "-C", str(kernel.modules / "build"), f"M={tmp_path}", "modules"]
    subprocess.run(make, check=True, capture_output=True)
    with Kernel(image=kernel.vmlinuz, snapshot=False) as k:
        k.boot()
        assert k.core.boot is not None
        assert len(k.core.boot.done) > 100
        assert k.core.boot.damage == ""
        assert "cut here" not in "".join(record.text for record in k.core.boot.log)
        for name in MODULES:
            k.insmod(tmp_path / f"{name}.ko")
        k.run(5)
        for name in reversed(MODULES):
            k.rmmod(name)
        assert [*k.oopses, *k.warnings, *k.reports] == []
        assert not k.leaks()
        assert "verification failed" not in k.dmesg()  # CONFIG_MODULE_SIG is off
