"""What modprobe would do, and why."""

from __future__ import annotations

import pytest
from tests.kmod.fakehost import AllFiles, FakeHost, memory_tree

from ukmod.errors import NotFoundError
from ukmod.kmod.config import Config, Source, parse_cmdline, parse_config
from ukmod.kmod.context import Context
from ukmod.kmod.loaded import SysModules
from ukmod.kmod.plans import OptionText, Plan, Reason, Step, Target, plan
from ukmod.kmod.tree import Tree

HERE = "/lib/modules/4.4.4/kernel"

# Users stand before what they use, as depmod writes them.
NETWORK = {"vlan": ["driver", "core"], "driver": ["core"], "core": [], "helper": ["core"], "fallback": []}


def context(config: str = "", tree: Tree | None = None, cmdline: str = "") -> Context:
    parsed = Config()
    parse_config(parsed, config, "/etc/modprobe.d/a.conf")
    parse_cmdline(parsed, cmdline)
    tree = tree or memory_tree(NETWORK, aliases={"net_pf_[0-9]": ["driver"], "net_pf_1": ["vlan"]})
    return Context(tree, parsed)


def conf(line: int) -> Source:
    return Source("/etc/modprobe.d/a.conf", line)


def names(result: Plan) -> list[str]:
    return [step.module for step in result]


class TestOrder:
    def test_dependencies_come_first(self) -> None:
        result = plan(context(), "vlan")
        assert str(result) == f"insmod {HERE}/core.ko \ninsmod {HERE}/driver.ko \ninsmod {HERE}/vlan.ko "
        assert [str(step.reason) for step in result] == [
            "dependency of vlan",
            "dependency of vlan",
            "requested",
        ]

    def test_softdeps_stand_around_their_module(self) -> None:
        result = plan(context("softdep driver pre: helper post: fallback"), "vlan")
        # core is there twice: a dependency is placed without asking whether it was
        assert names(result) == ["core", "core", "helper", "driver", "fallback", "vlan"]
        reasons = {step.module: str(step.reason) for step in result}
        assert reasons["helper"] == "softdep pre of driver (/etc/modprobe.d/a.conf:1)"
        assert reasons["fallback"] == "softdep post of driver (/etc/modprobe.d/a.conf:1)"

    def test_what_only_a_softdep_wants_is_optional(self) -> None:
        result = plan(context("softdep driver pre: helper fallback"), "driver")
        assert {step.module: step.required for step in result} == {
            "core": True,
            "helper": False,
            "fallback": False,
            "driver": True,
        }

    def test_soft_dependencies_keep_the_order_of_their_line(self) -> None:
        tree = memory_tree({name: [] for name in "abcde"})
        assert names(plan(context("softdep c pre: b a post: e d", tree), "c")) == ["b", "a", "c", "e", "d"]

    def test_softdeps_in_a_circle_end(self) -> None:
        result = plan(context("softdep core pre: fallback\nsoftdep fallback pre: core"), "core")
        assert names(result) == ["fallback", "core"]

    def test_a_long_chain_of_softdeps(self) -> None:
        chain = "".join(f"softdep m{n} pre: m{n + 1}\n" for n in range(1200))
        tree = memory_tree({f"m{n}": [] for n in range(1201)})
        assert names(plan(context(chain, tree), "m0"))[:2] == ["m1200", "m1199"]

    def test_the_first_softdep_line_counts(self) -> None:
        result = plan(context("softdep dri* pre: helper\nsoftdep driver pre: fallback"), "driver")
        assert "fallback" not in names(result)

    def test_a_dependency_whose_file_is_gone(self) -> None:
        tree = memory_tree(NETWORK, files=AllFiles(missing=(f"{HERE}/core.ko",)))
        messages: list[str] = []
        ctx = Context(tree, log=lambda _p, _f, text: messages.append(text))
        assert names(plan(ctx, "driver")) == ["driver"]
        assert f"path={HERE}/core.ko error=No such file or directory" in messages[0]


class TestNames:
    def test_an_alias_may_stand_for_several_modules(self) -> None:
        result = plan(context(), "net-pf-1")
        assert [target.module for target in result.targets] == ["vlan", "driver"]
        index = Source("/lib/modules/4.4.4/modules.alias.bin")
        assert result.targets[0].reason == Reason("alias", "net_pf_1", index)
        assert str(result.targets[0].reason) == f"alias net_pf_1 ({index})"

    def test_the_configuration_s_aliases_win(self) -> None:
        result = plan(context("alias vlan core\nalias vl?n fallback"), "vlan")
        assert [(target.module, target.reason.source) for target in result.targets] == [
            ("core", conf(1)),
            ("fallback", conf(2)),
        ]

    def test_a_path_is_a_module_of_its_own(self) -> None:
        result = plan(context(), "/tmp/my-driver.ko")
        assert str(result) == "insmod /tmp/my-driver.ko "

    def test_a_path_has_the_dependencies_of_its_name(self) -> None:
        assert names(plan(context(), "/tmp/driver.ko")) == ["core", "driver"]

    def test_a_path_to_nothing(self) -> None:
        with pytest.raises(FileNotFoundError):
            plan(context(tree=memory_tree({}, files=AllFiles(missing=("/tmp/x.ko",)))), "/tmp/x.ko")

    def test_each_plan_begins_afresh(self) -> None:
        """A path that was named before does not stand in for the module of that name."""
        ctx = context()
        plan(ctx, "/tmp/driver.ko")
        assert str(plan(ctx, "driver")).endswith(f"insmod {HERE}/driver.ko ")

    def test_a_tree_without_indexes_knows_no_names_but_takes_paths(self) -> None:
        ctx = Context(Tree("/lib/modules/0", AllFiles()))
        with pytest.raises(NotFoundError):
            plan(ctx, "driver")
        assert names(plan(ctx, "/tmp/driver.ko")) == ["driver"]

    @pytest.mark.parametrize("word", ["nothing", "x[", "core.ko", ""])
    def test_an_unknown_word_has_an_empty_plan(self, word: str) -> None:
        assert plan(context(), word) == Plan(word, ())

    def test_a_symbol(self) -> None:
        tree = memory_tree(NETWORK, symbols={"symbol:netdev_open": ["core"]})
        assert names(plan(context(tree=tree), "symbol:netdev_open")) == ["core"]

    def test_an_install_command_makes_a_name(self) -> None:
        (step,) = plan(context("install v* false\ninstall virtual /bin/true"), "virtual")
        assert str(step) == "install /bin/true "

    def test_an_alias_of_nothing(self) -> None:
        (step,) = plan(context("alias x off"), "x")
        assert (step.action, str(step)) == ("missing", "")

    def test_builtin_modules_and_their_aliases(self) -> None:
        tree = memory_tree({}, builtin=("unix",), builtin_aliases={"net_pf_1": ["unix"]})
        for word in ("unix", "net-pf-1"):
            (target,) = plan(context(tree=tree), word).targets
            assert (target.loaded, target.steps) == ("builtin", ())
        assert str(plan(context(tree=tree), "unix", ignore_loaded=True)) == "builtin unix"


class TestOptions:
    def test_all_sources_in_order(self) -> None:
        ctx = context("options driver a=1\noptions net_pf_3 b=2", cmdline="driver.c=3")
        (step,) = list(plan(ctx, "net-pf-3", "d=4"))[-1:]
        assert step.options == "a=1 b=2 c=3 d=4"
        assert [str(source) for source in step.option_sources] == [
            "a=1 (/etc/modprobe.d/a.conf:1)",
            "b=2 (/etc/modprobe.d/a.conf:2)",
            "c=3 (/proc/cmdline)",
            "d=4 (argument)",
        ]
        assert step.option_sources == (
            OptionText("a=1", conf(1)),
            OptionText("b=2", conf(2)),
            OptionText("c=3", Source("/proc/cmdline")),
            OptionText("d=4"),
        )

    def test_a_blank_follows_configured_ones(self) -> None:
        (step,) = plan(context("options core a=1"), "core")
        assert step.options == "a=1 "

    def test_only_the_module_asked_for_gets_the_arguments(self) -> None:
        assert [step.options for step in plan(context(), "driver", "x=1")] == ["", "x=1"]


class TestCommands:
    def test_install(self) -> None:
        ctx = context("install core /bin/echo $CMDLINE_OPTS\noptions core a=1")
        step = next(iter(plan(ctx, "driver")))
        assert step == Step(
            "install",
            "core",
            f"{HERE}/core.ko",
            "a=1 ",
            "/bin/echo $CMDLINE_OPTS",
            True,
            Reason("dependency", "driver"),
            (OptionText("a=1", conf(2)),),
            conf(1),
        )
        assert str(step) == "install /bin/echo $CMDLINE_OPTS a=1 "

    def test_ignore_install_is_for_the_module_asked_for_alone(self) -> None:
        ctx = context("install core /bin/a\ninstall driver /bin/b\nsoftdep driver pre: fallback")
        result = plan(ctx, "driver", ignore_commands=True)
        assert [step.action for step in result] == ["install", "insmod"]

    def test_a_softdep_turns_the_install_command_off(self) -> None:
        ctx = context("install core /bin/false\nsoftdep core pre: fallback")
        assert [step.action for step in plan(ctx, "core")] == ["insmod", "insmod"]

    def test_an_install_line_is_for_whatever_name_leads_to_the_module(self) -> None:
        ctx = context("install driver /bin/true")
        for word in ("driver", "net-pf-3", "/tmp/driver.ko"):
            step = list(plan(ctx, word))[-1]
            assert (step.action, step.command, step.command_source) == ("install", "/bin/true", conf(1))

    def test_the_first_install_line_that_matches_counts(self) -> None:
        ctx = context("install other /bin/a\ninstall dr* /bin/b\ninstall driver /bin/c\nremove driver /bin/d")
        assert list(plan(ctx, "driver"))[-1].command == "/bin/b"

    @pytest.mark.parametrize("config", ["install driver /bin/a", "softdep core pre: fallback"])
    def test_ignoring_commands_also_ignores_the_soft_dependencies_of_the_module_asked_for(
        self, config: str
    ) -> None:
        """libkmod looks for either in the same place."""
        word = "driver" if "driver" in config else "core"
        result = plan(context(config), word, ignore_commands=True)
        assert [(step.module, step.command) for step in result][-1] == (word, None)
        assert "fallback" not in names(result)

    def test_a_softdep_turns_the_install_command_of_a_dependency_off(self) -> None:
        ctx = context("install core /bin/false\nsoftdep core post: fallback")
        assert [(step.module, step.action) for step in plan(ctx, "driver")] == [
            ("core", "insmod"),
            ("fallback", "insmod"),
            ("driver", "insmod"),
        ]

    def test_an_empty_softdep_does_not(self) -> None:
        ctx = context("install core /bin/false\nsoftdep core pre:\nsoftdep core pre: fallback")
        assert [step.action for step in plan(ctx, "core")] == ["install"]


class TestBlacklist:
    """A blacklist line is about the names that a device or the kernel asks for, not about modules."""

    @pytest.mark.parametrize(
        ("word", "use_blacklist", "loads"),
        [
            ("net-pf-3", False, []),
            ("net-pf-3", True, []),
            ("mine", False, []),  # an alias of the configuration
            ("symbol:netdev_open", False, []),
            ("driver", False, ["core", "driver"]),
            ("driver", True, []),
            ("/tmp/driver.ko", False, ["core", "driver"]),
            ("/tmp/driver.ko", True, []),
            ("vlan", True, ["core", "driver", "vlan"]),
        ],
    )
    def test_a_blacklist_closes_aliases_and_with_the_option_names(
        self, word: str, use_blacklist: bool, loads: list[str]
    ) -> None:
        tree = memory_tree(
            NETWORK, aliases={"net_pf_3": ["driver"]}, symbols={"symbol:netdev_open": ["driver"]}
        )
        ctx = context("blacklist driver\nalias mine driver", tree)
        result = plan(ctx, word, use_blacklist=use_blacklist)
        assert names(result) == loads
        if not loads:
            (target,) = result.targets
            assert (target.module, target.blacklisted, target.loaded) == ("driver", conf(1), None)
            assert target.reason.kind == ("requested" if "driver" in word else "alias")

    @pytest.mark.parametrize("line", ["blacklist net-pf-3", "blacklist driv*", "blacklist core"])
    def test_a_blacklist_names_a_module_not_an_alias_a_pattern_or_a_dependency(self, line: str) -> None:
        assert names(plan(context(line), "net-pf-3")) == ["core", "driver"]

    def test_each_module_of_an_alias_is_closed_for_itself(self) -> None:
        result = plan(context("blacklist vlan"), "net-pf-1")
        assert [(target.module, target.blacklisted) for target in result.targets] == [
            ("vlan", conf(1)),
            ("driver", None),
        ]
        assert names(result) == ["core", "driver"]

    def test_of_several_lines_the_first_is_named(self) -> None:
        result = plan(context("blacklist other\nblacklist driver\nblacklist driver"), "net-pf-3")
        assert result.targets[0].blacklisted == conf(2)

    @pytest.mark.parametrize("use_blacklist", [False, True])
    def test_a_soft_dependency_is_never_closed(self, use_blacklist: bool) -> None:
        ctx = context("blacklist fallback\nblacklist helper\nsoftdep core pre: net-pf-8 post: helper\n"
                      "alias net-pf-8 fallback")  # fmt: skip
        assert names(plan(ctx, "core", use_blacklist=use_blacklist)) == ["fallback", "core", "core", "helper"]

    def test_a_module_that_is_loaded_is_not_asked_about(self) -> None:
        host = FakeHost()
        host.loaded = {"driver": (0, [])}
        ctx = context("blacklist driver")
        (target,) = plan(ctx, "net-pf-3", state=SysModules(host)).targets
        assert (target.loaded, target.blacklisted) == ("live", None)
        (target,) = plan(ctx, "net-pf-3", state=SysModules(host), ignore_loaded=True).targets
        assert (target.loaded, target.blacklisted) == (None, conf(1))

    def test_an_install_line_of_a_closed_module_is_not_run(self) -> None:
        ctx = context("blacklist driver\ninstall driver /bin/true")
        assert list(plan(ctx, "net-pf-3")) == []
        assert [step.action for step in plan(ctx, "driver")] == ["insmod", "install"]

    def test_the_kernels_command_line_closes_as_a_file_does(self) -> None:
        ctx = context(cmdline="modprobe.blacklist=vlan,driver")
        result = plan(ctx, "net-pf-1")
        assert [target.blacklisted for target in result.targets] == [Source("/proc/cmdline")] * 2

    @pytest.mark.parametrize(
        "cmdline",
        ["module_blacklist=driver", "modprobe.blacklist", "modprobe.blacklisted=driver", "blacklist=driver"],
    )
    def test_words_of_the_command_line_that_are_not_modprobes(self, cmdline: str) -> None:
        """module_blacklist= is the kernel's: modprobe loads the module, and the kernel refuses it."""
        assert names(plan(context(cmdline=cmdline), "net-pf-3")) == ["core", "driver"]

    def test_an_alias_is_closed(self) -> None:
        result = plan(context("blacklist driver"), "net-pf-3")
        (target,) = result.targets
        assert target.blacklisted == conf(1)
        assert list(result) == []

    def test_a_name_is_not_unless_asked(self) -> None:
        ctx = context("blacklist driver")
        assert names(plan(ctx, "driver")) == ["core", "driver"]
        assert plan(ctx, "driver", use_blacklist=True).targets[0].blacklisted == conf(1)

    def test_a_dependency_never_is(self) -> None:
        assert names(plan(context("blacklist core"), "driver", use_blacklist=True)) == ["core", "driver"]

    def test_a_dash_on_the_kernel_s_command_line_matches_nothing(self) -> None:
        tree = memory_tree({"a_b": []}, aliases={"x": ["a_b"]})
        assert names(plan(context(tree=tree, cmdline="modprobe.blacklist=a-b"), "x")) == ["a_b"]
        assert names(plan(context(tree=tree, cmdline="modprobe.blacklist=a_b"), "x")) == []


def test_nothing_is_planned_for_a_loaded_module() -> None:
    host = FakeHost()
    host.loaded = {"driver": (0, []), "core": (1, ["driver"])}
    state = SysModules(host)
    (target,) = plan(context(), "driver", state=state).targets
    assert target == Target("driver", Reason("requested"), loaded="live")
    assert names(plan(context(), "driver", state=state, ignore_loaded=True)) == ["core", "driver"]
    host.initstates["driver"] = "coming"
    assert names(plan(context(), "driver", state=state)) == ["core", "driver"]


def test_plans_are_values() -> None:
    one, other = (plan(context("options core a=1"), "driver") for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != plan(context(), "driver")


def test_a_weakdep_is_known_and_nothing_is_loaded_for_it() -> None:
    weak = context("weakdep vl* helper nobody fallback\nweakdep vlan core")
    assert [module.name for module in weak.weakdeps(weak.by_name("vlan"))] == ["helper", "fallback"]
    assert weak.weakdeps(weak.by_name("driver")) == []
    assert names(plan(weak, "vlan")) == ["core", "driver", "vlan"]
