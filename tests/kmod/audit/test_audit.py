"""The verdict for each route to a module; tests/real/test_audit.py compares them with the C modprobe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.kmod.predict import images
from tests.kmod.predict.images import RELEASE
from tests.kmod.predict.scenarios import TREE

from ukmod.errors import NotFoundError
from ukmod.kmod.audit import BLOCKED, OPEN, UNKNOWN, Audit, ModuleAudit, audit
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree

DENY_BASE = "install base /bin/false\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image without a configuration, and with a program that nobody knows."""
    root = images.make(tmp_path_factory.mktemp("image"))
    (root / "bin/tool").touch()
    return root


def audited(image: Path, text: str = "", *names: str, cmdline: str = "quiet") -> Audit:
    images.configure(image, {"etc/modprobe.d/x.conf": text})
    tree = Tree.open(image, RELEASE)
    system = System.of(tree, str(image), cmdline)
    return audit(system.explainers(Inspector(tree, KernelFacts())), names or None)


def module(found: Audit, name: str) -> ModuleAudit:
    return next(one for one in found.modules if one.module == name)


def routes(found: Audit, name: str) -> Mapping[tuple[str, str], str]:
    return {(route.kind, route.via): route.verdict for route in module(found, name).routes}


def verdicts(found: Audit) -> dict[str, str]:
    return {one.module: one.verdict for one in found.modules}


def rules(found: Audit) -> set[tuple[str, str, str]]:
    return {(one.rule, one.level, one.module) for one in found.findings}


def test_all_modules_are_there_sorted_with_every_route(image: Path) -> None:
    found = audited(image)
    assert list(verdicts(found)) == [
        "base", "bi", "bi_two", "dash_name", "lone", "mid", "other", "soft", "user",
    ]  # fmt: skip
    assert set(verdicts(found).values()) == {OPEN}
    assert routes(found, "base") == {
        ("name", "base"): OPEN,
        ("alias", "al_base"): OPEN,
        ("symbol", "symbol:base_fn"): OPEN,
        ("dependency", "mid"): OPEN,
        ("dependency", "user"): OPEN,
    }
    assert routes(found, "other") == {
        ("name", "other"): OPEN,
        ("alias", "al_other"): OPEN,
        ("softdep", "soft"): OPEN,
    }
    assert routes(found, "bi") == {("builtin", "bi"): OPEN}
    assert found.findings == ()


def test_what_comes_before_a_command_without_end_is_loaded_and_what_follows_may_not_be(image: Path) -> None:
    found = audited(image, "install mid modprobe mid\n")
    (before,) = [one for one in module(found, "base").routes if one.via == "user"]
    assert (before.verdict, before.why) == (OPEN, "")
    (after,) = [one for one in module(found, "lone").routes if one.via == "net_pf_9"]
    assert after.verdict == UNKNOWN
    assert "calls itself without end" in after.why
    assert routes(found, "lone")["name", "lone"] == OPEN


def test_a_blacklist_closes_the_aliases_and_nothing_else(image: Path) -> None:
    found = audited(image, "blacklist base\nblacklist other\nblacklist lone\n")
    assert routes(found, "base") == {
        ("name", "base"): OPEN,
        ("alias", "al_base"): BLOCKED,
        ("symbol", "symbol:base_fn"): BLOCKED,
        ("dependency", "mid"): OPEN,
        ("dependency", "user"): OPEN,
    }
    assert rules(found) == {
        ("blacklist-passed", "warning", "base"),
        ("blacklist-passed", "warning", "other"),
        ("blacklist-by-name", "note", "lone"),
    }


def test_an_install_line_closes_a_module_and_all_that_need_it(image: Path) -> None:
    found = audited(image, DENY_BASE)
    assert {name for name, verdict in verdicts(found).items() if verdict == BLOCKED} == {
        "base",
        "mid",
        "user",
    }
    (route,) = [one for one in found.modules[-1].routes if one.kind == "name"]
    assert route.why == "it needs base: a command runs in its stead: /bin/false"
    assert str(route.source).endswith("x.conf:1")


def test_an_install_line_that_is_not_run_is_a_denial_that_fails(image: Path) -> None:
    found = audited(image, "install soft /bin/false\n")
    assert rules(found) == {("denied-open", "error", "soft")}


def test_another_s_install_line_is_a_route(image: Path) -> None:
    found = audited(image, "install lone /sbin/modprobe other\ninstall new /sbin/modprobe -i mid\n")
    assert routes(found, "other")["install", "lone"] == OPEN
    assert routes(found, "mid")["install", "new"] == OPEN
    assert routes(found, "lone")["name", "lone"] == BLOCKED


def test_a_command_may_load_another_once_its_dependency_is_there(image: Path) -> None:
    text = "install mid /bin/false\n"
    assert verdicts(audited(image, text))["mid"] == BLOCKED
    found = audited(image, f"{text}install lone insmod {TREE}/mid.ko\n")
    (route,) = [one for one in module(found, "mid").routes if one.kind == "install"]
    assert (route.via, route.verdict, route.why) == ("lone", OPEN, "once other modules are loaded")


def test_a_dependency_that_comes_in_by_another_way_opens_its_users_later(image: Path) -> None:
    found = audited(image, f"{DENY_BASE}install lone /sbin/modprobe -i base\n")
    assert routes(found, "user")["name", "user"] == OPEN
    (route,) = [one for one in found.modules[-1].routes if one.kind == "name"]
    assert route.why == "once other modules are loaded"


def test_a_command_that_nobody_knows_may_load_what_is_blocked(image: Path) -> None:
    found = audited(image, f"{DENY_BASE}install lone /bin/tool\n")
    assert routes(found, "base")["install", "lone"] == UNKNOWN
    assert rules(found) == {("denied-unknown", "warning", "base")}
    found = audited(image, "install lone /bin/tool\n", cmdline="module_blacklist=base")
    assert verdicts(found)["base"] == BLOCKED


def test_aliases_of_the_configuration_are_routes_and_divert(image: Path) -> None:
    found = audited(image, "alias new lone\nalias al-user off\nalias mid lone\nalias al-b* other\n")
    assert routes(found, "lone")["alias", "new"] == OPEN
    assert routes(found, "lone")["alias", "mid"] == OPEN
    assert routes(found, "user")["alias", "al_user"] == BLOCKED
    assert routes(found, "mid")["name", "mid"] == BLOCKED
    assert routes(found, "base")["alias", "al_base"] == BLOCKED
    assert verdicts(found)["mid"] == OPEN  # as a dependency


def test_a_name_that_stands_for_another_module_brings_nothing_along(image: Path) -> None:
    found = audited(image, "alias soft bi_two\nalias al-soft off\n")
    assert routes(found, "other")["softdep", "soft"] == BLOCKED
    found = audited(image, "alias soft bi_two\n")
    assert routes(found, "other")["softdep", "soft"] == OPEN
    (route,) = [one for one in module(found, "other").routes if one.kind == "softdep"]
    assert route.why == "soft is asked for by al_soft"
    found = audited(image, "alias soft bi_two\nblacklist soft\ninstall other /bin/false\n")
    assert verdicts(found)["other"] == BLOCKED


def test_a_word_for_a_name_without_a_module_has_its_soft_dependencies(image: Path) -> None:
    found = audited(image, "softdep ghost pre: other\n")
    assert ("softdep", "ghost") not in routes(found, "other")
    found = audited(image, "softdep ghost pre: other\nalias new ghost\n")
    (route,) = [one for one in module(found, "other").routes if one.via == "ghost"]
    assert (route.verdict, route.why) == (OPEN, "ghost is asked for by new")


def test_an_alias_of_two_modules_is_a_route_to_what_either_needs(image: Path) -> None:
    found = audited(image, "blacklist lone\nsoftdep user post: lone\n")
    assert routes(found, "lone")["alias", "net_pf_9"] == OPEN
    assert routes(found, "lone")["alias", "al_lone"] == BLOCKED


def test_a_dependency_that_comes_in_by_another_way_opens_what_is_loaded_before_its_user(image: Path) -> None:
    text = "install base /bin/false\nalias mid off\nalias al-mid off\nalias symbol:mid_fn off\n"
    assert verdicts(audited(image, text))["mid"] == BLOCKED
    found = audited(image, f"{text}install lone /sbin/modprobe -i base\n")
    assert routes(found, "mid")["dependency", "user"] == OPEN


def test_options_of_an_alias_may_make_the_kernel_refuse(image: Path) -> None:
    found = audited(image, "options al-user debug=much\n")
    assert routes(found, "user")["alias", "al_user"] == BLOCKED
    assert routes(found, "user")["alias", "net_pf_9"] == OPEN


def test_the_kernel_s_own_lists_count(image: Path) -> None:
    found = audited(image, cmdline="module_blacklist=base initcall_blacklist=bi_init")
    assert verdicts(found)["base"] == BLOCKED
    assert verdicts(found)["bi"] == UNKNOWN
    assert set(verdicts(audited(image, cmdline="nomodule")).values()) == {OPEN, BLOCKED}


def test_boot_entries_that_disagree_are_no_answer(image: Path) -> None:
    images.configure(image, {})
    entries = image / "boot/loader/entries"
    entries.mkdir(parents=True)
    for name, options in (("a", "quiet"), ("b", "module_blacklist=lone")):
        (entries / f"{name}.conf").write_text(f"linux /vmlinuz-{RELEASE}\noptions {options}\n")
    tree = Tree.open(image, RELEASE)
    system = System.of(tree, str(image))
    found = audit(system.explainers(Inspector(tree, KernelFacts())), ["lone", "other"])
    (image / "boot/loader/entries/b.conf").unlink()
    (image / "boot/loader/entries/a.conf").unlink()
    assert verdicts(found) == {"lone": UNKNOWN, "other": OPEN}
    assert "open, if it is booted by this entry" in found.modules[0].routes[0].why


def test_a_name_that_no_module_has_is_an_error(image: Path) -> None:
    with pytest.raises(NotFoundError, match=r"usr: .* has this name; similar names: user"):
        audited(image, "", "usr")
    with pytest.raises(NotFoundError, match=r"zzzz: .* has this name$"):
        audited(image, "", "zzzz")
