"""Files of /proc and /sys/module, as the emulated machine's programs read them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.golden import modules as compiled
from tests.kernel.conftest import layouts

from ukmod.kernel.api import Kernel


@pytest.fixture
def machine() -> Iterator[Kernel]:
    with Kernel(types=layouts()) as k:
        k.insmod(compiled()["params"].read_bytes())
        yield k


def test_a_modules_directory(machine: Kernel) -> None:
    files = machine.core.procfs
    assert "params" in files.list("/sys/module")
    assert files.list("/sys/module/params/") == [
        *("coresize", "holders", "initsize", "initstate", "parameters", "refcnt", "sections", "taint")
    ]
    assert files.read("/sys/module/params/initstate") == "live\n"
    assert files.read("/sys/module/params/refcnt") == "0\n"


def test_a_modules_sections_are_those_the_kernel_lists(machine: Kernel) -> None:
    """As Linux 6.1.0-56-amd64 lists them for this very file; but for the symbol tables, which it has loaded
    for kallsyms, and the emulated machine has not.
    """
    files = machine.core.procfs
    listed = files.list("/sys/module/params/sections")
    assert sorted(listed) == [
        *(".bss", ".data", ".exit.data", ".exit.text", ".gnu.linkonce.this_module", ".init.data"),
        *(".init.text", ".note.Linux", ".note.gnu.build-id", ".orc_unwind", ".orc_unwind_ip"),
        *(".return_sites", ".rodata", ".rodata.str1.1", ".rodata.str1.8", ".text", ".text.unlikely"),
        *("__mcount_loc", "__param"),
    ]
    module = machine.modules["params"]
    text = files.read("/sys/module/params/sections/.text")
    assert text == f"0x{module.layout.core:016x}\n"
    exit_text = int(files.read("/sys/module/params/sections/.exit.text"), 16)
    assert module.layout.contains(exit_text)


@pytest.mark.parametrize(
    "path", ["/sys/module/params/sections/.none", "/sys/module/params/none", "/sys/module/none/refcnt"]
)
def test_what_is_not_there(machine: Kernel, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        machine.core.procfs.read(path)


def test_a_directory_that_is_not_there(machine: Kernel) -> None:
    with pytest.raises(FileNotFoundError):
        machine.core.procfs.list("/sys/module/none")


def test_most_files_are_read_only(machine: Kernel) -> None:
    with pytest.raises(PermissionError):
        machine.core.procfs.write("/sys/module/params/refcnt", "1")


def test_proc_modules_has_a_line_for_each(machine: Kernel) -> None:
    (line,) = machine.core.procfs.read("/proc/modules").splitlines()
    assert line.split()[0] == "params"
