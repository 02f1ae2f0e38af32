"""Rules for the repository as a whole."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.golden import RELEASE, REPOSITORY

REGISTRIES = re.compile(
    r"\b(?:deb|ftp|security|archive|snapshot|ports)\.(?:debian|ubuntu)\.(?:org|com)\b"
    r"|\bpypi\.(?:org|python)\b|pythonhosted"
)
MADE = {".git", ".venv", ".cache", "dist", "build", "site"}
"""Directories that are no part of the repository; so are other caches, whose names begin with a dot."""


def texts() -> dict[str, str]:
    """The text files of the repository, without the licence and what a real kernel printed."""
    found = {}
    for path in REPOSITORY.rglob("*"):
        name = path.relative_to(REPOSITORY)
        made = any(part in MADE or part.endswith("_cache") or part == "__pycache__" for part in name.parts)
        if made or not path.is_file() or path.suffix in (".ko", ".gz", ".verdicts") or path.name == "LICENSE":
            continue
        with suppress(UnicodeDecodeError):
            found[str(name)] = path.read_text()
    return found


def test_no_file_names_a_registry() -> None:
    """Packages come from wherever the system's own configuration says, a mirror at work for example."""
    there = {name for name, text in texts().items() if REGISTRIES.search(text)}
    assert there == {"tests/test_repository.py"}


def test_the_release_that_the_golden_data_belong_to_is_named_once() -> None:
    """Code that names it breaks on the day it is replaced: scripts and tests read tools/release.

    Docstrings, and what a real kernel printed (some tests quote it), may name it.
    """
    scripts = {
        name: text for name, text in texts().items() if name.endswith((".sh", "Makefile", "run", ".yml"))
    }
    assert len(scripts) > 4
    assert [name for name, text in scripts.items() if RELEASE in text] == []
    for path, tree in modules():
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.Constant) and node.value == RELEASE), path


def test_the_changelog_has_the_version_with_its_date() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", headings[1])


def test_what_continuous_integration_runs_are_targets_of_the_makefile() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for name in (".ci/run", ".github/workflows/ci.yml"):
        targets = set(re.findall(r"\bmake (\w+)$", (REPOSITORY / name).read_text(), re.MULTILINE))
        assert {"lint", "real", "fuzz"} <= targets
        assert targets & {"test", "coverage"}, name  # the same tests
        assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE)), name


# -- one name, one thing ------------------------------------------------------------------------------------

SAME_NAME = {"Module": "libkmod's struct kmod_module and the kernel's struct module, each public in its half"}
"""Types that share a name, and why."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every source file: its path below src/ukmod, and its syntax tree."""
    sources = REPOSITORY / "src" / "ukmod"
    for path in sources.rglob("*.py"):
        yield path.relative_to(sources).as_posix(), ast.parse(path.read_text())


def assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement assigns to, each with its value."""
    if isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
        yield node.target.id, node.value
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
                yield from ((name.id, value) for name, value in pairs if isinstance(name, ast.Name))


def test_the_size_of_files_is_limited_where_no_bytecode_can_be_cut_short() -> None:
    """See tests/limits.py."""
    limiting = [
        path for path in (REPOSITORY / "tests").rglob("*.py") if "RLIMIT_" + "FSIZE" in path.read_text()
    ]
    assert limiting == [REPOSITORY / "tests/limits.py"]


def test_a_constant_is_defined_once() -> None:
    """Two that have the same value by chance have names of their own; the others share one home."""
    homes: dict[tuple[str, str], list[str]] = {}
    for path, tree in modules():
        for node in tree.body:
            for name, value in assigned(node):
                bare = name.strip("_")
                if bare.isupper() and len(bare) > 1 and bare != "TYPE_CHECKING":
                    homes.setdefault((bare, ast.dump(value)), []).append(path)
    assert len(homes) > 500
    assert {name: paths for (name, _), paths in homes.items() if len(paths) > 1} == {}


def named_types(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The classes and the aliases of types at the top level of a file, those for type checkers included."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.If):
            yield from named_types(node.body)
        else:
            yield from (name for name, _ in assigned(node) if re.match(r"[A-Z]\w*[a-z]", name))


def test_a_public_type_shares_its_name_with_no_other() -> None:
    homes: dict[str, set[str]] = {}
    for path, tree in modules():
        for name in named_types(tree.body):
            if not name.startswith("_"):
                homes.setdefault(name, set()).add(path)
    assert len(homes) > 300
    assert {name: paths for name, paths in homes.items() if len(paths) > 1}.keys() == SAME_NAME.keys()


GROUPED = """
import os, pathlib, pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(12))
def test_it(number):
    pathlib.Path(f"ran-{os.getpid()}").touch()
"""


def test_the_tests_of_a_group_run_in_one_process(tmp_path: Path) -> None:
    """Such tests share what takes minutes to make. Not every pair of pytest and pytest-xdist heeds groups."""
    (tmp_path / "test_it.py").write_text(GROUPED)
    plugins = ("-pno:randomly", "-pno:cacheprovider")
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", *plugins]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert len(list(tmp_path.glob("ran-*"))) == 1
