"""What modprobe would do, and why."""

from __future__ import annotations

import pytest
from tests.kmod.fakehost import AllFiles, FakeHost, memory_tree

from ukmod.kmod.config import Config, Source, parse_cmdline, parse_config
from ukmod.kmod.context import Context
from ukmod.kmod.loaded import SysModules
from ukmod.kmod.plans import OptionText, Plan, Reason, Step, plan
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

    def test_an_empty_softdep_does_not(self) -> None:
        ctx = context("install core /bin/false\nsoftdep core pre:\nsoftdep core pre: fallback")
        assert [step.action for step in plan(ctx, "core")] == ["install"]


class TestBlacklist:
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
    assert (target.loaded, target.steps) == ("live", ())
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
