"""audit against the C modprobe: each route of configurations by chance, and the lines that block."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.kmod.predict import images
from tests.kmod.predict.images import RELEASE
from tests.kmod.predict.scenarios import BUILTIN, MODULES, Scenario
from tests.real import configurations, judge
from tests.real.judge import Judge

from ukmod.errors import NotFoundError
from ukmod.kmod.audit import BLOCKED, OPEN, UNKNOWN, ModuleAudit, audit
from ukmod.kmod.audit.block import Proof, prove
from ukmod.kmod.audit.policy import generate_policy
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree

pytestmark = pytest.mark.real

ALIASES = (*(f"al-{name.partition('_')[0]}" for name in MODULES), "net-pf-9", "symbol:base_fn")
WORDS = (*MODULES, *ALIASES, *BUILTIN, "symbol:mid_fn", "ghost", "new", "newer")
"""All words that lead to a module in the configurations that are made."""
_UNLOADS = re.compile(r"modprobe -r|rmmod")


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    judge.require()
    return judge.make(tmp_path_factory.mktemp("court"), MODULES, BUILTIN)


def system(court: Judge, scenario: Scenario) -> tuple[System, Inspector]:
    images.configure(court.root, scenario.files)
    tree = Tree.open(court.root, RELEASE)
    return System.of(tree, str(court.root), scenario.cmdline or "quiet"), Inspector(tree, KernelFacts())


def audited(court: Judge, scenario: Scenario) -> dict[str, ModuleAudit]:
    given, inspector = system(court, scenario)
    return {one.module: one for one in audit(given.explainers(inspector)).modules if one.path}


def words_of(scenario: Scenario) -> list[str]:
    """Return all words that lead to a module: an install line's pattern is a word, too."""
    text = "".join(scenario.files.values())
    return [*WORDS, *dict.fromkeys(re.findall(r"^install (\S+)", text, re.MULTILINE))]


def normalized(word: str) -> str:
    return word.replace("-", "_")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(seed=995)  # an alias that stands for another module, which needs this one
@example(seed=4734)  # a command that calls itself without end, and a module that would follow
@example(seed=529)  # the name of a module that needs this one stands for another
@given(seed=st.integers(0, 1 << 32))
def test_no_route_is_other_than_the_c_modprobe_has_it(court: Judge, seed: int) -> None:
    """``--hypothesis-profile=fuzz`` tries a thousand configurations."""
    scenario = configurations.of_seed(seed)
    words = words_of(scenario)
    found = audited(court, scenario)
    loaded = {normalized(word): court.loaded_by(word, cmdline=scenario.cmdline) for word in words}
    for name, one in found.items():
        for route in one.routes:
            there = loaded.get(normalized(route.via.partition(" ")[0]))
            if there is None or route.verdict == UNKNOWN:
                continue
            # What is open once something else is loaded is not open at first.
            is_open = route.verdict == OPEN and not route.why
            assert (name in there) == is_open, (name, route, scenario.files)
    blocked = {name for name, one in found.items() if one.verdict == BLOCKED}
    assert not blocked & set().union(*loaded.values()), (blocked, scenario.files)
    if blocked:
        everything = court.loaded_by_all(words, scenario.cmdline)
        assert not blocked & everything, (blocked & everything, scenario.files)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32))
def test_the_lines_that_are_to_block_a_module_do(court: Judge, seed: int) -> None:
    scenario = configurations.of_seed(seed)
    name = Random(seed).choice(sorted(MODULES))
    given, inspector = system(court, scenario)
    (proof,) = prove(given, inspector, [name])
    if proof.remedy is not None and proof.remedy.is_proven and proof.remedy.lines:
        apply(proof, court.root)
        assert name not in court.loaded_by_all(words_of(scenario), scenario.cmdline), scenario.files


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=settings().max_examples // 2,
)
@given(seed=st.integers(0, 1 << 32))
def test_a_policy_that_is_proven_holds(court: Judge, seed: int) -> None:
    scenario = configurations.of_seed(seed)
    given, inspector = system(court, scenario)
    keep = Random(seed).sample(sorted(MODULES), 2)
    try:
        policy = generate_policy(given, inspector, keep)
    except NotFoundError:  # its name stands for nothing here
        return
    write(Path(policy.path), policy.lines, court.root)
    everything = court.loaded_by_all(words_of(scenario), scenario.cmdline)
    wrong = {one.module for one in policy.findings}
    assert everything <= {*policy.kept, *wrong}, (keep, scenario.files)
    if not _UNLOADS.search("".join(scenario.files.values())):  # a word after it may unload a module again
        assert set(policy.kept) <= {*everything, *wrong, *BUILTIN}, (keep, scenario.files)


def apply(proof: Proof, root: Path) -> None:
    assert proof.remedy is not None
    write(Path(proof.remedy.path), proof.remedy.lines, root)


def write(path: Path, lines: Iterable[str], root: Path) -> None:
    """Put lines before those that a file of the configuration has."""
    assert path.is_relative_to(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text() if path.exists() else ""
    path.write_text("".join(f"{line}\n" for line in lines) + old)


def test_each_module_can_be_blocked_by_a_line_or_two(court: Judge) -> None:
    for name in MODULES:
        given, inspector = system(court, Scenario("nothing", {}, name, ""))
        (proof,) = prove(given, inspector, [name])
        assert proof.audit.verdict == OPEN
        assert proof.remedy is not None
        assert proof.remedy.is_proven
        apply(proof, court.root)
        assert all(name not in court.loaded_by(word) for word in WORDS)
        shutil.rmtree(court.root / "etc/modprobe.d")
