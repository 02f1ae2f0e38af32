"""modprobe.d: which files are read, and what their lines mean."""

from __future__ import annotations

import os
from errno import EACCES
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.kmod.config import (
    CONFIG_DIRECTORIES,
    Alias,
    Blacklist,
    Command,
    Config,
    Options,
    Softdep,
    Source,
    Weakdep,
    config_files,
    load_config,
    parse_config,
)
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.host import LOG_ERR


class Errors(list[tuple[str, str]]):
    """What libkmod would log: the function that reports an error, and the message."""

    def log(self, priority: int, function: str, message: str) -> None:
        assert priority == LOG_ERR
        self.append((function, message))


def parsed(text: str) -> tuple[Config, list[str]]:
    """A file's entries and the messages about it, which are all kmod_config_parse()'s."""
    config, errors = Config(), Errors()
    parse_config(config, text, "a.conf", errors.log)
    assert {function for function, _ in errors} <= {"kmod_config_parse"}
    return config, [message for _, message in errors]


def line(number: int) -> Source:
    return Source("a.conf", number)


class TestLines:
    def test_every_directive(self) -> None:
        config, messages = parsed(
            "alias net-pf-* my-net\n"
            "blacklist my-net\n"
            "options my-net a=1\tb=2\n"
            "install my-net /bin/true $CMDLINE_OPTS\n"
            "remove my-* /bin/false\n"
            "softdep my-net pre: a b-c post: d\n"
            "weakdep my-net e f\n"
        )
        assert messages == []
        assert config.aliases == [Alias("net_pf_*", "my_net", line(1))]
        assert config.blacklists == [Blacklist("my_net", line(2))]
        assert config.options == [Options("my_net", "a=1 b=2", line(3))]
        assert config.install == [Command("my_net", "/bin/true $CMDLINE_OPTS", line(4))]
        assert config.remove == [Command("my_*", "/bin/false", line(5))]
        assert config.softdeps == [Softdep("my_net", ("a", "b-c"), ("d",), line(6))]
        assert config.weakdeps == [Weakdep("my_net", ("e", "f"), line(7))]

    def test_a_backslash_joins_lines_and_the_last_number_counts(self) -> None:
        config, _messages = parsed("options a x=1 \\\n  y=2\nblacklist b\n")
        assert config.options == [Options("a", "x=1   y=2", line(2))]
        assert config.blacklists == [Blacklist("b", line(3))]

    def test_words_may_be_set_apart_by_tabs(self) -> None:
        config, messages = parsed("\talias\ta\tb\n \t blacklist\tc\td\ninstall\te\t\tf\n")
        assert messages == []
        assert config.aliases == [Alias("a", "b", line(1))]
        assert config.blacklists == [Blacklist("c", line(2))], "the rest of the line counts for nothing"
        assert config.install == [Command("e", "\tf", line(3))], "one tab is cut off"

    def test_each_kind_keeps_the_order_of_its_lines(self) -> None:
        kinds = ("alias", "blacklist", "options", "install", "remove", "softdep", "weakdep")
        config, _messages = parsed("".join(f"{kind} {name} x\n" for name in "ba" for kind in kinds))
        for entries in (config.aliases, config.install, config.remove, config.softdeps, config.weakdeps):
            assert [entry.pattern for entry in entries] == ["b", "a"]
        assert [entry.module for entry in config.blacklists] == ["b", "a"]
        assert [entry.module for entry in config.options] == ["b", "a"]

    @pytest.mark.parametrize("escaped", ["", "\\\n"])
    @pytest.mark.parametrize("end", ["", "\n"])
    def test_a_line_ends_at_a_nul(self, escaped: str, end: str) -> None:
        assert parsed(f"{escaped}blacklist a\0b{end}")[0].blacklists[0].module == "a"

    def test_only_blanks_and_tabs_set_words_apart(self) -> None:
        """strtok_r(line, "\\t ")."""
        config, messages = parsed("blacklist a\vb\n\vblacklist c\nblacklist XaXb\n")
        assert [entry.module for entry in config.blacklists] == ["a\vb", "XaXb"]
        assert messages == ["a.conf line 2: ignoring bad line starting with '\vblacklist'"]

    def test_escaped_characters_are_no_lines(self) -> None:
        config, _messages = parsed("install a \\x\\y\nblacklist \\\nb")
        assert config.install == [Command("a", "xy", line(1))]
        assert config.blacklists == [Blacklist("b", line(3))]

    def test_a_backslash_at_the_end_of_a_file_is_the_byte_that_eof_is_in_c(self) -> None:
        assert parsed("blacklist a\\")[0].blacklists == [Blacklist("a\udcff", line(1))]

    def test_a_backslash_before_anything_else_vanishes(self) -> None:
        config, _messages = parsed(r"install a printf '\n\\'")
        assert config.install[0].command == r"printf 'n\'"

    def test_comments_begin_in_the_first_column(self) -> None:
        config, messages = parsed("# all is well\n\n  \n  # not here\n")
        assert messages == ["a.conf line 4: ignoring bad line starting with '#'"]
        assert not list(config.lines())

    @pytest.mark.parametrize(
        "bad",
        [
            "alias a",
            "alias a[ b",
            "alias",
            "alias b a[",
            "blacklist",
            "blacklist a[",
            "options a",
            "options",
            "options a[ b",
            "install a",
            "install",
            "install a[ b",
            "remove a",
            "remove a[ b",
            "softdep a",
            "softdep a[ pre: b",
            "weakdep",
            "weakdep a",
            "weakdep a[ b",
            "no x",
            "denylist a",
            "Blacklist a",
        ],
    )
    def test_a_bad_line_is_passed_over(self, bad: str) -> None:
        config, messages = parsed(f"{bad}\nblacklist b")
        assert messages == [f"a.conf line 1: ignoring bad line starting with '{bad.split(maxsplit=1)[0]}'"]
        assert config.blacklists == [Blacklist("b", line(2))]

    @pytest.mark.parametrize("word", ["include", "config"])
    def test_directives_of_old_kmods_are_reported(self, word: str) -> None:
        config, messages = parsed(f"{word} /etc/x\nblacklist a\n")
        assert messages == [f"a.conf: command {word} is deprecated and not parsed anymore"]
        assert config.blacklists == [Blacklist("a", line(2))]

    def test_blanks_before_options_stay(self) -> None:
        assert parsed("options a   b=1")[0].options[0].text == "  b=1"

    @pytest.mark.parametrize(
        ("text", "pre"),
        [("softdep a pre: b", ("b",)), ("softdep a  pre: b", ()), ("softdep a   pre: b", ("b",))],
    )
    def test_a_single_extra_blank_hides_the_first_word_of_a_softdep(
        self, text: str, pre: tuple[str, ...]
    ) -> None:
        assert parsed(text)[0].softdeps[0].pre == pre

    def test_a_single_extra_blank_sticks_to_the_first_name_of_a_weakdep(self) -> None:
        config, _messages = parsed("weakdep a  b c\nweakdep a \tb c\nweakdep a   b c")
        assert [entry.weak for entry in config.weakdeps] == [(" b", "c"), ("\tb", "c"), ("b", "c")]

    def test_a_softdep_may_name_its_parts_again_in_any_order(self) -> None:
        config, _messages = parsed("softdep a post: b pre: c post: d")
        assert config.softdeps == [Softdep("a", ("c",), ("b", "d"), line(1))]

    def test_words_of_a_softdep_before_pre_or_post_count_for_nothing(self) -> None:
        assert parsed("softdep a b post: c")[0].softdeps == [Softdep("a", (), ("c",), line(1))]

    @pytest.mark.parametrize("blank", ["  ", "\t", "\v", "\f", "\r", " \t "])
    def test_names_of_dependencies_are_set_apart_by_any_blanks(self, blank: str) -> None:
        config, _messages = parsed(f"softdep a pre:{blank}b{blank}c{blank}\nweakdep a b{blank}c")
        assert config.softdeps[0].pre == config.weakdeps[0].weak == ("b", "c")

    @pytest.mark.parametrize("space", ["\xa0", "\u2003", "\x1c", "\x85"])
    def test_what_only_unicode_calls_a_space_is_part_of_a_name(self, space: str) -> None:
        """isspace(3) in the C locale."""
        config, _messages = parsed(f"softdep a pre: b{space}c\nweakdep a {space}b")
        assert config.softdeps[0].pre == (f"b{space}c",)
        assert config.weakdeps[0].weak == (f"{space}b",)

    def test_shown_as_modprobe_shows_it(self) -> None:
        config, _messages = parsed(
            "weakdep a b c\n"
            "softdep a pre: b c post: d\nsoftdep b pre: c\nsoftdep c post: d e\nsoftdep d pre:\n"
            "options z   x=1\ty=2\nalias x-y z\nremove r-s /bin/false\ninstall i-* /bin/true  $X\nblacklist q"
        )
        assert list(config.lines()) == [
            "blacklist q",
            "install i_* /bin/true  $X",
            "remove r_s /bin/false",
            "alias x_y z",
            "options z   x=1 y=2",
            "softdep a pre: b cpost: d",
            "softdep b pre: c",
            "softdep c post: d e",
            "softdep d ",
            "weakdep a b c",
        ]

    @given(st.text(st.sampled_from("alisoptn blck\\\n\t#:[]=x*"), max_size=80))
    def test_anything_goes(self, text: str) -> None:
        parsed(text)


class TestFiles:
    def test_the_trees_own_dependencies_are_part_of_the_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "modules.softdep").write_text("# Soft dependencies\nsoftdep a pre: b\n")
        (tmp_path / "modules.weakdep").write_text("weakdep a c\n")
        config = load_config(str(tmp_path), [], DirectoryFiles())
        assert [(entry.pattern, str(entry.source)) for entry in config.softdeps + config.weakdeps] == [
            ("a", f"{tmp_path}/modules.softdep:2"),
            ("a", f"{tmp_path}/modules.weakdep:1"),
        ]

    def test_what_is_wrong_with_files_and_in_them_is_logged(self, tmp_path: Path) -> None:
        (tmp_path / "a.conf").write_text("nonsense\n")
        (tmp_path / "b.conf").mkdir()
        errors = Errors()
        load_config("/m", [str(tmp_path)], DirectoryFiles(), log=errors.log)
        assert [function for function, _ in errors] == ["conf_files_filter_out", "kmod_config_parse"]

    def test_configuration_of_the_administrator_comes_before_that_of_packages(self) -> None:
        """modprobe.d(5), which also has the order in which one file hides another."""
        parents = [path.removesuffix("/modprobe.d") for path in CONFIG_DIRECTORIES]
        assert parents == ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"]

    def test_a_file_that_cannot_be_read_is_passed_over(self, tmp_path: Path) -> None:
        """Files apply by name, and there is no /m/modules.softdep."""
        (tmp_path / "z").write_text("blacklist a\n")
        config = load_config("/m", [str(tmp_path / "z")], DirectoryFiles())
        assert config.blacklists == [Blacklist("a", Source(f"{tmp_path}/z", 1))]

    def test_of_files_named_one_by_one_the_first_of_a_name_counts(self, tmp_path: Path) -> None:
        paths = [tmp_path / name / "same" for name in "ba"]
        for path in paths:
            path.parent.mkdir()
            path.write_text("")
        assert str(paths[0]) in config_files("/m", list(map(str, paths)), DirectoryFiles())
        assert str(paths[1]) not in config_files("/m", list(map(str, paths)), DirectoryFiles())

    def test_one_list_by_name_whatever_the_directory(self, tmp_path: Path) -> None:
        for name in (
            "etc/b.conf",
            "lib/a.conf",
            "lib/b.conf",
            "lib/z.conf",
            "lib/.h.conf",
            "lib/n.cnf",
            "lib/nconf",
        ):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        paths = [str(tmp_path / "etc"), str(tmp_path / "missing"), str(tmp_path / "lib")]
        found = config_files("/m", paths, DirectoryFiles())
        assert found == [
            f"{tmp_path}/lib/a.conf",
            f"{tmp_path}/etc/b.conf",  # hides that of lib
            "/m/modules.softdep",
            "/m/modules.weakdep",
            f"{tmp_path}/lib/z.conf",
        ]

    def test_a_single_file_may_have_any_name(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("blacklist a\n")
        config = load_config("/m", [str(tmp_path / "mine")], DirectoryFiles())
        assert [entry.module for entry in config.blacklists] == ["a"]

    def test_a_single_file_applies_where_its_name_belongs(self, tmp_path: Path) -> None:
        for name in ("d/a.conf", "d/z.conf", "x/m"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        paths = [str(tmp_path / name) for name in ("missing", "x/m", "d")]
        errors = Errors()
        found = config_files("/m", paths, DirectoryFiles(), errors.log)
        assert [path.rpartition("/")[2] for path in found] == [
            *("a.conf", "m", "modules.softdep", "modules.weakdep", "z.conf")
        ]
        assert errors == []

    def test_names_are_in_the_order_of_their_bytes(self, tmp_path: Path) -> None:
        """strcmp(3). As text, an undecodable byte precedes a character beyond the first 65,536."""
        names = ["a.conf", "\N{GRINNING FACE}.conf", "\udcff.conf"]
        for name in names:
            (tmp_path / name).touch()
        found = config_files("/m", [str(tmp_path)], DirectoryFiles())
        assert [path.rpartition("/")[2] for path in found if path.endswith(".conf")] == names

    def test_directories_inside_and_dangling_links_are_reported_and_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "d.conf").mkdir()
        (tmp_path / "l.conf").symlink_to("nowhere")
        errors = Errors()
        found = config_files("/m", [str(tmp_path)], DirectoryFiles(), errors.log)
        assert found == ["/m/modules.softdep", "/m/modules.weakdep"]
        assert sorted(errors) == [
            ("conf_files_filter_out", f"Cannot stat directory entry: {tmp_path}/l.conf"),
            ("conf_files_filter_out", f"Directories inside directories are not supported: {tmp_path}/d.conf"),
        ]

    def test_a_directory_that_cannot_be_listed_is_reported_and_passed_over(self, tmp_path: Path) -> None:
        class Closed(DirectoryFiles):
            def listdir(self, path: str) -> list[str]:
                if path.endswith("closed"):
                    raise PermissionError(EACCES, os.strerror(EACCES), path)
                return super().listdir(path)

        for name in ("open", "closed"):
            (tmp_path / name).mkdir()
        (tmp_path / "open/a.conf").touch()
        errors = Errors()
        paths = [f"{tmp_path}/closed", f"{tmp_path}/open"]
        assert f"{tmp_path}/open/a.conf" in config_files("/m", paths, Closed(), errors.log)
        assert errors == [("conf_files_list", f"opendir({tmp_path}/closed): Permission denied")]

    def test_a_file_of_more_than_16_mib_is_reported_and_passed_over(self, tmp_path: Path) -> None:
        for name, size in (("a", 16 << 20), ("b", (16 << 20) + 1)):
            (tmp_path / f"{name}.conf").write_text(f"blacklist {name}\n".ljust(size, "#"))
        (tmp_path / "c.conf").write_text("blacklist c\n")
        errors = Errors()
        config = load_config("/nowhere", [str(tmp_path)], DirectoryFiles(), log=errors.log)
        assert errors == [("kmod_config_parse", f"{tmp_path}/b.conf: larger than 16 MiB, passed over")]
        assert [entry.module for entry in config.blacklists] == ["a", "c"]

    def test_file_names_need_not_be_text(self, tmp_path: Path) -> None:
        with open(bytes(tmp_path) + b"/\xff.conf", "wb") as file:
            file.write(b"blacklist \xfe\n")
        config = load_config("/m", [str(tmp_path)], DirectoryFiles())
        assert config.blacklists == [Blacklist("\udcfe", Source(f"{tmp_path}/\udcff.conf", 1))]


class TestKernelCommandLine:
    def config(self, cmdline: bytes) -> Config:
        return load_config("/m", [], DirectoryFiles(), kernel_cmdline=cmdline)

    def test_options_and_blacklist(self) -> None:
        config = self.config(b"ro modprobe.blacklist=a,b-c my-mod.p=1")
        source = Source("/proc/cmdline")
        assert config.options == [Options("my_mod", "p=1", source)]
        assert config.blacklists == [Blacklist("a", source), Blacklist("b-c", source)]  # sic: not normalized

    def test_the_command_line_adds_to_what_the_files_say(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("blacklist a\noptions a x=1\n")
        config = load_config(
            "/m", [str(tmp_path / "a")], DirectoryFiles(), kernel_cmdline=b"modprobe.blacklist=b a.x=2"
        )
        assert [entry.module for entry in config.blacklists] == ["a", "b"]
        assert [entry.text for entry in config.options] == ["x=1", "x=2"]

    def test_a_blacklist_begins_behind_the_first_equals_sign(self) -> None:
        assert [entry.module for entry in self.config(b"modprobe.blacklist=a=b,,c").blacklists] == [
            *("a=b", "", "c")
        ]

    def test_a_tab_in_a_quoted_option_becomes_a_blank(self) -> None:
        assert self.config(b'a.b="c\td"').options[0].text == 'b="c d"'

    def test_blacklists_of_other_modules_are_their_options(self) -> None:
        config = self.config(b"other.blacklist=a modprobe.other=b module_blacklist=c modprobe.blacklist")
        assert config.blacklists == []
        assert [(entry.module, entry.text) for entry in config.options] == [
            ("other", "blacklist=a"),
            ("modprobe", "other=b"),
            ("modprobe", "blacklist"),
        ]

    def test_a_module_that_is_no_name_is_reported(self) -> None:
        errors = Errors()
        load_config("/m", [], DirectoryFiles(), kernel_cmdline=b"a[.b=1", log=errors.log)
        message = "Ignoring bad option on kernel command line while parsing module name: 'a['"
        assert errors == [("kcmdline_parse_result", message)]

    def test_a_source_without_lines_is_named_by_its_path_alone(self) -> None:
        assert [str(Source("/proc/cmdline")), str(Source("a.conf", 3))] == ["/proc/cmdline", "a.conf:3"]

    def test_only_its_beginning_is_read(self) -> None:
        assert self.config(b"x" * 4090 + b" a.bcdef").options == [Options("a", "bc", Source("/proc/cmdline"))]
