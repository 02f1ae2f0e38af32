"""Kernels for which no line was written: what differs between them is found by what each image has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.kernel.image.computing import Difference, Image
from tests.kernel.image.conftest import in_a_copy
from tests.kernel.twins.tables import TWINS
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.mm.uaccess import USER_END
from ukmod.kernel.trees import open_tree

pytestmark = pytest.mark.real

MODULES = (
    "crc7", "ts_bm", "zstd_compress", "async_tx", "twofish_generic", "des_generic", "ext4", "vfat", "isofs",
    "overlay", "nls_cp437", "fuse", "loop", "dm_mod", "raid456", "veth", "dummy", "nf_conntrack", "xt_LOG",
    "vxlan", "sch_htb", "tcp_bbr", "virtio_net", "scsi_debug",
)  # fmt: skip
"""Of many subsystems; those of them that a kernel has as modules."""


MORE = [pytest.param(name, marks=pytest.mark.kernels) for name in ("bullseye", "trixie", "trixie-cloud")]
CHANGED = {"5": {"snprintf-pointers": "v5.10 has neither %p4cc nor %ptTs"}, "6": {}}
"""Functions in Python that can do more than those of this kernel, by its version."""


@pytest.fixture(scope="module", params=[*debian.others("real"), *MORE])
def other(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """Another of Debian's kernels, up."""
    package = debian.require_other(request.param)
    with Kernel(tree=open_tree(package.modules), image=package.vmlinuz) as k:
        k.boot()
        yield k


def test_every_step_returns(other: Kernel) -> None:
    boot = other.core.boot
    assert boot is not None
    assert len(boot.done) > 500
    assert boot.failed == ()


def test_nothing_is_warned_of(other: Kernel) -> None:
    boot = other.core.boot
    assert boot is not None
    assert [record.text for record in boot.log if re.search(r"cut here|BUG|Firmware Bug", record.text)] == []


def test_reports_are_worded_as_this_kernel_words_them(other: Kernel) -> None:
    """With the user and the taint flags' names since v6.11, and with a warning's place first in v7."""
    core = other.core
    wording = core.wording
    major, minor = map(int, core.release.split(".")[:2])
    assert wording.names_user == wording.names_taint == ((major, minor) >= (6, 11))
    assert wording.warns_by_place == (major >= 7)
    assert "SMP" in wording.options.split()
    # The word "PREEMPT" is in the header of an oops, or, with the model, at the end of the task's line.
    assert core.image is not None
    states_model = core.image.get("preempt_model_str") is not None
    assert states_model == ((major, minor) >= (6, 15))
    assert not (states_model and "PREEMPT" in wording.options)
    assert bool(wording.preemption) == states_model
    assert "none" not in wording.preemption
    assert "undef" not in wording.preemption


def test_the_cpu_is_identified(other: Kernel) -> None:
    """By identify_boot_cpu(), or by what is left of it where the compiler has inlined it."""
    core = other.core
    assert core.image is not None
    model = core.image.address("boot_cpu_data") + core.types.offset("cpuinfo_x86", "x86_model_id")
    assert core.memory.cstring(model).startswith(b"QEMU Virtual CPU")


@pytest.mark.parametrize("name", MODULES)
def test_modules_load(other: Kernel, name: str) -> None:
    def load() -> list[str]:
        assert other.modprobe(name).status == 0
        return [*map(str, other.oopses), *map(str, other.warnings)]

    assert in_a_copy(other, load) == []


def test_functions_in_python_do_as_this_kernels_do(other: Kernel) -> None:
    """What has changed since, as strreplace()'s result, is seen in the kernel's types."""
    core = other.core
    assert core.image is not None
    functions = kernel_functions()
    changed = CHANGED[core.release.partition(".")[0]]
    twins = [
        replace(twin, rounds=twin.rounds // 4)
        for twin in TWINS
        if not twin.native
        and core.image.get(twin.name) is not None
        and not (twin.name in functions and functions[twin.name][0].image_first)
        and str(twin) not in changed
    ]
    assert len(twins) > 120

    def compare() -> dict[str, list[Difference]]:
        image = Image(other)
        return {str(twin): found for twin in twins if (found := image.differences(twin))}

    assert in_a_copy(other, compare) == {}


def test_an_address_that_no_process_can_have_is_refused(other: Kernel) -> None:
    """Since v6.12, access_ok() compares with a number that the kernel writes into its code as it starts."""

    def work() -> None:
        for address in (0xF0_0000_0000_0000, 0x7FFF_FFFF_F001, 1 << 63):
            with pytest.raises(OSError, match="Bad address"):
                other.process.syscall("getcwd", address, 100)
        assert not other.warnings
        assert other.core.image is not None
        if limit := other.core.image.get("USER_PTR_MAX"):  # modules read it
            assert other.core.memory.u64(limit) == USER_END

    in_a_copy(other, work)


@pytest.mark.parametrize("other", ["backport"], indirect=True)
def test_bpf(other: Kernel) -> None:
    """The cloud kernel comes without the module."""

    def load() -> str:
        assert other.modprobe("test_bpf", "test_suite=test_bpf", "test_range=0,300").status == 0
        return other.dmesg().splitlines()[-1]

    assert re.search(r"test_bpf: Summary: 301 PASSED, 0 FAILED", in_a_copy(other, load))


def test_processes_use_files_and_mapped_memory(other: Kernel) -> None:
    def work() -> None:
        p = other.process
        p.write("/tmp/file", b"text")
        with other.open("/tmp/file", "r+b") as f, f.mmap(4096) as m:
            m[:1] = b"n"
            assert f.read(4) == b"next"
        assert other.spawn(lambda p: p.syscall("getuid"), uid=1000).result() == 1000
        assert "null" in other.listdir("/dev")
        assert not other.oopses

    in_a_copy(other, work)
