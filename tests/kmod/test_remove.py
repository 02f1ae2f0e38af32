"""Removal as a value."""

from __future__ import annotations

import errno

from tests.kmod.fakehost import FakeHost, memory_tree

from ukmod.kmod.config import Config, parse_config
from ukmod.kmod.context import Context
from ukmod.kmod.loaded import SysModules
from ukmod.kmod.remove import RemovalPlan, plan_removal


def planned(config: str, word: str, *, holders: bool = False) -> RemovalPlan:
    host = FakeHost()
    host.loaded = {"top": (0, []), "middle": (1, ["top"]), "base": (2, ["top", "middle"]), "extra": (0, [])}
    parsed = Config()
    parse_config(parsed, config, "a.conf")
    tree = memory_tree({"top": ["middle", "base"], "middle": ["base"], "base": [], "extra": []})
    return plan_removal(Context(tree, parsed), word, SysModules(host), holders=holders)


def test_what_becomes_unused_is_foreseen() -> None:
    result = planned("", "top")
    assert str(result) == "rmmod top\nrmmod middle"
    assert [step.reason for step in result.steps] == ["requested", "unused dependency of top"]
    assert result.error == 0


def test_softdeps() -> None:
    result = planned("softdep top post: extra", "top")
    assert str(result).splitlines()[0] == "rmmod extra"
    assert result.steps[0].reason == "softdep post of top"


def test_refusals_are_part_of_the_plan() -> None:
    result = planned("", "base")
    assert (str(result), result.error) == ("Module base is in use.", errno.EBUSY)
    assert planned("", "nothing").error == errno.ENOENT


def test_holders_go_first() -> None:
    result = planned("", "middle", holders=True)
    assert [step.module for step in result.steps][:2] == ["top", "middle"]


def test_remove_command() -> None:
    (step,) = planned("remove extra bye", "extra").steps
    assert (str(step), str(step.source)) == ("remove bye", "a.conf:1")
