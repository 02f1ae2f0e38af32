"""explain's verdict for each scenario is what the C modprobe does, as tests/real/test_blocked.py has seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kmod.predict import images
from tests.kmod.predict.images import RELEASE
from tests.kmod.predict.scenarios import SCENARIOS, Scenario

from ukmod.kmod.explanation import Explanation, agreed
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree


def explained(root: Path, scenario: Scenario) -> Explanation:
    """Return the account for a scenario whose files are there."""
    tree = Tree.open(root, RELEASE)
    system = System.of(tree, str(root), scenario.cmdline or "quiet")
    return agreed(
        [
            (boot, explainer.explain(scenario.word, use_blacklist=scenario.use_blacklist))
            for boot, explainer in system.explainers(Inspector(tree, KernelFacts()))
        ]
    )


def kinds(found: Explanation) -> set[str]:
    """Return the kinds of all notes of an account."""
    notes = [*found.notes]
    for target in found.targets:
        notes += target.notes
        for step in target.steps:
            notes += step.notes
    return {note.kind for note in notes}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image without a configuration."""
    return images.make(tmp_path_factory.mktemp("image"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_verdict_is_what_modprobe_does(image: Path, scenario: Scenario) -> None:
    images.configure(image, scenario.files)
    found = explained(image, scenario)
    assert found.verdict == scenario.verdict
    assert set(scenario.kinds) <= kinds(found)
