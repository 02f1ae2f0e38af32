"""Kernels built with other options than distributions choose, where ``make built-kernels`` has built them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.golden import REPOSITORY
from tests.real import built, guest, qemu
from tests.real.debian import Debian
from tests.steps import Case, Insmod, Rmmod

from ukmod.kernel.api import Kernel
from ukmod.kernel.image.assumptions import Standing, check
from ukmod.machine.image.image import KernelImage
from ukmod.machine.types.select import types_for

pytestmark = [pytest.mark.real, pytest.mark.kernels, pytest.mark.slow]

WORKING = ("no-btf", "plain", "frame-pointer", "no-kallsyms-all", "preempt", "up", "debug", "kasan")
"""The kernels that come up, by their names in tools/configurations."""
MODULES = ("work", "timers", "threads", "slab", "waits", "srcu", "exporter", "uses_exporter")
"""Of examples/cases: they need nothing but a kernel."""


@pytest.fixture(scope="module", params=WORKING)
def kernel(request: pytest.FixtureRequest) -> Debian:
    """A kernel that was built here."""
    return built.require(request.param)


def compile_for(kernel: Debian, directory: Path, *sources: Path) -> None:
    """Build modules of one file each for a kernel."""
    for source in sources:
        shutil.copy(source, directory)
    objects = " ".join(f"{source.stem}.o" for source in sources)
    (directory / "Makefile").write_text(f"obj-m := {objects}\n")
    make = ["make", "-s", "-C", str(kernel.modules / "build"), f"M={directory}", "modules"]
    subprocess.run(make, check=True, capture_output=True)


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
    compile_for(kernel, tmp_path, *(REPOSITORY / f"examples/cases/{name}.c" for name in MODULES))
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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-btf", "SMP"),
        ("up", ""),
        ("debug", "PREEMPT SMP"),
        ("kasan", "PREEMPT SMP KASAN"),
        ("preempt", "PREEMPT SMP"),
    ],
)
def test_an_oops_names_the_options_of_its_kernel(name: str, words: str) -> None:
    with Kernel(image=built.require(name).vmlinuz) as k:
        assert k.core.wording.options == words


REPORTS = {
    "abba": "WARNING: possible circular locking dependency detected",
    "recursion": "WARNING: possible recursive locking detected",
    "atomic_sleep": "BUG: sleeping function called from invalid context at kernel/locking/mutex.c",
    "atomic_schedule": "returned with preemption imbalance",
    "softirq": "WARNING: inconsistent lock state",
    "hardirq": "WARNING: inconsistent lock state",
    "rcu": "WARNING: suspicious RCU usage",
    "list_twice": "at lib/list_debug.c",
    "use_after_free": "use-after-free",
    "leak": "kmalloc-128",
}
"""What is reported of each fault of examples/checkers."""


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module of examples/checkers, for the debugging kernel."""
    directory = tmp_path_factory.mktemp("checks")
    compile_for(built.require("debug"), directory, REPOSITORY / "examples/checkers/checks.c")
    return directory / "checks.ko"


@pytest.mark.parametrize("fault", REPORTS)
def test_the_debugging_kernels_checkers_report_a_module(checks: Path, fault: str) -> None:
    """To the log, and as a value that fails a test."""
    with Kernel(image=built.require("debug").vmlinuz) as k:
        k.insmod(checks, f"fault={fault}")
        k.rmmod("checks")
        assert REPORTS[fault] in "\n".join(map(str, (*k.warnings, *k.reports, *k.leaks())))
        assert not k.oopses


def test_the_debugging_kernel_reports_no_fault_where_there_is_none(checks: Path) -> None:
    with Kernel(image=built.require("debug").vmlinuz) as k:
        k.insmod(checks)
        k.rmmod("checks")
        assert [*k.oopses, *k.warnings, *k.reports, *k.leaks()] == []


OWN = re.compile(
    # Callers outside of the module: the module loader and interrupts are Python's here. Hints among callers.
    r" *[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+$| *\? | <"
    # Where memory lies, and what lies beside it.
    r"|The buggy address belongs to the physical page|page:|flags:|raw:|page dumped|[ >]N: |\s*\^?$"
    # Values of registers, and of the process.
    r"|R[A-Z0-9]{2}: |FS: |CS: |CR2: |Code: |(?:hard|soft)irqs last|irq event stamp"
)
"""The lines of a report that tell of one machine alone."""


@pytest.fixture(scope="module")
def machine(checks: Path, tmp_path_factory: pytest.TempPathFactory) -> qemu.Guest:
    """The debugging kernel under QEMU, with the module of examples/checkers."""
    return qemu.boot(built.require("debug"), [checks], tmp_path_factory.mktemp("guests"))


def of_any_machine(lines: list[str]) -> list[str]:
    """The lines of a report without the values that differ from one machine to another."""
    masked = (
        re.sub(
            r"\b(?:0x)?[0-9a-f]{16}\b|(?<=insmod/)\d+|(?<=PID: )\d+|(?<=pid: )\d+|(?<=by task )\d+", "N", line
        )
        for line in lines
    )
    return [line.rstrip() for line in masked if not OWN.match(line)]


@pytest.mark.parametrize(
    "fault", ["abba", "recursion", "atomic_sleep", "softirq", "hardirq", "rcu", "list_twice"]
)
def test_the_checkers_report_as_under_qemu(checks: Path, machine: qemu.Guest, fault: str) -> None:
    case = Case(fault, "a fault", (Insmod("checks", f"fault={fault}"), Rmmod("checks")))
    expected = of_any_machine([line.text for one in guest.run(machine, case) for line in one.log])
    with Kernel(image=built.require("debug").vmlinuz) as k:
        k.insmod(checks, f"fault={fault}")
        found = of_any_machine([line for record in k.core.log.records for line in record.lines])
    assert len(expected) > 10
    assert found == expected


SCAN = """\
mount -t debugfs debugfs /sys/kernel/debug
insmod /lib/modules/*/extra/checks.ko fault=leak
sleep 6
echo scan >/sys/kernel/debug/kmemleak
echo scan >/sys/kernel/debug/kmemleak
cat /sys/kernel/debug/kmemleak
"""
"""Has kmemleak look for objects that are five seconds old, and have not changed between two scans."""


def test_what_kmemleak_finds_under_qemu_is_found(checks: Path, machine: qemu.Guest) -> None:
    """The cache, the task, and the instruction of the init function, whose code begins a page."""
    report = machine.run(SCAN).text
    leak_there = r'unreferenced object .*\(size (\d+)\):\n  comm "(\w+)"(?:.*\n)+?.* 0x[0-9a-f]*(\w{3})\n'
    expected = re.findall(leak_there, report)
    with Kernel(image=built.require("debug").vmlinuz) as k:
        k.insmod(checks, "fault=leak")
        k.rmmod("checks")
        (leak,) = k.leaks()
    found = re.search(r"checks_init\+0x(\w+)/", str(leak))
    assert found is not None
    assert expected == [(leak.kind.removeprefix("kmalloc-"), leak.track.comm, found[1])]


SHADOWED = {
    "use_after_free": "use-after-free: write of 1 bytes",
    "double_free": "double-free",
    "slab_bounds": "slab-out-of-bounds: write of 1 bytes",
    "stack_bounds": "stack-out-of-bounds: write of 1 bytes",
    "global_bounds": "global-out-of-bounds: write of 1 bytes",
}
"""What a kernel with KASAN reports of each fault of examples/checkers."""


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, qemu.Guest]:
    """The module of examples/checkers, for the kernel with KASAN; and that kernel under QEMU."""
    kernel = built.require("kasan")
    directory = tmp_path_factory.mktemp("shadowed")
    compile_for(kernel, directory, REPOSITORY / "examples/checkers/checks.c")
    module = directory / "checks.ko"
    return module, qemu.boot(kernel, [module], tmp_path_factory.mktemp("guests"))


@pytest.mark.parametrize("fault", SHADOWED)
def test_kasan_reports_as_under_qemu(shadowed: tuple[Path, qemu.Guest], fault: str) -> None:
    module, machine = shadowed
    case = Case(fault, "a fault", (Insmod("checks", f"fault={fault}"), Rmmod("checks")))
    expected = of_any_machine([line.text for one in guest.run(machine, case) for line in one.log])
    with Kernel(image=built.require("kasan").vmlinuz) as k:
        k.insmod(module, f"fault={fault}")
        k.rmmod("checks")
        found = of_any_machine([line for record in k.core.log.records for line in record.lines])
        assert [str(report).startswith(SHADOWED[fault]) for report in k.reports] == [True]
        assert not k.oopses
    assert any("BUG: KASAN" in line for line in expected)
    assert found == expected


def test_kasan_reports_nothing_where_there_is_no_fault(shadowed: tuple[Path, qemu.Guest]) -> None:
    with Kernel(image=built.require("kasan").vmlinuz) as k:
        k.insmod(shadowed[0])
        k.rmmod("checks")
        assert [*k.oopses, *k.warnings, *k.reports, *k.leaks()] == []
        assert "KASAN" not in k.dmesg()
