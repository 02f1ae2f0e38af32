"""Files of /proc and /sys/module, as the emulated machine's programs read them."""

from __future__ import annotations

from collections.abc import Iterator
from errno import errorcode

import pytest
from tests.golden import modules as compiled
from tests.kernel.conftest import layouts
from tests.kernel.tasks import in_task

from ukmod.kernel.api import Kernel
from ukmod.kernel.module.main import ModuleState


@pytest.fixture
def machine() -> Iterator[Kernel]:
    with Kernel(types=layouts()) as k:
        k.insmod(compiled()["params"].read_bytes())
        yield k


def test_a_modules_directory(machine: Kernel) -> None:
    files = machine.core.procfs
    assert "params" in files.list("/sys/module")
    assert files.list("/sys/module/params/") == [
        *("coresize", "holders", "initsize", "initstate", "notes", "parameters", "refcnt", "sections"),
        *("taint", "uevent"),
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


def test_what_the_kernel_says_of_itself(machine: Kernel) -> None:
    machine.run(90)
    files = machine.core.procfs
    release = machine.core.release
    assert files.read("/proc/version") == f"Linux version {release}\n"
    assert files.read("/proc/sys/kernel/osrelease") == f"{release}\n"
    assert files.read("/proc/cmdline") == f"{machine.core.cmdline}\n"
    assert float(files.read("/proc/uptime").split()[0]) == pytest.approx(90, abs=1)


class TestParameters:
    """Their files call functions of the module, so that only a process can use them."""

    DIRECTORY = "/sys/module/params/parameters"

    def do(self, machine: Kernel, name: str, *texts: str) -> list[str]:
        """Write texts to a parameter, then read it: what was refused, and what was read."""
        found: list[str] = []

        def body() -> None:
            for text in texts:
                try:
                    machine.core.procfs.write(f"{self.DIRECTORY}/{name}", text)
                except OSError as error:
                    found.append(errorcode[error.errno or 0])
            found.append(machine.core.procfs.read(f"{self.DIRECTORY}/{name}"))

        in_task(machine.core, body)
        return found

    def test_parameters_can_be_read_and_written(self, machine: Kernel) -> None:
        assert self.do(machine, "an_int", "-3\n") == ["-3\n"]

    def test_a_bad_value_is_refused_with_the_parameters_own_errno(self, machine: Kernel) -> None:
        assert self.do(machine, "a_byte", "7", "x", "256") == ["EINVAL", "ERANGE", "7\n"]

    def test_permissions_hold_even_for_root(self, machine: Kernel) -> None:
        with pytest.raises(PermissionError):
            machine.core.procfs.write(f"{self.DIRECTORY}/other_name", "1")

    @pytest.mark.parametrize("name", ["hidden", "none", "an_int/more"])
    def test_one_without_permissions_has_no_file(self, machine: Kernel, name: str) -> None:
        files = machine.core.procfs
        assert name not in files.list(self.DIRECTORY)
        with pytest.raises(FileNotFoundError):
            files.read(f"{self.DIRECTORY}/{name}")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/sys/module", "EISDIR"),
        ("/sys/module/params/parameters/", "EISDIR"),
        ("/sys/module/params/uevent", "EACCES"),
        ("/sys/module/params/notes/.text", "ENOENT"),
    ],
)
def test_what_cannot_be_read(machine: Kernel, path: str, error: str) -> None:
    with pytest.raises(OSError) as raised:  # noqa: PT011  errno is looked at
        machine.core.procfs.read(path)
    assert errorcode[raised.value.errno or 0] == error


def test_notes_are_the_files_own_bytes(machine: Kernel) -> None:
    assert machine.core.procfs.list("/sys/module/params/notes") == [".note.gnu.build-id", ".note.Linux"]
    note = machine.core.procfs.read("/sys/module/params/notes/.note.gnu.build-id").encode("latin-1")
    assert note in compiled()["params"].read_bytes()
    assert note[12:16] == b"GNU\0"


_ID = "fe4d7c9d-b8c6-4a70-9ef1-3d8a58d18eed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("add", ""),
        ("unbind\n", ""),
        (f"change {_ID}\n", ""),
        (f"change {_ID} A=1 B=2", ""),
        ("removed", "unknown uevent action string"),
        ("change x", "incorrect uevent action arguments"),
        (f"change {_ID} A", "incorrect uevent action arguments"),
        (f"change {_ID} ", "incorrect uevent action arguments"),
    ],
)
def test_a_uevent_is_an_action_and_perhaps_arguments(machine: Kernel, text: str, message: str) -> None:
    k = machine.core
    try:
        k.procfs.write("/sys/module/params/uevent", text)
        refused = False
    except OSError as error:
        refused = errorcode[error.errno or 0] == "EINVAL"
    lines = [line for record in k.log.records for line in record.lines if "synth uevent" in line]
    assert (refused, lines) == (
        (True, [f"synth uevent: /module/params: {message}"]) if message else (False, [])
    )


def test_holders_are_the_modules_that_use_it(machine: Kernel) -> None:
    files = machine.core.procfs
    for name in ("exporter", "uses_exporter"):
        machine.insmod(compiled()[name].read_bytes())
    assert files.list("/sys/module/exporter/holders") == ["uses_exporter"]
    assert files.list("/sys/module/uses_exporter/holders") == []
    assert files.read("/sys/module/exporter/refcnt") == "1\n"


@pytest.mark.parametrize(
    ("state", "word"),
    [(ModuleState.LIVE, "live"), (ModuleState.COMING, "coming"), (ModuleState.GOING, "going")],
)
def test_a_modules_state_is_a_word(machine: Kernel, state: ModuleState, word: str) -> None:
    machine.core.modules.set_state(machine.modules["params"], state)
    assert machine.core.procfs.read("/sys/module/params/initstate") == f"{word}\n"


def test_a_module_that_is_not_formed_yet_has_no_directory(machine: Kernel) -> None:
    files = machine.core.procfs
    machine.core.modules.set_state(machine.modules["params"], ModuleState.UNFORMED)
    assert files.list("/sys/module") == []
    for look in (lambda: files.list("/sys/module/params"), lambda: files.read("/sys/module/params/refcnt")):
        with pytest.raises(FileNotFoundError):
            look()


def test_sizes_and_taints_are_numbers_and_letters(machine: Kernel) -> None:
    files, layout = machine.core.procfs, machine.modules["params"].layout
    assert files.read("/sys/module/params/coresize") == f"{layout.core_size}\n"
    assert files.read("/sys/module/params/initsize") == "0\n", "it was freed"
    assert files.read("/sys/module/params/taint") == "OE\n"


def test_a_version_has_a_file_if_the_module_has_one(machine: Kernel) -> None:
    files, modinfo = machine.core.procfs, machine.modules["params"].modinfo
    assert "version" not in files.list("/sys/module/params")
    modinfo["version"], modinfo["srcversion"] = ["1.2"], ["533BB7E5866E52F63B9ACCB"]
    assert files.read("/sys/module/params/version") == "1.2\n"
    assert files.read("/sys/module/params/srcversion") == "533BB7E5866E52F63B9ACCB\n"
