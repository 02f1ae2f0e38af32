"""Core dumps of programs, through a pipe and into a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kernel.user import programs
from tests.real import debian

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

EXPECTED = """\
|/bin/dumps %p %s %e, signal 6: status 0x86
helper: uid 0, 4 arguments, 6, dumps; core limit 1, parent a thread
core: ELF, type 4, note 1, signal 6, pid 1, memory 1
|/bin/dumps %p %s %e, signal 11: status 0x8b
helper: uid 0, 4 arguments, 11, dumps; core limit 1, parent a thread
core: ELF, type 4, note 1, signal 11, pid 1, memory 1
|/bin/dumps %p %s %e, signal 15: status 0xf
|/bin/absent %p, signal 3: status 0x3
|/bin/dumps %p %s %e, signal 3: status 0x3
core, signal 3: status 0x3
a file: -1
core.%s, signal 3: status 0x83
a file: 0, it has 1
"""
"""What examples/programs/dumps.c says on Debian's 6.1 under QEMU."""


def check(vmlinuz: Path, directory: Path) -> None:
    with Kernel(image=vmlinuz) as k:
        k.put(programs.build(directory, "dumps"), "/bin/dumps")
        done = k.exec(["/bin/dumps"])
        assert (done.stdout.decode(), done.stderr, done.status) == (EXPECTED, b"", 0)
        assert not k.oopses
        assert not k.warnings


def test_a_helper_gets_the_memory_of_a_program_that_dies(tmp_path: Path) -> None:
    check(debian.require().vmlinuz, tmp_path)


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["trixie", "sid"])
def test_a_helper_gets_the_memory_on_other_kernels(name: str, tmp_path: Path) -> None:
    check(debian.require_other(name).vmlinuz, tmp_path)


def test_the_pattern_is_the_images_own() -> None:
    with Kernel(image=debian.require().vmlinuz) as k:
        k.sysctl("kernel.core_pattern", "|/bin/dumps %p")
        assert k.read("/proc/sys/kernel/core_pattern") == "|/bin/dumps %p\n"
        k.write("/proc/sys/kernel/core_pattern", "dump.%e")
        assert k.sysctl("kernel.core_pattern") == "dump.%e"
