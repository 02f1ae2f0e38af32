"""modprobe.d: which files are read, and what their lines mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.kmod.config import (
    CONFIG_LIMIT,
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


def parsed(text: str) -> tuple[Config, list[str]]:
    config, messages = Config(), []
    parse_config(config, text, "a.conf", lambda _priority, _function, message: messages.append(message))
    return config, messages


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

    def test_a_backslash_before_anything_else_vanishes(self) -> None:
        config, _messages = parsed(r"install a printf '\n\\'")
        assert config.install[0].command == r"printf 'n\'"

    def test_comments_begin_in_the_first_column(self) -> None:
        config, messages = parsed("# all is well\n\n  \n  # not here\n")
        assert messages == ["a.conf line 4: ignoring bad line starting with '#'"]
        assert not list(config.lines())

    @pytest.mark.parametrize(
        "bad",
        ["alias a", "alias a[ b", "blacklist", "options a", "install a", "softdep a", "weakdep", "no x"],
    )
    def test_a_bad_line_is_passed_over(self, bad: str) -> None:
        config, messages = parsed(f"{bad}\nblacklist b")
        assert messages == [f"a.conf line 1: ignoring bad line starting with '{bad.split(maxsplit=1)[0]}'"]
        assert config.blacklists == [Blacklist("b", line(2))]

    def test_include_is_no_longer_a_directive(self) -> None:
        _config, messages = parsed("include /etc/x\n")
        assert messages == ["a.conf: command include is deprecated and not parsed anymore"]

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

    def test_words_of_a_softdep_before_pre_or_post_count_for_nothing(self) -> None:
        assert parsed("softdep a b post: c")[0].softdeps == [Softdep("a", (), ("c",), line(1))]

    def test_shown_as_modprobe_shows_it(self) -> None:
        config, _messages = parsed("softdep a pre: b c post: d\nweakdep a b c\nalias x-y z\nblacklist q")
        assert list(config.lines()) == [
            "blacklist q",
            "alias x_y z",
            "softdep a pre: b cpost: d",
            "weakdep a b c",
        ]

    @given(st.text(st.sampled_from("alisoptn blck\\\n\t#:[]=x*"), max_size=80))
    def test_anything_goes(self, text: str) -> None:
        parsed(text)


class TestFiles:
    def test_one_list_by_name_whatever_the_directory(self, tmp_path: Path) -> None:
        for name in ("etc/b.conf", "lib/a.conf", "lib/b.conf", "lib/z.conf", "lib/.h.conf", "lib/n.cnf"):
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

    def test_directories_inside_and_dangling_links_are_reported(self, tmp_path: Path) -> None:
        (tmp_path / "d.conf").mkdir()
        (tmp_path / "l.conf").symlink_to("nowhere")
        messages: list[str] = []
        config_files("/m", [str(tmp_path)], DirectoryFiles(), lambda _p, _f, text: messages.append(text))
        assert sorted(messages) == [
            f"Cannot stat directory entry: {tmp_path}/l.conf",
            f"Directories inside directories are not supported: {tmp_path}/d.conf",
        ]

    def test_a_file_that_is_too_large_is_reported_and_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "a.conf").write_bytes(b"#" * (CONFIG_LIMIT + 1))
        (tmp_path / "b.conf").write_text("blacklist b\n")
        messages: list[str] = []
        config = load_config(
            "/nowhere",
            [str(tmp_path)],
            DirectoryFiles(),
            log=lambda _p, _f, message: messages.append(message),
        )
        assert messages == [f"{tmp_path}/a.conf: larger than 16 MiB, passed over"]
        assert [entry.module for entry in config.blacklists] == ["b"]

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

    def test_only_its_beginning_is_read(self) -> None:
        assert self.config(b"x" * 4090 + b" a.bcdef").options == [Options("a", "bc", Source("/proc/cmdline"))]
