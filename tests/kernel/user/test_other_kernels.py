"""Programs in ring 3 of the kernels that ``make kernels`` has fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.user import programs
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import open_tree
from ukmod.kmod.host import INIT_COMPRESSED_FILE

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


def test_threads_do_what_they_do_on_the_host(other: Kernel, tmp_path: Path) -> None:
    threads = programs.build(tmp_path, "threads")
    other.put(threads, "/bin/threads")
    for subject in programs.THREADS:
        found, expected = programs.outcome(other, subject, "threads"), programs.natively(threads, subject)
        assert found == expected, subject
    assert not other.core.oopses
    assert not other.core.warnings


def test_a_process_loads_a_module_as_it_is_packed(other: Kernel) -> None:
    """Debian packs modules since trixie, whose kernel unpacks them."""
    tree = other.tree
    assert tree is not None
    (file,) = Path(tree.dirname).glob("kernel/drivers/net/dummy.ko*")
    other.put(file, f"/{file.name}")
    flags = INIT_COMPRESSED_FILE if file.suffix == ".xz" else 0
    descriptor = other.process.syscall("open", f"/{file.name}", 0, 0)
    other.process.syscall("finit_module", descriptor, "numdummies=2", flags)
    other.process.syscall("close", descriptor)
    assert "dummy" in other.modules
    assert other.read("/proc/modules").startswith("dummy ")
    assert other.read("/sys/module/dummy/initstate") == "live\n"
    assert "dummy1" in other.listdir("/sys/class/net")
    other.process.syscall("delete_module", "dummy", 0)
    assert "dummy" not in other.listdir("/sys/module")
    assert not other.modules
    assert not other.core.oopses
