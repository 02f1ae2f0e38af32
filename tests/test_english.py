"""The house rules for prose that a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"

_TYPES = "Bool|Char|Const|Enum|Int|Long|Pid_t|Size_t|Ssize_t|Static|Struct|Unsigned|Void|[SU](?:8|16|32|64)"
CAPITALISED_PROTOTYPE = re.compile(rf"`*(?:{_TYPES}) [\w *]*\(")


def docstrings(path: Path) -> list[str]:
    """Every docstring of a source file."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    return [text for node in nodes if (text := ast.get_docstring(node)) is not None]


def test_a_prototype_in_a_docstring_is_c() -> None:
    wrong = [
        f"{path}: {text.splitlines()[0]}"
        for path in SOURCES.rglob("*.py")
        for text in docstrings(path)
        if CAPITALISED_PROTOTYPE.match(text)
    ]
    assert wrong == []


def test_the_pattern_finds_what_it_is_for() -> None:
    assert CAPITALISED_PROTOTYPE.match("Int kthread_stop(struct task_struct *k)")
    assert not CAPITALISED_PROTOTYPE.match("``int kthread_stop(struct task_struct *k)``")


REFERS = frozenset(
    [
        "and",
        "but",
        "or",
        "so",
        "nor",
        "also",
        "then",
        "yet",
        "it",
        "its",
        "they",
        "them",
        "their",
        "he",
        "she",
        "this",
        "that",
        "these",
        "those",
        "both",
        "either",
        "neither",
        "other",
        "others",
        "again",
        "likewise",
        "who",
        "whose",
        "whom",
        "nobody",
    ]
)
"""First words of a name that makes sense only after the test before it, or that hides its subject."""


def names_of_tests(path: Path) -> list[str]:
    """The names of a file's tests."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return [n.name for n in nodes if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]


def stands_alone(name: str) -> bool:
    """Does a test's name make sense without the names around it?"""
    words = name.split("_")[1:]
    return words[0] not in REFERS and words[-1] not in {"too", "also", "either", "likewise"}


def test_the_names_of_tests_stand_alone() -> None:
    wrong = [
        f"{path}: {name}"
        for path in Path(__file__).parent.rglob("test_*.py")
        for name in names_of_tests(path)
        if not stands_alone(name)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ["test_or_passed_over", "test_so_does_one", "test_bytes_are_too"])
def test_a_name_that_refers_to_another_test_is_found(name: str) -> None:
    assert not stands_alone(name)
