"""modprobe as a program: its options, its messages, and what it asks of the kernel."""

from __future__ import annotations

import errno
import gzip
from pathlib import Path

import pytest
from tests import elfwriter
from tests.kmod.fakehost import FakeHost, memory_tree

from ukmod.kmod.index_write import write_index
from ukmod.kmod.tools import modprobe
from ukmod.kmod.tools.modprobe_options import environment_options
from ukmod.kmod.tree import Tree

NOT_FOUND = "not found in directory /lib/modules/4.4.4\n"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """A host with a tree: user needs base; loop_a and loop_b are each other's softdeps by configuration."""
    modules = {"user": ["base"], "base": [], "loop_a": [], "loop_b": [], "other": []}
    directory = tmp_path / "lib/modules/4.4.4/kernel"
    directory.mkdir(parents=True)
    for name in modules:
        (directory / f"{name}.ko").write_bytes(b"\x7fELF-like")
    host = FakeHost(tmp_path)
    host.tree = memory_tree(
        modules,
        aliases={"char_major_10_*": ["user"]},
        symbols={"symbol:base_fn": ["base"]},
        builtin=("unix",),
        files=host.files,
    )
    return host


def configure(host: FakeHost, text: str) -> None:
    path = Path(host.files.real("/etc/modprobe.d/a.conf"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(host: FakeHost, *arguments: str) -> int:
    return modprobe.main(["/sbin/modprobe", *arguments], host)


def loads(host: FakeHost) -> list[object]:
    return [call[1] for call in host.calls if call[0] == "finit_module"]


class TestLoading:
    def test_as_the_kernel_calls_it(self, host: FakeHost) -> None:
        assert run(host, "-q", "--", "char-major-10-200") == 0
        assert host.calls == [("finit_module", "base", "", 0), ("finit_module", "user", "", 0)]
        assert (host.stdout.text, host.stderr.text) == ("", "")

    def test_what_is_there_is_left_alone(self, host: FakeHost) -> None:
        host.loaded["base"] = (0, [])
        assert run(host, "user") == 0
        assert loads(host) == ["user"]
        assert run(host, "user") == 0
        assert loads(host) == ["user"]

    def test_first_time(self, host: FakeHost) -> None:
        host.loaded["user"] = (0, [])
        assert run(host, "--first-time", "user") == 1
        assert host.stderr.text == "modprobe: ERROR: could not insert 'user': Module already in kernel\n"

    def test_a_module_that_came_meanwhile(self, host: FakeHost) -> None:
        host.failures["user"] = [errno.EEXIST, errno.EEXIST]
        assert run(host, "user") == 0
        configure(host, "softdep user post: other\n")
        assert run(host, "--first-time", "user") == 1
        assert loads(host) == ["base", "user", "user"]

    def test_options(self, host: FakeHost) -> None:
        configure(host, "options user a=1\n")
        run(host, "user", "b=2", "c=x y", 'd="q r"', "e")
        assert host.calls[-1] == ("finit_module", "user", 'a=1 b=2 c="x y" d="q r" e', 0)

    @pytest.mark.parametrize(
        ("option", "flags"), [("-f", 3), ("--force-modversion", 1), ("--force-vermagic", 2), ("--forc", 3)]
    )
    def test_force(self, host: FakeHost, option: str, flags: int) -> None:
        if option == "--forc":
            assert run(host, option, "base") == 1
            assert host.stderr.text == (
                "/sbin/modprobe: option '--forc' is ambiguous; "
                "possibilities: '--force' '--force-modversion' '--force-vermagic'\n"
            )
            return
        run(host, option, "base")
        assert host.calls == [("finit_module", "base", "", flags)]

    @pytest.mark.parametrize(
        ("number", "reason"),
        [
            (errno.ENOENT, "Unknown symbol in module, or unknown parameter (see dmesg)"),
            (errno.ENOEXEC, "Exec format error"),
            (errno.EPERM, "Operation not permitted"),
        ],
    )
    def test_the_kernel_refuses(self, host: FakeHost, number: int, reason: str) -> None:
        host.failures["base"] = [number]
        assert run(host, "user") == 1
        assert loads(host) == ["base"]
        assert host.stderr.text == f"modprobe: ERROR: could not insert 'user': {reason}\n"

    def test_a_softdep_may_fail(self, host: FakeHost) -> None:
        configure(host, "softdep user pre: other post: nothing\n")
        host.failures["other"] = [errno.ENODEV]
        assert run(host, "user") == 0
        assert loads(host) == ["base", "other", "user"]

    def test_kernels_without_finit_module_get_the_image(self, host: FakeHost) -> None:
        host.failures["base"] = [errno.ENOSYS]
        assert run(host, "base") == 0
        assert host.calls[-1] == ("init_module", 9, "")

    def test_the_kernel_unpacks_what_it_can(self, host: FakeHost) -> None:
        Path(host.files.real("/lib/modules/4.4.4/kernel/base.ko")).write_bytes(b"\xfd7zXZ\0rest")
        host.kernel_compression = "xz"
        assert run(host, "base") == 0
        assert host.calls == [("finit_module", "base", "", 4)]

    def test_a_file_too_short_to_be_anything(self, host: FakeHost) -> None:
        Path(host.files.real("/lib/modules/4.4.4/kernel/base.ko")).write_bytes(b"ELF")
        assert run(host, "base") == 1
        assert host.stderr.text == "modprobe: ERROR: could not insert 'base': Invalid argument\n"

    def test_install_command(self, host: FakeHost) -> None:
        configure(host, "install base echo $CMDLINE_OPTS\noptions base a=1\n")
        assert run(host, "-v", "user") == 0
        assert host.calls[0] == ("system", "echo a=1 ", "base")
        assert host.stdout.text.startswith("install echo $CMDLINE_OPTS a=1 \ninsmod ")
        assert "MODPROBE_MODULE" not in host.environ

    def test_an_install_command_gets_the_options_wherever_it_asks(self, host: FakeHost) -> None:
        configure(host, "install base a $CMDLINE_OPTS; b $CMDLINE_OPTS\n")
        assert run(host, "base", "x=1") == 0
        assert host.calls == [("system", "a x=1; b x=1", "base")]

    def test_an_install_command_that_cannot_be_run_is_a_failure(self, host: FakeHost) -> None:
        configure(host, "install base a\n")
        host.system = lambda command: -1  # type: ignore[method-assign]
        assert run(host, "base") == 1
        assert host.stderr.text.startswith(
            "modprobe: ERROR: Could not run install command 'a' for module base\n"
        )

    def test_install_commands_are_ignored_on_request(self, host: FakeHost) -> None:
        configure(host, "install user a\ninstall base b\n")
        assert run(host, "-i", "user") == 0
        assert [call[:2] for call in host.calls] == [("system", "b"), ("finit_module", "user")]

    @pytest.mark.parametrize(
        ("arguments", "loaded"),
        [
            (["user"], ["base", "user"]),
            (["-b", "user"], []),
            (["char-major-10-1"], []),
            (["-b", "other"], ["other"]),
        ],
    )
    def test_a_blacklisted_module_is_passed_over_silently(
        self, host: FakeHost, arguments: list[str], loaded: list[str]
    ) -> None:
        configure(host, "blacklist user\n")
        assert run(host, *arguments) == 0
        assert loads(host) == loaded
        assert host.stderr.text == ""

    def test_a_step_is_shown_before_it_is_tried(self, host: FakeHost) -> None:
        host.failures["base"] = [errno.EPERM]
        assert run(host, "-v", "base") == 1
        assert host.stdout.text == "insmod /lib/modules/4.4.4/kernel/base.ko \n"

    def test_a_file_packed_otherwise_than_the_kernel_can_is_unpacked(self, host: FakeHost) -> None:
        Path(host.files.real("/lib/modules/4.4.4/kernel/base.ko")).write_bytes(gzip.compress(b"\x7fELF-like"))
        host.kernel_compression = "xz"
        assert run(host, "base") == 0
        assert host.calls == [("init_module", 9, "")]

    def test_install_command_fails(self, host: FakeHost) -> None:
        configure(host, "install base false\n")
        host.statuses["false"] = 3
        assert run(host, "user") == 1
        assert host.stderr.text == (
            "modprobe: ERROR: Error running install command 'false' for module base: retcode 3\n"
            "modprobe: ERROR: could not insert 'user': Invalid argument\n"
        )

    def test_an_install_command_may_call_modprobe(self, host: FakeHost) -> None:
        configure(host, "install loop_a modprobe loop_b\n")
        host.during_system = lambda: run(host, "loop_b")
        assert run(host, "-q", "loop_a") == 0
        assert loads(host) == ["loop_b"]
        assert host.environ["MODPROBE_OPTIONS"] == "-q -q"  # handed down, and set again by the second

    def test_an_alias_of_nothing(self, host: FakeHost) -> None:
        configure(host, "alias x off\n")
        assert run(host, "x") == 1
        assert host.stderr.text == (
            "modprobe: ERROR: could not find module by name='off'\n"
            "modprobe: ERROR: could not insert 'off': "
            "Unknown symbol in module, or unknown parameter (see dmesg)\n"
        )


class TestNames:
    def test_a_module_that_is_not_found_is_fatal(self, host: FakeHost) -> None:
        assert run(host, "nothing") == 1
        assert host.stderr.text == f"modprobe: FATAL: Module nothing {NOT_FOUND}"

    def test_a_module_that_is_not_found_among_all_is_a_warning(self, host: FakeHost) -> None:
        assert run(host, "-a", "nothing", "base", "unix") == 1
        assert host.stderr.text == f"modprobe: WARNING: Module nothing {NOT_FOUND}"
        assert loads(host) == ["base"]

    def test_quietly(self, host: FakeHost) -> None:
        assert run(host, "-q", "nothing") == 1
        assert host.stderr.text == ""

    def test_a_path_to_nothing(self, host: FakeHost) -> None:
        assert run(host, "./x.ko") == 1
        assert (
            host.stderr.text
            == "modprobe: FATAL: Failed to get module from path ./x.ko: No such file or directory\n"
        )

    def test_another_tree(self, host: FakeHost) -> None:
        seen: list[str] = []
        tree = host.open_tree("")

        def open_tree(dirname: str) -> Tree:
            seen.append(dirname)
            return tree

        host.open_tree = open_tree  # type: ignore[method-assign]
        run(host, "-R", "base")
        run(host, "-d", "/root", "-S", "5.0", "-R", "base")
        run(host, "-d", "rel/", "-R", "base")
        assert seen == ["/lib/modules/4.4.4", "/root/lib/modules/5.0", "/home/rel//lib/modules/4.4.4"]

    def test_messages_for_the_system_s_log(self, host: FakeHost) -> None:
        assert run(host, "-s", "nothing") == 1
        assert host.calls == [
            ("openlog", "modprobe"),
            ("syslog", 2, "FATAL: Module nothing not found in directory /lib/modules/4.4.4"),
        ]
        assert host.stderr.text == ""

    def test_a_helper_without_standard_error_uses_the_log(self, host: FakeHost) -> None:
        host.has_stderr = lambda: False  # type: ignore[method-assign]
        run(host, "nothing")
        assert host.calls[0] == ("openlog", "modprobe")


class TestQueries:
    def test_show_depends(self, host: FakeHost) -> None:
        host.loaded["base"] = (0, [])
        assert run(host, "-D", "user", "x=1") == 0
        assert host.stdout.text == (
            "insmod /lib/modules/4.4.4/kernel/base.ko \ninsmod /lib/modules/4.4.4/kernel/user.ko x=1\n"
        )
        assert host.calls == []

    def test_show_depends_of_a_builtin(self, host: FakeHost) -> None:
        assert run(host, "-D", "unix") == 0
        assert host.stdout.text == "builtin unix\n"

    def test_show_depends_as_json(self, host: FakeHost) -> None:
        import json

        configure(host, "options base a=1\n")
        assert run(host, "-D", "--json", "char-major-10-1") == 0
        base, user = json.loads(host.stdout.text)
        assert base["module"] == "base"
        assert base["reason"] == {"kind": "dependency", "of": "user", "source": None}
        assert base["option_sources"] == [{"text": "a=1", "source": "/etc/modprobe.d/a.conf:1"}]
        assert user["reason"]["source"] == "/lib/modules/4.4.4/modules.alias.bin"

    def test_json_of_all_is_one_document(self, host: FakeHost) -> None:
        import json

        assert run(host, "-a", "-D", "--json", "base", "nothing", "other") == 1
        assert [step["module"] for step in json.loads(host.stdout.text)] == ["base", "other"]

    def test_show_alias(self, host: FakeHost) -> None:
        assert run(host, "-R", "char-major-10-1") == 0
        assert host.stdout.text == "user\n"

    def test_show_config(self, host: FakeHost) -> None:
        configure(host, "blacklist b-c\nalias x-y z\n")
        assert run(host, "-c") == 0
        assert host.stdout.text == (
            "blacklist b_c\nalias x_y z\n\n# End of configuration files. Dumping indexes now:\n\n"
            "alias char_major_10_* user\nalias symbol:base_fn base\n"
        )

    def test_a_bad_line_is_told_even_quietly(self, host: FakeHost) -> None:
        configure(host, "nonsense\n")
        run(host, "-q", "base")
        assert host.stderr.text == (
            "libkmod: ERROR: kmod_config_parse: /etc/modprobe.d/a.conf line 1: "
            "ignoring bad line starting with 'nonsense'\n"
        )

    def test_version_and_help(self, host: FakeHost) -> None:
        assert run(host, "-V") == 0
        assert host.stdout.text.startswith("kmod version 34\n")
        assert run(host, "--help") == 0
        assert "Usage:\n\tmodprobe [options] [-i] [-b] modulename\n" in host.stdout.text


class TestCommandLine:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--foo=1"], "/sbin/modprobe: unrecognized option '--foo=1'"),
            (["-ny"], "/sbin/modprobe: invalid option -- 'y'"),
            (["-C"], "/sbin/modprobe: option requires an argument -- 'C'"),
            (["--config"], "/sbin/modprobe: option '--config' requires an argument"),
            (["--all=3"], "/sbin/modprobe: option '--all' doesn't allow an argument"),
            (["-w", "3x"], "modprobe: ERROR: unexpected wait value '3x'."),
            ([], "modprobe: ERROR: missing parameters. See -h."),
        ],
    )
    def test_mistakes(self, host: FakeHost, arguments: list[str], message: str) -> None:
        assert run(host, *arguments) == 1
        assert host.stderr.text == message + "\n"

    def test_options_may_come_last_but_not_after_two_dashes(self, host: FakeHost) -> None:
        assert run(host, "base", "-D", "--", "-x") == 0
        assert host.stdout.text == "insmod /lib/modules/4.4.4/kernel/base.ko -x\n"

    @pytest.mark.parametrize(
        ("value", "parsed"),
        [
            ("-n -v", ["-n", "-v"]),
            ("-C '/a b' x", ["-C", "/a b", "", "x"]),  # sic: the blank after the quote ends an empty word
            ('a"b c"d', ["ab cd"]),
            ("it's", ["it's"]),
            ("", []),
        ],
    )
    def test_environment(self, value: str, parsed: list[str]) -> None:
        assert environment_options(value) == parsed

    def test_environment_comes_first(self, host: FakeHost) -> None:
        host.environ["MODPROBE_OPTIONS"] = "-D"
        assert run(host, "base") == 0
        assert host.calls == []

    def test_old_spellings_mean_the_same_and_do_not_warn(self, host: FakeHost) -> None:
        assert run(host, "--resolve-alias", "base") == 0
        assert host.stderr.text == ""


class TestRemoving:
    def test_removing_a_module_removes_its_unused_dependencies(self, host: FakeHost) -> None:
        host.loaded = {"user": (0, []), "base": (0, [])}
        assert run(host, "-r", "user") == 0
        assert host.calls == [("delete_module", "user", 0o4000), ("delete_module", "base", 0o4000)]

    def test_in_use(self, host: FakeHost) -> None:
        host.loaded = {"base": (1, ["user"])}
        assert run(host, "-r", "base") == 1
        assert host.stderr.text == "modprobe: FATAL: Module base is in use.\n"

    def test_with_holders(self, host: FakeHost) -> None:
        host.loaded = {"user": (0, []), "base": (0, ["user"])}
        assert run(host, "-v", "--remove-holders", "base") == 0
        assert host.stdout.text.splitlines()[0] == "rmmod user"
        assert host.loaded == {}

    @pytest.mark.parametrize(
        ("arguments", "status", "message"),
        [
            (["base"], 0, ""),
            (["--first-time", "base"], 1, "modprobe: FATAL: Module base is not in kernel.\n"),
            (["unix"], 1, "modprobe: FATAL: Module unix is builtin.\n"),
            (["nothing"], 1, "modprobe: FATAL: Module nothing not found.\n"),
            (["x["], 1, ""),
        ],
    )
    def test_what_cannot_go(self, host: FakeHost, arguments: list[str], status: int, message: str) -> None:
        assert run(host, "-r", *arguments) == status
        assert host.stderr.text == message
        assert host.calls == []

    def test_softdeps_in_reverse(self, host: FakeHost) -> None:
        configure(host, "softdep other pre: loop_a loop_b post: base user\n")
        host.loaded = {name: (0, []) for name in ("other", "loop_a", "loop_b", "base")}
        assert run(host, "-r", "other") == 0
        assert [call[1] for call in host.calls] == ["base", "other", "loop_b", "loop_a"]

    def test_softdeps_in_a_circle_end(self, host: FakeHost) -> None:
        configure(host, "softdep loop_a post: loop_b\nsoftdep loop_b post: loop_a\n")
        host.loaded = {"loop_a": (0, []), "loop_b": (0, [])}
        assert run(host, "-r", "loop_a") == 0
        assert [call[1] for call in host.calls] == ["loop_b", "loop_a"]

    def test_remove_command(self, host: FakeHost) -> None:
        configure(host, "remove other bye $CMDLINE_OPTS.\n")
        assert run(host, "-r", "-v", "other") == 0
        assert host.calls == [("system", "bye .", "other")]
        assert host.stdout.text == "remove bye .\n"
        host.statuses["bye ."] = 2
        assert run(host, "-r", "other") == 1
        assert host.stderr.text == "modprobe: FATAL: Error running remove command for other\n"

    def test_the_kernel_refuses(self, host: FakeHost) -> None:
        host.loaded["other"] = (0, [])
        host.failures["other"] = [errno.EAGAIN]
        assert run(host, "-r", "other") == 1
        assert (
            host.stderr.text
            == "modprobe: ERROR: could not remove 'other': Resource temporarily unavailable\n"
        )

    def test_wait(self, host: FakeHost) -> None:
        host.loaded["other"] = (1, [])
        host.failures["other"] = [errno.EAGAIN] * 4
        assert run(host, "-r", "-w", "100", "other") == 0
        assert host.now == pytest.approx(0.002 + 0.004 + 0.008 + 0.016)

    def test_wait_in_vain(self, host: FakeHost) -> None:
        host.loaded["other"] = (1, [])
        host.failures["other"] = [errno.EAGAIN] * 100
        assert run(host, "-r", "-w", "100", "other") == 1
        assert host.now == pytest.approx(0.1)
        assert host.stderr.text == (
            "modprobe: ERROR: could not remove 'other': Resource temporarily unavailable\n"
        )

    def test_dry_run(self, host: FakeHost) -> None:
        host.loaded = {"user": (0, []), "base": (1, ["user"])}
        assert run(host, "-r", "-n", "-v", "user") == 0
        assert host.stdout.text == "rmmod user\n"
        assert host.calls == []

    def test_a_dry_run_says_nothing_unless_it_is_asked_to(self, host: FakeHost) -> None:
        host.loaded = {"user": (0, [])}
        assert run(host, "-r", "-n", "user") == run(host, "-n", "user") == 0
        assert host.stdout.text == ""

    def test_what_would_be_removed_if_it_were_loaded(self, host: FakeHost) -> None:
        assert run(host, "-r", "-D", "user") == 0
        assert host.stdout.text == "rmmod user\n"
        assert host.calls == []


class TestWhereKmodDoesLess:
    """What docs/reference/kmod-differences.md lists of modprobe."""

    def test_a_damaged_index_is_an_error(self, host: FakeHost, tmp_path: Path) -> None:
        """A name that it might have told of is not said to be missing."""
        directory = tmp_path / "indexes"
        directory.mkdir()
        (directory / "modules.dep.bin").write_bytes(write_index([("base", 0, "base.ko:")]))
        (directory / "modules.alias.bin").write_bytes(write_index([("fs_x", 0, "base")])[:14])
        host.tree = Tree(str(directory))
        assert run(host, "-R", "base") == 0
        assert run(host, "-R", "fs-x") == 1
        assert "modules.alias.bin: " in host.stderr.text
        assert "(at offset 0x" in host.stderr.text

    def test_long_symbol_versions_are_shown(self, host: FakeHost, tmp_path: Path) -> None:
        """Those of CONFIG_EXTENDED_MODVERSIONS, where a module has no others."""
        sections = elfwriter.extended_versions({"printk": 5})
        (tmp_path / "new.ko").write_bytes(elfwriter.module("new", sections=sections))
        assert run(host, "--show-modversions", "/new.ko") == 0
        assert host.stdout.text == "0x00000005\tprintk\n"
