"""Which modules a name, an alias or a path stands for."""

from __future__ import annotations

from errno import EEXIST, ENOENT

import pytest
from tests.kmod.fakehost import AllFiles, FakeHost, memory_tree

from ukmod.kmod.config import Config, parse_cmdline, parse_config
from ukmod.kmod.context import Context
from ukmod.kmod.tree import Tree

HERE = "/lib/modules/4.4.4/kernel"
MODULES = {"top": ["middle", "base"], "middle": ["base"], "base": []}


class Knowledge:
    """A context, and the messages that it has logged."""

    def __init__(self, config: str = "", tree: Tree | None = None, cmdline: str = "") -> None:
        self.messages: list[str] = []
        parsed = Config()
        parse_config(parsed, config, "a.conf")
        parse_cmdline(parsed, cmdline)
        self.context = Context(
            tree or memory_tree(MODULES),
            parsed,
            log=lambda _priority, _function, text: self.messages.append(text),
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

    def test_a_soft_dependency_that_is_no_name_is_reported(self) -> None:
        known = Knowledge("softdep base pre: x[ middle nobody")
        softdeps = known.context.softdeps(known.context.by_name("base"))
        assert [module.name for module in softdeps.pre] == ["middle"]
        assert known.messages == ["failed to lookup dependency 'x[', continuing anyway."]


class TestPaths:
    def test_a_relative_path_is_below_the_working_directory(self) -> None:
        module = Knowledge().context.by_path("./a-b.ko.xz")
        assert (module.name, module.path) == ("a_b", "/home/./a-b.ko.xz")

    def test_a_path_without_a_file_name_is_no_module(self) -> None:
        with pytest.raises(FileNotFoundError) as error:
            Knowledge().context.by_path("/tmp/")
        assert error.value.errno == ENOENT

    def test_two_files_of_a_name_are_one_too_many(self) -> None:
        known = Knowledge()
        assert known.context.by_path("/a/x.ko") is known.context.by_path("/a/x.ko")
        with pytest.raises(FileExistsError) as error:
            known.context.by_path("/b/x.ko")
        assert error.value.errno == EEXIST
        assert known.messages == [
            "kmod_module 'x' already exists with different path: new-path='/b/x.ko' old-path='/a/x.ko'"
        ]
        known.context.forget()
        assert known.context.by_path("/b/x.ko").path == "/b/x.ko"

    def test_a_file_named_like_a_builtin_module_is_not_built_in(self) -> None:
        known = Knowledge(tree=memory_tree({}, builtin=("unix",)))
        assert known.context.is_builtin(known.context.by_name("unix"))
        known.context.forget()
        assert not known.context.is_builtin(known.context.by_path("/tmp/unix.ko"))


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
