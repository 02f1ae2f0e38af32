"""The house rules for prose that a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

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
