"""ukmod.Kernel, where it is more than the parts that it puts together."""

from __future__ import annotations

import errno
import shutil
import time
from pathlib import Path

import pytest
from tests import signing
from tests.golden import modules

from ukmod.errors import LayoutError, LoadError, NotFoundError, UsageError
from ukmod.kernel.api import DEFERRED, Kernel
from ukmod.kernel.printk import Record
from ukmod.kernel.task import THREAD_SIZE
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kmod.elf import Elf
from ukmod.kmod.modfile import ModuleFile
from ukmod.machine.abi import CStr, Int
from ukmod.machine.memory import PAGE_SIZE, Fault


def test_without_a_module_or_a_tree_no_types_are_known() -> None:
    with pytest.raises(LayoutError, match="no types of its kernel are known: supply"):
        Kernel().boot()


def test_settling_is_waited_for_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with Kernel(realtime=True) as k:
        k.insmod(modules()["ok_dep"])
        before = k.core.clock.now
        k.settle()
        assert k.core.clock.now == before + DEFERRED * NSEC_PER_SEC
        assert slept == []
        k.run(100)
        assert 90 < max(slept) <= 100, "time is real again, and goes on from there"


def test_a_module_whose_exit_function_oopses_is_not_unloaded() -> None:
    def printk(fmt: CStr) -> Int:
        if b"exit" in fmt:
            raise Fault(8, write=True)
        return 0

    with Kernel() as k:
        k.export(printk, name="_printk")
        k.insmod(modules()["exporter"])
        with pytest.raises(LoadError, match="exporter: its exit function did not return") as caught:
            k.rmmod("exporter")
        assert caught.value.errno == errno.EFAULT
        assert list(k.modules) == ["exporter"]
        assert len(k.oopses) == 1


@pytest.mark.parametrize("left", range(6))
def test_without_memory_for_a_process_the_errno_is_that_of_fork(left: int) -> None:
    """What there was memory for is given back."""
    with Kernel() as k:
        k.insmod(modules()["exporter"])
        k.core.memory.alloc_frames(THREAD_SIZE // PAGE_SIZE)  # insmod's stack
        k.core.memory.alloc_frames(k.core.memory.frames_left() - left)
        before = free_frames(k)
        with pytest.raises(LoadError, match=r"rmmod cannot be started: .* exhausted") as caught:
            k.rmmod("exporter")
        assert caught.value.errno == errno.ENOMEM
        assert list(k.modules) == ["exporter"]
        assert free_frames(k) == before


def free_frames(k: Kernel) -> int:
    """The frames of RAM that nothing uses."""
    frames = k.core.memory._frames
    return frames.left() + frames._unused // PAGE_SIZE


def test_a_last_line_without_a_newline_is_in_dmesg_and_can_still_be_continued() -> None:
    heard: list[Record] = []
    with Kernel() as k:
        k.on_record(heard.append)
        k.insmod(modules()["ok_dep"])
        k.call("_printk", "half")
        assert k.dmesg().endswith("] half\n")
        k.call("_printk", "\1chalf")
        assert k.dmesg().endswith("] half\n"), "a continuation by another task is a line of its own"
        assert heard[-1].text == "half"
    assert [record.text for record in heard][-2:] == ["half", "half"], (
        "closing the machine ends the last line"
    )


def test_a_module_that_another_needs_is_found_beside_it() -> None:
    with Kernel(image=None) as k:
        k.insmod(modules()["exporter"], "init_ms=20")
        assert k.call("exporter_plain") == 1
        k.modprobe("ok_dep")
        k.rmmod("ok_dep")
        with pytest.raises(LoadError, match="nosuch"):
            k.modprobe("nosuch")
        assert k.modprobe("nosuch", check=False).status == 1


def test_dependencies_are_loaded_first_unless_they_are_not_wanted() -> None:
    with Kernel() as k:
        k.insmod(modules()["uses_exporter"])
        assert list(k.modules) == ["uses_exporter", "exporter"]
    with Kernel() as k, pytest.raises(LoadError):
        k.insmod(modules()["uses_exporter"], dependencies=False)


def test_modules_that_are_opened_together_share_their_files() -> None:
    with Kernel(image=None) as k:
        uses, exporter = k.open_modules([modules()["uses_exporter"], modules()["exporter"]])
        assert uses.needs == (exporter.file,)
        k.boot([uses, exporter])
        k.insmod(uses)
        assert list(k.modules) == ["uses_exporter", "exporter"]


def test_a_file_in_memory_or_open_is_a_module() -> None:
    with Kernel(image=None) as k, ModuleFile(str(modules()["exporter"])) as file:
        assert k.insmod(file).path == file.path
        assert k.insmod(ModuleFile.of(modules()["ok_dep"].read_bytes())).path == ""


def test_a_path_is_read_whenever_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "module.ko"
    with Kernel(image=None) as k:
        for name in ("ok_dep", "params"):
            shutil.copy(modules()[name], path)
            assert k.insmod(path).name == name


def test_modprobe_loads_the_file_as_it_is_when_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "ok_dep.ko"
    shutil.copy(modules()["ok_dep"], path)
    with Kernel(tree=tmp_path, image=None) as k:
        k.boot(k.open_modules([path]))
        shutil.copy(modules()["params"], path)
        k.modprobe("ok_dep")
        assert list(k.modules) == ["params"]


def test_a_section_in_the_signature_is_none_of_the_module() -> None:
    """mod_verify_sig() takes the signature off before elf_validity_check() looks at the sections."""
    signed = bytearray(signing.append(modules()["ok_dep"].read_bytes(), b"junk"))
    with Kernel(image=None) as k:
        assert k.insmod(bytes(signed)).name == "ok_dep"
        k.rmmod("ok_dep")
        headers = int.from_bytes(signed[40:48], "little")
        comment = Elf(bytes(signed)).section(".comment")
        assert comment is not None
        size_at = headers + 64 * comment.index + 32
        signed[size_at : size_at + 8] = (len(signed) - comment.offset).to_bytes(8, "little")
        with pytest.raises(LoadError, match="beyond the end") as caught:
            k.insmod(bytes(signed))
        assert caught.value.errno == errno.ENOEXEC


def test_a_mock_of_a_function_that_does_not_exist_is_an_error_unless_it_is_new() -> None:
    def answer() -> Int:
        return 42

    with Kernel() as k:
        k.boot([modules()["ok_dep"]])
        with pytest.raises(NotFoundError, match="the kernel has no such function"):
            k.export(answer, name="schedule_timout")
        k.export(new=True)(answer)
        assert k.call(k.core.symbols.address("answer")) == 42

        with pytest.raises(UsageError, match="'x' has no C type"):
            k.export(lambda x: 0, name="schedule_timeout")


@pytest.mark.parametrize("hz", [0, -1, 10_001])
def test_a_clock_that_cannot_tick_is_an_error(hz: int) -> None:
    with pytest.raises(UsageError, match="CONFIG_HZ"):
        Kernel(hz=hz)


@pytest.mark.parametrize("memory", [0, (16 << 20) - 1, 1 << 50])
def test_a_size_of_memory_that_no_machine_has_is_an_error(memory: int) -> None:
    with pytest.raises(UsageError, match="bytes of RAM"):
        Kernel(memory=memory)


def test_memory_is_in_whole_pages() -> None:
    with Kernel(memory=100_000_001) as k:
        k.insmod(modules()["ok_dep"])
        assert k.core.memory.size == 100_000_001 // PAGE_SIZE * PAGE_SIZE


def test_patience_may_change_while_the_machine_runs(machine: Kernel) -> None:
    machine.patience = 7
    machine.boot()
    assert machine.core.patience == 7
    machine.patience = 0.5
    assert machine.core.patience == machine.patience == 0.5
    with pytest.raises(UsageError, match="patience is a positive number"):
        machine.patience = 0
