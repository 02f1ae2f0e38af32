"""insmod, rmmod, lsmod and kmod."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from tests.elfwriter import module
from tests.kmod.fakehost import FakeHost, memory_tree

from ukmod.kmod.host import Host
from ukmod.kmod.tools import insmod, kmod, lsmod, rmmod


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A host whose root is a directory with one module in it."""
    (tmp_path / "my-mod.ko").write_bytes(b"\x7fELF-like")
    host = FakeHost(tmp_path)
    host.tree = memory_tree({"base": []}, builtin=("unix",), files=host.files)
    return host


class TestInsmod:
    def run(self, host: FakeHost, *arguments: str) -> int:
        return insmod.main(["insmod", *arguments], host)

    def test_loads_a_file_with_its_options(self, host: FakeHost) -> None:
        assert self.run(host, "/my-mod.ko", "a=1", "b=x y") == 0
        assert host.calls == [("finit_module", "my_mod", 'a=1 b="x y"', 0)]

    @pytest.mark.parametrize(
        ("option", "flags"), [("-f", 3), ("--force-modversion", 1), ("--force-vermagic", 2)]
    )
    def test_force(self, host: FakeHost, option: str, flags: int) -> None:
        assert self.run(host, option, "/my-mod.ko") == 0
        assert host.calls == [("finit_module", "my_mod", "", flags)]

    @pytest.mark.parametrize(
        ("number", "reason"),
        [
            (errno.ENOEXEC, "Invalid module format"),
            (errno.ENOENT, "Unknown symbol in module"),
            (errno.ESRCH, "Module has wrong symbol version"),
            (errno.EINVAL, "Invalid parameters"),
            (errno.EEXIST, "File exists"),
        ],
    )
    def test_the_kernel_refuses(self, host: FakeHost, number: int, reason: str) -> None:
        host.failures["my_mod"] = [number]
        assert self.run(host, "/my-mod.ko") == 1
        assert host.stderr.text == f"insmod: ERROR: could not insert module /my-mod.ko: {reason}\n"

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (module("m")[:40], "insmod: ERROR: could not insert module /my-mod.ko: Invalid parameters\n"),
            (b"#!/bin/sh", "insmod: ERROR: could not insert module /my-mod.ko: Invalid module format\n"),
            (
                module("my_mod"),
                (
                    "insmod: ERROR: Failed to strip version information: No data available\n"
                    "insmod: ERROR: could not insert module /my-mod.ko: No data available\n"
                ),
            ),
        ],
        ids=["cut off", "no ELF file", "without a vermagic"],
    )
    def test_force_where_the_kernel_has_no_flags_for_it(
        self, host: FakeHost, tmp_path: Path, content: bytes, said: str
    ) -> None:
        (tmp_path / "my-mod.ko").write_bytes(content)
        host.failures["my_mod"] = [errno.ENOSYS]
        assert self.run(host, "-f", "/my-mod.ko") == 1
        assert host.stderr.text == said

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "insmod: ERROR: missing filename."),
            (["-"], "insmod: ERROR: this tool does not support loading from stdin!"),
            (["/no.ko"], "insmod: ERROR: could not load module /no.ko: No such file or directory"),
            (["-x"], "insmod: invalid option -- 'x'"),
        ],
    )
    def test_mistakes(self, host: FakeHost, arguments: list[str], message: str) -> None:
        assert self.run(host, *arguments) == 1
        assert host.stderr.text == message + "\n"


class TestRmmod:
    def run(self, host: FakeHost, *arguments: str) -> int:
        return rmmod.main(["rmmod", *arguments], host)

    def test_removes_each(self, host: FakeHost) -> None:
        host.loaded = {"base": (0, []), "my_mod": (0, [])}
        assert self.run(host, "/my-mod.ko", "base.ko") == 0
        assert host.calls == [("delete_module", "my_mod", 0o4000), ("delete_module", "base", 0o4000)]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("unix", "Module unix is builtin."),
            ("none", "Module none is not currently loaded"),
            ("held", "Module held is in use by: a b"),
            ("used", "Module used is in use"),
        ],
    )
    def test_says_why_not_and_goes_on(self, host: FakeHost, name: str, message: str) -> None:
        host.loaded = {"held": (2, ["a", "b"]), "used": (1, []), "free": (0, [])}
        assert self.run(host, name, "free") == 1
        assert host.stderr.text == f"rmmod: ERROR: {message}\n"
        assert host.calls == [("delete_module", "free", 0o4000)]

    def test_force_asks_nobody(self, host: FakeHost) -> None:
        host.failures["base"] = [errno.EWOULDBLOCK]
        assert self.run(host, "-f", "base") == 1
        assert host.calls == [("delete_module", "base", 0o5000)]
        assert host.stderr.text == (
            "rmmod: ERROR: could not remove 'base': Resource temporarily unavailable\n"
            "rmmod: ERROR: could not remove module base: Resource temporarily unavailable\n"
        )

    def test_no_name(self, host: FakeHost) -> None:
        assert self.run(host) == 1
        assert host.stderr.text == "rmmod: ERROR: missing module name.\n"


class TestLsmod:
    def test_table(self, host: FakeHost) -> None:
        host.loaded = {"a_module_with_a_long_name": (2, ["b", "c"]), "b": (0, [])}
        assert lsmod.main(["lsmod"], host) == 0
        assert host.stdout.text == (
            "Module                  Size  Used by\n"
            "a_module_with_a_long_name    16384  2 b,c\n"
            "b                      16384  0\n"
        )

    def test_options_for_the_kernel_are_not_read(self, host: FakeHost) -> None:
        host.kernel_cmdline = b"x[.y=1"  # of which modprobe says that it names no module
        assert lsmod.main(["lsmod"], host) == 0
        assert host.stderr.text == ""

    def test_json(self, host: FakeHost) -> None:
        host.loaded = {"a": (1, ["b"])}
        assert lsmod.main(["lsmod", "--json"], host) == 0
        assert json.loads(host.stdout.text) == [{"module": "a", "size": 16384, "used": 1, "by": ["b"]}]

    def test_without_module_support(self, host: FakeHost) -> None:
        def missing() -> str:
            raise OSError(errno.ENOENT, "No such file or directory")

        host.proc_modules = missing  # type: ignore[method-assign]
        assert lsmod.main(["lsmod"], host) == 1
        assert host.stdout.text == ""
        assert host.stderr.text == (
            "lsmod: ERROR: could not open /proc/modules: No such file or directory\n"
            "lsmod: ERROR: could not get list of modules: No such file or directory\n"
        )

    def test_no_words(self, host: FakeHost) -> None:
        assert lsmod.main(["lsmod", "x"], host) == 1
        assert host.stderr.text == "lsmod: ERROR: too many arguments provided.\n"


class TestKmod:
    def test_list(self, host: FakeHost) -> None:
        assert kmod.main(["kmod", "list"], host) == 0
        assert host.stdout.text == "Module                  Size  Used by\n"

    def test_the_two_names_of_a_subcommand(self, host: FakeHost) -> None:
        assert kmod.main(["kmod", "list", "-x"], host) == 1
        assert kmod.main(["kmod", "list", "x"], host) == 1
        assert host.stderr.text == (
            "list: invalid option -- 'x'\nkmod: ERROR: too many arguments provided.\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "status", "message"),
        [(["help"], 0, ""), ([], 1, "missing command\n"), (["x"], 1, "invalid command 'x'\n")],
    )
    def test_help(self, host: FakeHost, arguments: list[str], status: int, message: str) -> None:
        assert kmod.main(["/bin/kmod", *arguments], host) == status
        assert host.stderr.text == message
        assert host.stdout.text.startswith("kmod - Manage kernel modules")


@pytest.mark.parametrize("tool", [insmod, rmmod, lsmod, kmod])
def test_version_and_help(host: FakeHost, tool: object) -> None:
    main = tool.main  # type: ignore[attr-defined]
    assert main(["tool", "-V"], host) == 0
    assert host.stdout.text.startswith("kmod version 34\n")
    host.stdout.text = ""
    assert main(["tool", "--help"], host) == 0
    assert "-V, --version" in host.stdout.text


def test_the_fake_is_a_host() -> None:
    host: Host = FakeHost()  # for the type checker
    assert host.release()
