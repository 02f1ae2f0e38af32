"""explain's verdict for each scenario is what the C modprobe does, as tests/real/test_blocked.py has seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.kmod.predict.scenarios import BUILTIN, MODULES, SCENARIOS, Scenario

from ukmod.kmod import depmod
from ukmod.kmod.explanation import Explanation, agreed
from ukmod.kmod.objections import Inspector, KernelFacts
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree

RELEASE = "4.4.4"


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
    """A tree of modules, indexed, below a root without a configuration."""
    root = tmp_path_factory.mktemp("image")
    tree = root / "usr/lib/modules" / RELEASE
    (tree / "kernel").mkdir(parents=True)
    for name, data in MODULES.items():
        (tree / f"kernel/{name}.ko").write_bytes(data)
    (tree / "modules.order").write_text("".join(f"kernel/{name}.ko\n" for name in MODULES))
    (tree / "modules.builtin").write_text("".join(f"kernel/{name}.ko\n" for name in BUILTIN))
    (root / "lib").symlink_to("usr/lib")
    (root / "bin").mkdir()
    for program in ("sh", "true", "false", "echo", "grep", "nice", "env"):
        (root / "bin" / program).touch()
    (root / "sbin").mkdir()
    for program in ("modprobe", "insmod", "rmmod"):
        (root / "sbin" / program).touch()
    depmod(root, RELEASE)
    return root


@pytest.fixture
def root(image: Path, tmp_path: Path) -> Path:
    """A root of links to that tree, for a configuration of its own."""
    for name in ("usr", "bin", "sbin"):
        (tmp_path / name).mkdir()
    for name in ("bin", "sbin"):
        for program in (image / name).iterdir():
            os.link(program, tmp_path / name / program.name)
    (tmp_path / "lib").symlink_to("usr/lib")
    tree = tmp_path / "usr/lib/modules" / RELEASE
    (tree / "kernel").mkdir(parents=True)
    for file in (image / "usr/lib/modules" / RELEASE).rglob("*"):
        if file.is_file():
            os.link(file, tree / file.relative_to(image / "usr/lib/modules" / RELEASE))
    return tmp_path


def configure(root: Path, scenario: Scenario) -> None:
    """Write a scenario's files."""
    for name, text in scenario.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_bytes(text.encode())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_verdict_is_what_modprobe_does(root: Path, scenario: Scenario) -> None:
    configure(root, scenario)
    found = explained(root, scenario)
    assert found.verdict == scenario.verdict
    assert set(scenario.kinds) <= kinds(found)
