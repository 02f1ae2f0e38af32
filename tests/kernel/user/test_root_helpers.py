"""Helpers of the root file system: the C modprobe answers request_module() as on a real kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests import golden, normalise
from tests.cases import CASES
from tests.kernel import emulator
from tests.kernel.image.conftest import in_a_copy
from tests.kernel.user import roots
from tests.real import debian, guest
from tests.steps import Case

from ukmod.errors import NotFoundError, UsageError
from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

STARTS = ("request_module", "demo", "async_request", "usermodehelper")
PIPED_DUMPS = "usermodehelper_dies"
"""The image itself dumps the core of a program in ring 3, and has a core_pattern of its own."""
ALWAYS = (
    "demo",
    "request_module_returns",
    "request_module_config",
    "request_module_helper",
    "usermodehelper",
)
WITH_HELPERS = [
    pytest.param(case, id=case.name, marks=() if case.name in ALWAYS else pytest.mark.kernels)
    for case in CASES
    if case.name.startswith(STARTS) and case.name != PIPED_DUMPS
]
"""The cases in which the kernel starts programs; most of them only where time does not count."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A machine whose helpers are the programs of its root, to fork from."""
    vmlinuz = debian.require("depmod", "busybox").vmlinuz
    root = roots.with_kmod(tmp_path_factory.mktemp("root"))
    with Kernel(image=vmlinuz, root=root, root_helpers=True) as k:
        k.boot()
        k.exec(["/bin/busybox", "--install", "-s", "/bin"])
        yield k


def outcome(k: Kernel, case: Case) -> str:
    """What a case comes to."""
    for line in guest.setting(case):
        assert k.exec(["/bin/sh", "-c", line]).status == 0
    return normalise.text(case, tuple(emulator._outcomes(k, case)))


@pytest.mark.parametrize("case", WITH_HELPERS)
def test_does_what_the_real_kernel_did(case: Case, machine: Kernel) -> None:
    found = in_a_copy(machine, lambda: outcome(machine, case))
    assert found == normalise.text(case, golden.load(case))


def test_programs_of_the_root_are_executed_by_path(machine: Kernel) -> None:
    def work() -> None:
        finished = machine.modprobe("ok_dep", "x=4")
        assert (finished.status, finished.output) == (0, "")
        assert "ok_dep: init, x=4" in machine.dmesg()
        missing = machine.modprobe("nonesuch", check=False)
        assert missing.status == 1
        assert missing.output.startswith("modprobe: FATAL: Module nonesuch not found in directory")
        with pytest.raises(NotFoundError):
            machine.execute("/sbin/missing")

    in_a_copy(machine, work)


def test_a_python_program_precedes_the_roots(machine: Kernel) -> None:
    def work() -> None:
        machine.install("/sbin/modprobe", lambda process: 3)
        assert machine.execute("/sbin/modprobe").status == 3

    in_a_copy(machine, work)


def test_helpers_of_a_root_need_one() -> None:
    with pytest.raises(UsageError, match="root"):
        Kernel(image=None, root_helpers=True)
