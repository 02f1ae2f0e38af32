"""``ukmod run`` as its users see it: what it prints, what it returns, and what their mistakes get them."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.elfwriter import module
from tests.golden import modules
from tests.kernel.user import programs
from tests.kernel.user.conftest import device
from tests.machine.imagewriter import vmlinux
from tests.real import debian
from tests.real.debian import RELEASE

from ukmod import cli
from ukmod.kmod import depmod, modfile
from ukmod.kmod.elf import Elf
from ukmod.kmod.regular import open_with_status
from ukmod.kmod.tree import Tree

if TYPE_CHECKING:
    from ukmod.kmod.elf import ByteSource


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with some compiled modules and no other."""
    for name in (
        "ok_dep",
        "exporter",
        "params",
        "ret_enodev",
        "oops",
        "thread_left",
        "waits",
        "uses_exporter",
        "rm_call",
        "leaves",
    ):
        shutil.copy(modules()[name], tmp_path / f"{name}.ko")
    return tmp_path


def run(*arguments: object) -> int:
    return cli.main(["ukmod", "run", *map(str, arguments)])


class TestOutcome:
    """0 if all was clean, 1 otherwise; the report says why."""

    def test_clean(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(here / "ok_dep.ko") == 0
        out, err = capsys.readouterr()
        assert "ok_dep: init" in out
        assert "unloaded: ok_dep\n" in out
        assert out.endswith("clean: no failure, nothing left behind, no memory leaked or misused, no oops\n")
        assert err == ""

    def test_init_fails(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(here / "ret_enodev.ko") == 1
        out = capsys.readouterr().out
        assert "failed:\n  insmod: ret_enodev: its init function returned -19 (No such device)\n" in out
        assert "clean" not in out

    def test_what_it_needs_is_loaded_first(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copy(modules()["uses_exporter"], here / "uses_exporter.ko")
        assert run(here / "uses_exporter.ko") == 0
        assert "unloaded: uses_exporter, exporter\n" in capsys.readouterr().out

    def test_what_it_needs_is_not_there(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copy(modules()["uses_exporter"], tmp_path / "uses_exporter.ko")
        assert run("--kernel", "none", tmp_path / "uses_exporter.ko") == 1
        assert "insmod: uses_exporter: unknown symbol exporter_" in capsys.readouterr().out

    def test_no_unload(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--no-unload", here / "ok_dep.ko") == 0
        assert "still loaded: ok_dep\n" in capsys.readouterr().out

    def test_parameters(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(here / "ok_dep.ko", "x=7") == 0
        assert "ok_dep: init, x=7" in capsys.readouterr().out

    def test_a_bad_parameter(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(here / "ok_dep.ko", "x=many") == 1
        assert "`many' invalid for parameter `x'" in capsys.readouterr().out

    def test_a_thread_left_behind(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--for", "0.5", here / "thread_left.ko") == 1
        assert "threads left running:\n" in capsys.readouterr().out


def test_what_is_pending_after_unloading_is_told_and_then_happens(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--for", 1, here / "leaves.ko", "what=delayed_work") == 1
    out = capsys.readouterr().out
    assert "unloaded: leaves\n" in out
    assert "left pending or registered:\n  delayed work later [leaves], due at 2.000000 s: labour+0x0" in out
    assert "failed:\n  the machine stopped: Fatal exception in interrupt\n" in out
    assert "clean" not in out


def test_a_thread_that_is_left_is_told_also_if_it_crashes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(here / "leaves.ko", "what=thread") == 1
    out = capsys.readouterr().out
    assert "threads left running:\n  spinner (pid 4) of leaves\n" in out
    assert "oopses:\n" in out


def test_what_is_pending_for_longer_than_anybody_waits_is_told_as_well(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--json", here / "leaves.ko", "what=notifier") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["dangling"] == ["pointer to ear [leaves] in module_notify_list"]
    assert (found["clean"], found["failures"], found["oopses"]) == (False, [], [])


def test_a_module_that_cleans_up_is_clean(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(here / "leaves.ko", "what=delayed_work", "tidy=1") == 0
    assert "left pending" not in capsys.readouterr().out


def test_json_is_one_document(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", here / "ok_dep.ko") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["clean"], found["unloaded"], found["loaded"]) == (True, ["ok_dep"], [])
    assert any("ok_dep: init" in record["text"] for record in found["dmesg"])


def test_json_of_a_failure(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", here / "ret_enodev.ko") == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["clean"]
    assert len(found["failures"]) == 1


class TestMistakes:
    """A mistake is one line on standard error, and no traceback."""

    def line(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
        assert run(*arguments) in (cli.MISUSED, cli.NOT_RUN)
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("ukmod run: ")
        return err

    def test_no_such_file(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "there is no such file" in self.line(capsys, here / "none.ko")
        (here / "tiny.ko").write_bytes(b"no")
        assert "too short" in self.line(capsys, here / "tiny.ko")
        (here / "self.ko").symlink_to("self.ko")
        assert "Too many levels of symbolic links" in self.line(capsys, here / "self.ko")

    def test_a_directory(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "it is not a file" in self.line(capsys, here)

    @pytest.mark.parametrize("content", [b"", b"some text\n", b"\x7fELF", bytes(100)])
    def test_no_module(self, here: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
        (here / "x.ko").write_bytes(content)
        assert "x.ko" in self.line(capsys, here / "x.ko")

    def test_a_name_without_a_tree(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "name a .ko file, or with -d ROOT" in self.line(capsys, "loop")

    def test_a_root_without_modules(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "no modules of any kernel" in self.line(capsys, "-d", here, "loop")

    def test_a_root_with_several(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for version in ("6.1.0", "6.2.0"):
            (here / "lib/modules" / version).mkdir(parents=True)
        assert "name one of 6.1.0, 6.2.0" in self.line(capsys, "-d", here, "loop")
        assert "there is no module of that name" in self.line(capsys, "-d", here, "-S", "6.1.0", "loop")
        assert "no such directory" in self.line(capsys, "-d", here, "-S", "6.3.0", "loop")

    @pytest.mark.parametrize("option", ["--btf", "--kernel"])
    def test_no_btf(self, here: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
        assert "none" in self.line(capsys, option, here / "none", here / "ok_dep.ko")

    @pytest.mark.parametrize(
        "arguments", [[], ["--for", "-1"], ["--for", "nan"], ["--for", "inf"], ["--hz", "0"], ["--seed", "x"]]
    )
    def test_arguments(self, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            run(*arguments, *(["m.ko"] if arguments else []))
        assert caught.value.code == 2
        assert capsys.readouterr().err.startswith("usage: ukmod run")


def circle(directory: Path) -> None:
    """Two modules that need each other."""
    (directory / "one.ko").write_bytes(module(name="one", exports=["one_fn"], needs=["two_fn"]))
    (directory / "two.ko").write_bytes(module(name="two", exports=["two_fn"], needs=["one_fn"]))


def test_a_directory_that_cannot_be_read_is_a_warning_in_a_line(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(directory: str, **_: object) -> Tree:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), directory)

    monkeypatch.setattr(Tree, "from_directory", refused)
    assert run("--kernel", "none", here / "ok_dep.ko") == 0, "it needs none of them"
    assert capsys.readouterr().err == ""
    assert run("--kernel", "none", here / "uses_exporter.ko") == 1
    err = capsys.readouterr().err
    assert err.startswith("ukmod run: warning: no module can be loaded from beside ")
    assert err.count("\n") == 1


def test_each_file_of_a_tree_is_opened_and_parsed_once(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "root/lib/modules" / RELEASE
    directory.mkdir(parents=True)
    for name in ("exporter", "uses_exporter", "ok_dep"):
        shutil.copy(here / f"{name}.ko", directory)
    depmod(tmp_path / "root")
    opened: list[str] = []
    parsed: list[str] = []
    parse = Elf.__init__

    def counted_open(path: str, limit: int) -> tuple[int, os.stat_result]:
        opened.append(os.path.basename(path))
        return open_with_status(path, limit)

    def counted_parse(elf: Elf, data: ByteSource, path: str = "") -> None:
        parsed.append(os.path.basename(path))
        parse(elf, data, path)

    monkeypatch.setattr(modfile, "open_with_status", counted_open)
    monkeypatch.setattr(Elf, "__init__", counted_parse)
    assert run("-d", tmp_path / "root", "--kernel", "none", "exporter", "uses_exporter", "ok_dep") == 0
    assert sorted(opened) == sorted(parsed) == ["exporter.ko", "ok_dep.ko", "uses_exporter.ko"]
    opened.clear()
    parsed.clear()
    assert run("--kernel", "none", here / "exporter.ko") == 0, "its neighbours do not matter"
    assert run("--kernel", "none", directory / "uses_exporter.ko") == 0, "the tree is the one that it lies in"
    assert opened == parsed == ["exporter.ko", "uses_exporter.ko", "exporter.ko"]
    opened.clear()
    assert run("--kernel", "none", here / "uses_exporter.ko") == 0
    assert opened.count("uses_exporter.ko") == 1, "to index its directory, it is not opened again"


def test_directories_below_are_not_looked_into(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    below = here / "below"
    below.mkdir()
    circle(below)
    assert run(here / "ok_dep.ko") == 0
    assert capsys.readouterr().err == ""


class TestDeterminism:
    """The same input is the same run."""

    def output(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
        run(*arguments)
        return capsys.readouterr().out

    @pytest.mark.parametrize("name", ["waits", "oops"])
    def test_two_runs(self, here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
        first = self.output(capsys, here / f"{name}.ko")
        assert self.output(capsys, here / f"{name}.ko") == first

    @pytest.mark.parametrize("seed", [1, 2])
    def test_two_runs_of_a_seed(self, here: Path, capsys: pytest.CaptureFixture[str], seed: int) -> None:
        arguments = ("--seed", seed, here / "waits.ko")
        assert self.output(capsys, *arguments) == self.output(capsys, *arguments)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ukmod", "run", *map(str, arguments)]


def test_a_reader_that_has_gone(here: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(command(here / "ok_dep.ko"), stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (cli.NOT_RUN, b"")


def test_interrupted(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ukmod.cli.run.run", interrupt)
    assert run(here / "ok_dep.ko") == 130


class TestKernel:
    """--kernel: an image is looked for if the module needs what Python has not, and not otherwise."""

    @pytest.fixture
    def lacking(self, tmp_path: Path) -> Path:
        shutil.copy(modules()["needs_missing_symbol"], tmp_path / "lacking.ko")
        return tmp_path / "lacking.ko"

    def test_none_is_looked_for(
        self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr("ukmod.cli.kernel_image.find_image")
        assert run(here / "ok_dep.ko") == 0
        assert capsys.readouterr().err == ""

    def test_none_is_found(self, lacking: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("-d", empty_root(lacking.parent), lacking) == 1
        err = capsys.readouterr().err
        assert err.startswith("ukmod run: Python does not implement ")
        assert f"looked for {lacking.parent}/boot/vmlinuz-{RELEASE}, " in err
        assert err.endswith("name it with --kernel IMAGE\n")

    def test_none_is_wanted(self, lacking: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("--kernel", "none", lacking) == 1
        out, err = capsys.readouterr()
        assert "unknown symbol" in out
        assert err == ""

    def test_one_of_another_build(self, lacking: Path, capsys: pytest.CaptureFixture[str]) -> None:
        root = empty_root(lacking.parent)
        (root / "boot").mkdir()
        image = root / f"boot/vmlinuz-{RELEASE}"
        image.write_bytes(vmlinux())
        assert run("-d", root, lacking) == 1
        assert f'{image} has vermagic "6.1.0-test SMP mod_unload", the module "{RELEASE} ' in (
            capsys.readouterr().err
        )

    def test_a_kernel_whose_structs_are_not_known(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "x.ko").write_bytes(module("x", "vermagic=5.0-other SMP"))
        assert run("-d", empty_root(tmp_path), tmp_path / "x.ko") == cli.NOT_RUN
        err = capsys.readouterr().err
        assert "no types of its kernel are known" in err
        assert (
            f"no image of kernel 5.0-other was found (looked for {tmp_path}/boot/vmlinuz-5.0-other, " in err
        )
        assert err.count("\n") == 1

    @pytest.mark.real
    @pytest.mark.parametrize("name", ["nls_cp850", "crc64"])
    def test_the_modules_own(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        """One needs what Python lacks, the other is what Python has."""
        kernel = debian.require()
        (module,) = kernel.modules.rglob(f"{name}.ko")
        assert run(module) == 0
        out, err = capsys.readouterr()
        assert f"unloaded: {name}\n" in out
        assert err.startswith(f"ukmod run: using {kernel.vmlinuz}: Python ")

    @pytest.mark.real
    def test_a_program_tests_the_module(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        kernel, program = debian.require().vmlinuz, programs.build(tmp_path)
        words = (device("quanta"), "--kernel", kernel, "--exec", program)
        assert run(*words, "quanta") == 0
        out = capsys.readouterr().out
        assert "\nwrite 16, Success\n" in out
        assert "\nunloaded: quanta\n" in out
        assert run(*words, "no-such") == 1
        out, err = capsys.readouterr()
        assert err.endswith("no such trial\n")
        assert "\nfailed:\n  trial: exit status 2\n" in out
        assert run("--json", *words, "crash", "-x") == 1
        document = json.loads(capsys.readouterr().out)
        assert document["failures"] == ["trial: killed by signal 11"]
        assert document["program"]["argv"] == ["/bin/trial", "crash", "-x"]
        assert (document["program"]["status"], document["program"]["signal"]) == (139, 11)

    @pytest.mark.real
    def test_a_program_whose_interpreter_is_not_there(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = tmp_path / "script"
        script.write_text("#!/bin/none\n")
        script.chmod(0o755)
        assert run(device("quanta"), "--kernel", debian.require().vmlinuz, "--exec", script) == 1
        assert (
            "script: its interpreter is not in the machine: link it with -static" in capsys.readouterr().out
        )

    @pytest.mark.real
    def test_a_program_may_be_the_roots_own(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        program, root = programs.build(tmp_path), tmp_path / "root"
        (root / "usr/bin").mkdir(parents=True)
        shutil.copy(program, root / "usr/bin/tester")
        (root / "script").write_text("#!/bin/none\n")
        (root / "script").chmod(0o755)
        words = (device("quanta"), "--kernel", debian.require().vmlinuz, "--root", root, "--exec")
        for name in ("/usr/bin/tester", "tester"):
            assert run(*words, name, "quanta") == 0
            assert "\nwrite 16, Success\n" in capsys.readouterr().out
        assert run(*words, program, "quanta") == 0, "one of the host is copied"
        assert run(*words, "/script") == 1
        assert "script: its interpreter is not in the root\n" in capsys.readouterr().out
        assert run(*words, "/absent") == cli.NOT_RUN
        error = capsys.readouterr().err
        assert "/absent: neither the root nor this directory has such a program\n" in error

    @pytest.mark.real
    def test_a_program_that_does_not_end_shows_what_it_has_written(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        busybox = shutil.which("busybox") or "busybox"
        words = (device("quanta"), "--kernel", debian.require("busybox").vmlinuz, "--exec", busybox)
        assert run(*words, "sh", "-c", "echo begun; while :; do /bin/busybox sleep 100; done") == 1
        out = capsys.readouterr().out
        assert "\nbegun\n" in out
        assert "busybox: has not ended after 300 virtual seconds" in out

    def test_a_program_is_a_file_and_needs_an_image(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(here / "ok_dep.ko", "--exec", "./absent") == cli.NOT_RUN
        assert capsys.readouterr().err == "ukmod run: ./absent: there is no such file\n"
        assert run("--kernel", "none", here / "ok_dep.ko", "--exec", here / "params.ko") == 2
        error = capsys.readouterr().err
        assert "ukmod run: --exec: a program needs the kernel's own code: name " in error
        assert error.endswith("by --kernel\n")

    @pytest.mark.real
    def test_what_it_makes_once_and_keeps_is_no_leak(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Slabs of a radix tree, for the first disk."""
        kernel = debian.require()
        assert run("-d", kernel.image, "-S", kernel.release, "loop") == 0
        assert "clean: no failure" in capsys.readouterr().out

    @pytest.mark.real
    def test_what_is_lost_each_time_is_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        """dccp_fini() destroys one of dccp_init()'s two caches."""
        kernel = debian.require()
        assert run("-d", kernel.image, "-S", kernel.release, "dccp") == 1
        (line,) = capsys.readouterr().out.partition("memory leaked:\n")[2].splitlines()
        assert line.startswith("  1 object of kmem_cache, 8408 bytes, from dccp_init+")

    @pytest.mark.real
    def test_what_it_needs_may_have_hyphens(self, capsys: pytest.CaptureFixture[str]) -> None:
        kernel = debian.require()
        assert run("-d", kernel.image, "-S", kernel.release, "snd-dummy") == 0
        assert "unloaded: snd_dummy, snd_pcm, snd_timer, snd, soundcore\n" in capsys.readouterr().out

    @pytest.mark.real
    def test_one_that_is_named_and_is_another_kernel_s(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The kernel's own word, and which image would have done."""
        other = debian.require_other("cloud")
        (module,) = other.modules.rglob("crc7.ko")
        assert run(module, "--kernel", debian.require().vmlinuz) == 1
        out, err = capsys.readouterr()
        assert "] crc7: disagrees about version of symbol module_layout\n" in out
        assert "insmod: crc7: " in out
        assert err == (
            f'ukmod run: {module}: it has vermagic "{other.release} SMP preempt mod_unload modversions", '
            f'the image "{RELEASE} SMP preempt mod_unload modversions"; '
            f"the image of kernel {other.release} is {other.vmlinuz}\n"
        )


def empty_root(root: Path) -> Path:
    """A root with a kernel's directory, and no module or image."""
    (root / "lib/modules" / RELEASE).mkdir(parents=True)
    return root


class TestSeveral:
    """More than one module on a command line."""

    def test_each_has_the_parameters_that_follow_it(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("--for", "0.1", here / "ok_dep.ko", "x=7", here / "exporter.ko", "init_ms=1") == 0
        out = capsys.readouterr().out
        assert "ok_dep: init, x=7" in out
        assert "unloaded: exporter, ok_dep" in out

    def test_modules_of_a_tree_are_named_one_after_the_other(self, tmp_path: Path) -> None:
        place = tmp_path / "lib/modules" / RELEASE / "kernel"
        place.mkdir(parents=True)
        for name in ("ok_dep", "exporter", "uses_exporter"):
            shutil.copy(modules()[name], place)
        words = [
            "--kernel",
            "none",
            "-d",
            tmp_path,
            "--for",
            "0.1",
            "ok_dep",
            "x=7",
            "uses-exporter",
            "--json",
        ]
        assert run(*words) == 0

    def test_a_parameter_needs_a_module_before_it(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("x=7", here / "ok_dep.ko") == cli.MISUSED
        assert "is a parameter: the module precedes it" in capsys.readouterr().err

    def test_a_bare_word_switches_a_parameter_on(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("--for", "0.1", here / "ok_dep.ko", "nonsense") == 0
        assert "unknown parameter 'nonsense' ignored" in capsys.readouterr().out


class TestNeighbours:
    """What lies beside the module does not keep it from being run."""

    def test_one_that_links_to_itself(self, here: Path) -> None:
        (here / "loop.ko").symlink_to("loop.ko")
        assert run("--for", "0.1", here / "ok_dep.ko") == 0

    @pytest.mark.parametrize("content", [b"", b"not a module", b"\x7fELF"])
    def test_one_that_is_no_module(
        self, here: Path, content: bytes, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (here / "bad.ko").write_bytes(content)
        assert run("--for", "0.1", here / "uses_exporter.ko") == 0
        assert "exporter" in capsys.readouterr().out

    def test_a_fifo(self, here: Path) -> None:
        os.mkfifo(here / "fifo.ko")
        assert run("--for", "0.1", here / "uses_exporter.ko") == 0

    def test_two_that_need_each_other(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        circle(here)
        assert run("--for", "0.1", here / "uses_exporter.ko") == 0
        assert "exporter" in capsys.readouterr().out


def test_a_request_that_failed_is_not_clean(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--for", "0.5", here / "rm_call.ko", "name=no-such-module") == 1
    out = capsys.readouterr().out
    assert 'requests that failed:\n  request_module("no-such-module") = 256: modprobe' in out
    assert "clean:" not in out
