"""This machine as a host. System calls are made for real, with arguments that no kernel accepts."""

from __future__ import annotations

import os
import signal
import sys
from errno import EINVAL, ENOEXEC
from pathlib import Path

import pytest
from tests import elfwriter

from ukmod.errors import FormatError
from ukmod.kmod import forks
from ukmod.kmod.compression import compression_of
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.linux import LinuxHost, Stream
from ukmod.kmod.loaded import SysModules, loaded_modules
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.tools import modinfo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="LinuxHost is for Linux")


class TestFiles:
    def test_a_root_of_their_own(self, tmp_path: Path) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/a").write_bytes(b"x" * 100_000)
        files = DirectoryFiles(str(tmp_path) + "/")
        assert files.read("/etc/a") == b"x" * 100_000
        assert files.listdir("/etc") == ["a"]
        assert files.stat("/etc/a").st_size == 100_000
        assert files.real("/etc/a") == f"{tmp_path}/etc/a"
        assert files.real("relative") == "relative"


class TestStream:
    def test_holds_back_what_is_no_terminal(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        stream = Stream(writer)
        stream.write("a\udcff")
        with pytest.raises(BlockingIOError):
            os.read(reader, 10)
        stream.flush()
        assert os.read(reader, 10) == b"a\xff"
        os.close(reader)
        os.close(writer)

    def test_writing_where_nobody_reads_is_no_error(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        Stream(writer, unbuffered=True).write("lost")
        os.close(writer)


def fake_sys(root: Path, name: str, **attributes: str) -> None:
    directory = root / "sys/module" / name
    (directory / "holders").mkdir(parents=True)
    for attribute, text in attributes.items():
        (directory / attribute).write_text(text)


class TestSysModules:
    @pytest.fixture
    def host(self, tmp_path: Path) -> LinuxHost:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/modules").write_text("a_mod 4096 1 b, Live 0x0\nb 8192 0 - Live 0x0\nbad x 0\n")
        fake_sys(tmp_path, "a_mod", initstate="live\n", refcnt="1\n", coresize="16384\n")
        (tmp_path / "sys/module/a_mod/holders/b").symlink_to("../../b")
        fake_sys(tmp_path, "b", initstate="coming\n", refcnt="x\n")  # before Linux 3.3: no coresize
        fake_sys(tmp_path, "builtin_ish")
        fake_sys(tmp_path, "odd", initstate="dancing\n", refcnt="3")
        host = LinuxHost()
        host.files = DirectoryFiles(str(tmp_path))
        return host

    def test_initstate(self, host: LinuxHost) -> None:
        messages: list[str] = []
        state = SysModules(host, lambda _p, _f, text: messages.append(text))
        names = ("a_mod", "b", "builtin_ish", "none", "odd")
        assert [state.initstate(name) for name in names] == ["live", "coming", "coming", None, None]
        assert messages == ["unknown /sys/module/odd/initstate: 'dancing\n'"]

    def test_refcnt(self, host: LinuxHost) -> None:
        """What cannot be read is an errno: the kernel will say whether such a module is in use."""
        messages: list[str] = []
        state = SysModules(host, lambda _p, _f, text: messages.append(text))
        assert [state.refcnt(name) for name in ("a_mod", "b", "none", "odd")] == [1, -EINVAL, None, -EINVAL]
        assert messages[0] == "could not read integer from '/sys/module/b/refcnt': 'Invalid argument'"
        assert len(messages) == 2  # a number must end with something blank

    def test_holders(self, host: LinuxHost) -> None:
        messages: list[str] = []
        state = SysModules(host, lambda _p, _f, text: messages.append(text))
        assert state.holders("a_mod") == ["b"]
        assert state.holders("none") == []
        assert messages == ["could not open '/sys/module/none/holders': No such file or directory"]

    def test_all(self, host: LinuxHost) -> None:
        modules = {module.name: module for module in loaded_modules(host)}
        assert (modules["a_mod"].size, modules["a_mod"].refcnt, modules["a_mod"].holders) == (
            16384,
            1,
            ("b",),
        )
        assert (modules["b"].size, modules["b"].refcnt) == (8192, -22)
        assert (modules["bad"].size, modules["bad"].refcnt) == (-2, -2)


REFUSED = r"^\[Errno \d+\] "


class TestSystemCalls:
    """They fail for want of privilege, of support, or of a module: which one depends on the machine."""

    def test_finit_module(self, tmp_path: Path) -> None:
        (tmp_path / "a.ko").write_bytes(b"no module")
        with ModuleFile(str(tmp_path / "a.ko")) as file, pytest.raises(OSError, match=REFUSED):
            LinuxHost().finit_module(file, "a=1", 0)

    def test_init_module(self) -> None:
        with pytest.raises(OSError, match=REFUSED):
            LinuxHost().init_module(b"no module", "")

    def test_delete_module(self) -> None:
        with pytest.raises(OSError, match=REFUSED):
            LinuxHost().delete_module("ukmod_tests_no_such_module", os.O_NONBLOCK)


class TestTheRest:
    def test_system(self, monkeypatch: pytest.MonkeyPatch) -> None:
        host = LinuxHost()
        monkeypatch.setenv("UKMOD_TEST", "7")
        assert host.system("exit $UKMOD_TEST") == 7 << 8

    def test_a_command_is_sent_sigpipe_which_python_ignores(self) -> None:
        before = signal.getsignal(signal.SIGPIPE)
        ended_by = "kill -PIPE $$; exit 3"
        assert LinuxHost().system(ended_by) == signal.SIGPIPE
        assert signal.getsignal(signal.SIGPIPE) == before

    def test_the_working_directory_as_it_is_spelled(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        monkeypatch.chdir(tmp_path / "link")
        monkeypatch.setenv("PWD", str(tmp_path / "link"))
        assert LinuxHost().getcwd() == str(tmp_path / "link")
        monkeypatch.setenv("PWD", "/elsewhere")
        assert LinuxHost().getcwd() == str(tmp_path / "real")

    def test_release(self) -> None:
        assert LinuxHost().release() == os.uname().release


class TestModuleFile:
    @pytest.mark.parametrize(
        ("head", "name"),
        [
            (b"\x28\xb5\x2f\xfd..", "zstd"),
            (b"\xfd7zXZ\0", "xz"),
            (b"\x1f\x8b....", "gzip"),
            (b"\x7fELF..", ""),
        ],
    )
    def test_compression_is_a_matter_of_content(self, head: bytes, name: str) -> None:
        assert compression_of(head) == name

    def test_too_short(self, tmp_path: Path) -> None:
        (tmp_path / "a.ko").write_bytes(b"\x7fELF")
        with pytest.raises(OSError, match="Invalid argument"):
            ModuleFile(str(tmp_path / "a.ko"))

    def test_contents(self, tmp_path: Path) -> None:
        import lzma

        (tmp_path / "a.ko.xz").write_bytes(lzma.compress(b"\x7fELF and so on", check=lzma.CHECK_CRC32))
        with ModuleFile(str(tmp_path / "a.ko.xz")) as file:
            assert file.compression == "xz"
            assert file.raw().startswith(b"\xfd7zXZ")
            assert file.contents() == b"\x7fELF and so on"
        file.close()  # again


class TestBeside:
    """A part of a tool's work, done where another processor is free."""

    @pytest.fixture(params=[1, 2], ids=["one core", "two cores"])
    def host(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LinuxHost:
        monkeypatch.setattr(forks, "cores", lambda: request.param)
        return LinuxHost(ends=True)

    def test_what_it_writes_appears_in_order_with_its_result(
        self, host: LinuxHost, capfd: pytest.CaptureFixture[str]
    ) -> None:
        host.stderr = host.stdout

        def work() -> list[int]:
            host.stdout.write("three\n")
            host.stderr.write("four\n")
            return [os.getpid()]

        result = host.beside(work)
        host.stdout.write("one\n")
        host.stderr.write("two\n")
        assert (result()[0] == os.getpid()) == (forks.cores() == 1)
        host.stdout.write("five\n")
        host.stdout.flush()
        assert capfd.readouterr().out == "one\ntwo\nthree\nfour\nfive\n"

    def test_of_work_that_fails_no_message_is_lost(
        self, host: LinuxHost, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def work() -> int:
            host.stderr.write("almost\n")
            raise FormatError("it is damaged")

        result = host.beside(work)
        with pytest.raises(FormatError, match="damaged"):
            result()
        assert capfd.readouterr().err == "almost\n"

    def test_a_process_with_more_to_do_is_not_forked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forks, "cores", lambda: 2)
        assert LinuxHost().beside(os.getpid)() == os.getpid()

    def test_modinfo_of_many_files_says_the_same(
        self, host: LinuxHost, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "good.ko").write_bytes(elfwriter.module("good", "license=GPL", "depends=other"))
        (tmp_path / "bad.ko").write_bytes(b"no module")
        words = [str(tmp_path / name) for name in ("good.ko", "bad.ko", "lost.ko")] * 100
        assert modinfo.main(["modinfo", "-F", "depends", *words], host) == 1
        said = capfd.readouterr()
        assert said.out == "other\n" * 100
        bad, lost = said.err.splitlines()[:2]
        assert (bad, lost) == (
            f"modinfo: ERROR: could not get modinfo from 'bad': {os.strerror(ENOEXEC)}",
            f"modinfo: ERROR: Module {words[2]} not found.",
        )
        assert said.err == f"{bad}\n{lost}\n" * 100
