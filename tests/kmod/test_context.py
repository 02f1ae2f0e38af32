"""Which modules a name, an alias or a path stands for."""

from __future__ import annotations

import os
from errno import EEXIST, ENOENT
from pathlib import Path

import pytest
from tests.kmod.fakehost import AllFiles, FakeHost, memory_tree

from ukmod.kmod.config import Config, Softdep, Source, parse_cmdline, parse_config
from ukmod.kmod.context import Context
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.tree import Tree

HERE = "/lib/modules/4.4.4/kernel"
MODULES = {"top": ["middle", "base"], "middle": ["base"], "base": []}


class Knowledge:
    """A context, and its log: pairs of a function of libkmod and its message."""

    def __init__(self, config: str = "", tree: Tree | None = None, cmdline: str = "") -> None:
        self.messages: list[tuple[str, str]] = []
        parsed = Config()
        parse_config(parsed, config, "a.conf")
        parse_cmdline(parsed, cmdline)
        self.context = Context(
            tree or memory_tree(MODULES),
            parsed,
            log=lambda _priority, function, text: self.messages.append((function, text)),
            getcwd=lambda: "/home",
        )

    def names(self, word: str) -> list[str]:
        return [module.name for module in self.context.lookup(word)]


class TestPlaces:
    """The first place that knows a word decides."""

    def test_the_places_are_asked_in_libkmods_order(self) -> None:
        tree = memory_tree(
            {"module": []},
            aliases={word: ["of_alias"] for word in ("module", "command", "alias", "symbol:x")},
            symbols={"symbol:x": ["of_symbol"]},
            builtin=("alias", "built"),
            builtin_aliases={word: ["of_builtin_alias"] for word in ("alias", "symbol:x", "built", "other")},
        )
        config = "alias configured of_config\ninstall configured a\ninstall module a\ninstall command a\n"
        config += "install symbol:x a\nremove gone a\n"
        found = {
            word: Knowledge(config, tree).names(word)
            for word in ("configured", "module", "symbol:x", "command", "gone", "alias", "built", "other")
        }
        assert found == {
            "configured": ["of_config"],
            "module": ["module"],
            "symbol:x": ["of_symbol"],
            "command": ["command"],
            "gone": ["gone"],
            "alias": ["of_alias"],
            "built": ["built"],
            "other": ["of_builtin_alias"],
        }

    def test_a_pattern_of_a_command_makes_no_name(self) -> None:
        assert Knowledge("install v* a\nremove v* a").names("virtual") == []

    def test_an_alias_of_the_configuration_is_known_by_its_pattern(self) -> None:
        known = Knowledge("alias v?rtual base")
        assert [module.alias for module in known.context.lookup("virtual")] == ["v?rtual"]

    @pytest.mark.parametrize("word", ["built", "other"])
    def test_a_builtin_module_is_known_to_be_one(self, word: str) -> None:
        tree = memory_tree({}, builtin=("built",), builtin_aliases={"other": ["elsewhere"]})
        (module,) = Knowledge(tree=tree).context.lookup(word)
        assert module.builtin

    @pytest.mark.parametrize(
        ("word", "file"),
        [
            ("symbol:x", "modules.symbols.bin"),
            ("alias", "modules.alias.bin"),
            ("other", "modules.builtin.alias.bin"),
        ],
    )
    def test_a_module_of_an_alias_knows_the_alias_and_the_index_that_has_it(
        self, word: str, file: str
    ) -> None:
        tree = memory_tree(
            {},
            aliases={"alias": ["a"]},
            symbols={"symbol:x": ["a"]},
            builtin_aliases={"other": ["a"]},
        )
        (module,) = Knowledge(tree=tree).context.lookup(word)
        assert (module.alias, str(module.origin)) == (word, f"/lib/modules/4.4.4/{file}")
        assert repr(module) == f"<Module a alias {word}>"

    def test_a_module_of_its_own_name_has_no_alias(self) -> None:
        (module,) = Knowledge().context.lookup("base")
        assert (module.alias, module.origin, repr(module)) == (None, None, "<Module base>")

    def test_no_module_has_a_colon_in_its_name(self) -> None:
        """kmod_lookup_alias_from_moddep_file() does not look for one."""
        assert Knowledge(tree=memory_tree({"a:b": []})).names("a:b") == []

    @pytest.mark.parametrize(
        ("word", "name"),
        [
            ("a-b", "a_b"),
            ("a-b.ko.xz", "a_b"),
            ("built", "built"),
            ("elsewhere", "of_builtin_alias"),
            ("configured", None),
            ("alias", None),
            ("none", None),
        ],
    )
    def test_a_name_is_looked_up_without_other_aliases(self, word: str, name: str | None) -> None:
        """kmod_module_new_from_name_lookup()."""
        tree = memory_tree(
            {"a_b": []},
            aliases={"alias": ["a_b"]},
            builtin=("built",),
            builtin_aliases={"elsewhere": ["of_builtin_alias", "another"]},
        )
        module = Knowledge("alias configured a_b", tree).context.lookup_name(word)
        assert (module and module.name) == name

    def test_a_soft_dependency_that_is_no_name_is_reported(self) -> None:
        known = Knowledge("softdep base pre: x[ middle nobody")
        softdeps = known.context.softdeps(known.context.by_name("base"))
        assert [module.name for module in softdeps.pre] == ["middle"]
        message = "failed to lookup dependency 'x[', continuing anyway."
        assert known.messages == [("lookup_dep", message)]


class TestPaths:
    def test_a_relative_path_is_below_the_working_directory(self) -> None:
        module = Knowledge().context.by_path("./a-b.ko.xz")
        assert (module.name, module.path) == ("a_b", "/home/./a-b.ko.xz")

    def test_a_path_without_a_file_name_is_no_module(self) -> None:
        with pytest.raises(FileNotFoundError) as error:
            Knowledge().context.by_path("/tmp/")
        assert (error.value.errno, error.value.filename) == (ENOENT, "/tmp/")
        assert error.value.strerror == os.strerror(ENOENT)

    def test_two_files_of_a_name_are_one_too_many(self) -> None:
        known = Knowledge()
        assert known.context.by_path("/a/x.ko") is known.context.by_path("/a/x.ko")
        with pytest.raises(FileExistsError) as error:
            known.context.by_path("/b/x.ko")
        assert (error.value.errno, error.value.filename) == (EEXIST, "/b/x.ko")
        assert error.value.strerror == os.strerror(EEXIST)
        message = "kmod_module 'x' already exists with different path: new-path='/b/x.ko' old-path='/a/x.ko'"
        assert known.messages == [("kmod_module_new_from_path", message)]
        known.context.forget()
        assert known.context.by_path("/b/x.ko").path == "/b/x.ko"

    def test_a_file_named_like_a_builtin_module_is_not_built_in(self) -> None:
        known = Knowledge(tree=memory_tree({}, builtin=("unix",)))
        assert known.context.is_builtin(known.context.by_name("unix"))
        known.context.forget()
        assert not known.context.is_builtin(known.context.by_path("/tmp/unix.ko"))

    def test_a_name_leads_to_the_file_that_modules_dep_has(self) -> None:
        known = Knowledge(tree=memory_tree(MODULES, builtin=("unix",))).context
        paths = {name: known.path_of(known.by_name(name)) for name in ("base", "unix", "none")}
        assert paths == {"base": f"{HERE}/base.ko", "unix": None, "none": None}
        known.forget()
        assert known.path_of(known.by_path("/tmp/base.ko")) == "/tmp/base.ko"


class TestDependencies:
    def test_dependencies_come_in_the_order_of_loading(self) -> None:
        known = Knowledge()
        found = known.context.dependencies(known.context.by_name("top"))
        assert [(module.name, module.path) for module in found] == [
            ("base", f"{HERE}/base.ko"),
            ("middle", f"{HERE}/middle.ko"),
        ]

    def test_if_one_file_is_gone_there_are_none_and_each_look_says_so(self) -> None:
        tree = memory_tree(MODULES, files=AllFiles(missing=(f"{HERE}/base.ko",)))
        known = Knowledge(tree=tree)
        top = known.context.by_name("top")
        for looks in (1, 2):
            assert known.context.dependencies(top) == []
            assert len(known.messages) == looks


class TestLines:
    def test_the_first_line_that_matches_counts(self) -> None:
        config = "".join(f"{kind} {name} {name}\n" for name in ("other", "b*", "base") for kind in
                         ("install", "remove", "softdep", "weakdep"))  # fmt: skip
        known = Knowledge(config)
        base = known.context.by_name("base")
        install, remove = known.context.install_command(base), known.context.remove_command(base)
        assert install is not None
        assert remove is not None
        assert (install.source.line, remove.source.line) == (5, 6)
        source = known.context.softdeps(base).source
        assert source is not None
        assert source.line == 7

    def test_the_line_that_names_a_command_wins_over_a_pattern_before_it(self) -> None:
        for kind in ("install", "remove"):
            known = Knowledge(f"{kind} v* a\n{kind} virtual b")
            (module,) = known.context.lookup("virtual")
            found = getattr(known.context, f"{kind}_command")(module)
            assert found.command == "b"

    def test_options_of_a_module_and_of_the_alias_it_was_named_by(self) -> None:
        config = "alias other base\noptions base a=1\noptions other b=2\noptions top c=3"
        known = Knowledge(config, cmdline="base. base.d=4")
        (by_alias,) = known.context.lookup("other")
        by_name = known.context.by_name("base")
        assert [line.text for line in known.context.options(by_alias)] == ["a=1", "b=2", "d=4"]
        assert [line.text for line in known.context.options(by_name)] == ["a=1", "d=4"]


class TestConfiguration:
    def root(self, directory: Path) -> Tree:
        """A tree with a blacklist line in its own /etc/modprobe.d, and a soft dependency."""
        for path, text in (
            ("lib/modules/1/modules.softdep", "softdep a pre: b\n"),
            ("etc/modprobe.d/a.conf", "blacklist a\nnonsense\n"),
            ("given/b.conf", "blacklist b\nnonsense\n"),
        ):
            (directory / path).parent.mkdir(parents=True)
            (directory / path).write_text(text)
        return Tree("/lib/modules/1", DirectoryFiles(str(directory)))

    @pytest.mark.parametrize(
        ("paths", "blacklisted", "file"),
        [(None, ["a"], "/etc/modprobe.d/a.conf"), (["/given"], ["b"], "/given/b.conf"), ([], [], "")],
    )
    def test_configuration_is_the_trees_own_unless_other_places_are_given(
        self, tmp_path: Path, paths: list[str] | None, blacklisted: list[str], file: str
    ) -> None:
        messages: list[str] = []
        log = lambda _priority, _function, text: messages.append(text)  # noqa: E731
        known = [Context.open(self.root(tmp_path), config_paths=paths, log=log)]
        known.append(Context.on(FakeHost(), known[0].tree, paths, log))
        for context in known:
            assert [entry.module for entry in context.config.blacklists] == blacklisted
            assert [entry.pattern for entry in context.config.softdeps] == ["a"]
            with pytest.raises(FileNotFoundError):
                context.by_path("/none.ko")
            assert context.softdeps(context.by_name("a")).pre == []
        complaint = f"{file} line 2: ignoring bad line starting with 'nonsense'"
        assert messages == ([complaint] * 2 if file else [])

    def test_what_is_looked_up_later_is_logged_in_the_same_place(self, tmp_path: Path) -> None:
        messages: list[str] = []
        context = Context.open(
            self.root(tmp_path), config_paths=[], log=lambda _p, _f, text: messages.append(text)
        )
        context.config.softdeps[0] = Softdep("a", ("x[",), (), Source("a.conf"))
        context.softdeps(context.by_name("a"))
        assert len(messages) == 1


class TestHosts:
    """Context.on(): the configuration as it applies where the tool runs."""

    def test_the_kernels_command_line_counts(self) -> None:
        host = FakeHost()
        host.kernel_cmdline = b"modprobe.blacklist=base"
        known = Context.on(host, memory_tree(MODULES), [], lambda *_: None)
        assert known.blacklist(known.by_name("base")) is not None
        assert known.getcwd() == host.getcwd()

    def test_without_proc_there_is_no_command_line(self) -> None:
        class Bare(FakeHost):
            def cmdline(self) -> bytes:
                raise OSError(ENOENT, "no /proc")

        known = Context.on(Bare(), memory_tree(MODULES), [], lambda *_: None)
        assert known.config.options == []


def test_the_first_line_that_matches_counts_be_it_a_name_or_a_pattern() -> None:
    text = (
        "install b* one\ninstall base two\ninstall top three\ninstall t?p four\n"
        "softdep m[i]ddle pre: base\nsoftdep middle pre: top\n"
    )
    context = Knowledge(text).context
    commands = {name: context.install_command(context.by_name(name)) for name in MODULES}
    assert {name: line and line.command for name, line in commands.items()} == {
        "base": "one",
        "top": "three",
        "middle": None,
    }
    assert [one.name for one in context.softdeps(context.by_name("middle")).pre] == ["base"]
    assert not context.softdeps(context.by_name("top"))
