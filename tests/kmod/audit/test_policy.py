"""Allow lists, and the difference between two audits."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kmod.predict import images
from tests.kmod.predict.images import RELEASE

from ukmod.errors import NotFoundError
from ukmod.kmod.audit import ModuleAudit, audit
from ukmod.kmod.audit.diff import ABSENT, RouteChange, changes
from ukmod.kmod.audit.policy import check_policy, generate_policy
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image without a configuration."""
    return images.make(tmp_path_factory.mktemp("image"))


def opened(image: Path, text: str) -> tuple[System, Inspector]:
    images.configure(image, {"etc/modprobe.d/x.conf": text})
    tree = Tree.open(image, RELEASE)
    return System.of(tree, str(image), "quiet"), Inspector(tree, KernelFacts())


def test_all_is_denied_except_what_is_kept_and_all_that_it_needs(image: Path) -> None:
    system, inspector = opened(image, "")
    policy = generate_policy(system, inspector, ["al-mid"])
    assert policy.kept == ("base", "mid")
    denied = [line.split()[1] for line in policy.lines if line.startswith("install ")]
    assert denied == ["dash_name", "lone", "other", "soft", "user"]
    assert "softdep soft pre:" in policy.lines
    assert policy.findings == ()
    path = Path(policy.path)
    path.write_text("".join(f"{line}\n" for line in policy.lines))
    system = System.of(Tree.open(image, RELEASE), str(image), "quiet")
    assert check_policy(system, inspector, ["mid"]) == ()
    assert {(one.rule, one.module) for one in check_policy(system, inspector, ["base", "lone"])} == {
        ("not-kept", "mid"),
        ("kept-blocked", "lone"),
    }


def test_a_policy_that_lines_cannot_make_true_says_so(image: Path) -> None:
    system, inspector = opened(image, "install mid /sbin/modprobe -i lone\n")
    (not_kept, blocked) = generate_policy(system, inspector, ["mid"]).findings
    assert (not_kept.rule, not_kept.module, not_kept.level) == ("not-kept", "lone", "error")
    assert (blocked.rule, blocked.module) == ("kept-blocked", "mid")


def test_names_to_be_kept_that_no_module_has_are_an_error(image: Path) -> None:
    with pytest.raises(NotFoundError, match=r"usr: module is missing$"):
        generate_policy(*opened(image, ""), ["usr"])
    with pytest.raises(NotFoundError, match="usr: module is missing; so are zzz, yyy"):
        generate_policy(*opened(image, ""), ["usr", "mid", "zzz", "yyy"])


def test_modules_and_routes_that_differ_are_listed(image: Path) -> None:
    first = audit_of(image, "")
    second = audit_of(image, "blacklist base\ninstall lone /bin/false\n")
    assert changes(first, first) == ()
    base, lone = changes(first, second)
    assert (base.module, base.before, base.after) == ("base", "open", "open")
    assert RouteChange("alias", "al_base", "open", "blocked") in base.routes
    assert (lone.before, lone.after, lone.finding().level) == ("open", "blocked", "note")
    (gone,) = changes(first, first[1:])
    assert (gone.module, gone.after, gone.routes) == (first[0].module, ABSENT, ())


def audit_of(image: Path, text: str) -> tuple[ModuleAudit, ...]:
    system, inspector = opened(image, text)
    return audit(system.explainers(inspector)).modules
