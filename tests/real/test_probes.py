"""kprobes, kretprobes and live patches of the same compiled modules, on the real kernel and emulated."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.golden import RELEASE
from tests.real import debian, guest, qemu
from tests.steps import Case, Insmod, Rmmod, Sleep, Step

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel

pytestmark = [pytest.mark.real, pytest.mark.slow]

SOURCES = Path(__file__).parent / "probes"
HEADERS = Path(f"/usr/src/linux-headers-{RELEASE}")
CASES = (
    Case("probes", "probes of functions and of their results", (Insmod("probes"), Rmmod("probes"))),
    Case("patch", "a live patch, which stays", (Insmod("patch"), Rmmod("patch"))),
    Case(
        "patch_later",
        "a live patch of a module that comes and goes",
        (Insmod("patch_later"), Sleep(3), Insmod("later"), Rmmod("later"), Insmod("later"), Rmmod("later")),
    ),
    Case(
        "patched_before",
        "a live patch of a module that is there already",
        (Insmod("later"), Insmod("patch_later"), Sleep(3), Rmmod("later"), Insmod("later")),
    ),
    Case(
        "patch_refuses",
        "a live patch that refuses the module",
        (Insmod("patch_later", "refuse=1"), Sleep(3), Insmod("later")),
    ),
)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The compiled modules."""
    if not HEADERS.is_dir() or shutil.which("make") is None or shutil.which("gcc") is None:
        pytest.skip(f"needs a compiler and kernel headers: apt-get install build-essential {HEADERS.name}")
    directory = tmp_path_factory.mktemp("build") / "probes"
    shutil.copytree(SOURCES, directory)
    subprocess.run(["make", f"KDIR={HEADERS}", "modules"], cwd=directory, check=True, capture_output=True)
    return sorted(directory.glob("*.ko"))


@pytest.fixture(scope="module")
def real(modules: list[Path], tmp_path_factory: pytest.TempPathFactory) -> qemu.Guest:
    """A real kernel with these modules."""
    kernel = debian.require("qemu-system-x86_64", "busybox", "cpio")
    return qemu.boot(kernel, modules, tmp_path_factory.mktemp("guests"))


def of_modules(lines: list[str]) -> list[str]:
    """The lines that tell what the modules saw, and what livepatch did."""
    wanted = ("probes: ", "patch: ", "patch_later: ", "later: ", "livepatch: ")
    return [line for line in lines if line.startswith(wanted)]


def do(k: Kernel, step: Step, modules: list[Path]) -> None:
    """Carry out a step; whether the kernel refuses it is seen in its log."""
    with contextlib.suppress(LoadError):
        match step:
            case Insmod(name, params):
                k.insmod(next(path for path in modules if path.stem == name), params)
            case Rmmod(name):
                k.rmmod(name)
            case Sleep(seconds):
                k.run(seconds)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_is_logged_as_by_the_real_kernel(case: Case, modules: list[Path], real: qemu.Guest) -> None:
    expected = of_modules([line.text for one in guest.run(real, case) for line in one.log])
    with Kernel(image=debian.require().vmlinuz) as k:
        for step in case.steps:
            do(k, step, modules)
        found = of_modules([record.text for record in k.core.log.records])
        assert not k.oopses
        assert not k.warnings
    assert len(expected) > 3
    assert found == expected
