"""The house rules for prose that a machine can check."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"
PLAIN = ("ukmod/cli", "ukmod/kernel", "ukmod/kmod", "ukmod/machine", "ukmod/survey", "ukmod/userland")
"""The packages whose docstrings, comments and error messages are written in plain English."""

_TYPES = (
    "Bool|Char|Const|Enum|Int|Long|Pid_t|Signed|Size_t|Ssize_t|Static|Struct|Unsigned|Void|[SU](?:8|16|32|64)"
)
CAPITALISED_PROTOTYPE = re.compile(rf"`*(?:{_TYPES}) [\w *]*\(")

HEADLESS = re.compile(r"(?:Who|Whoever|What|Told|That of|Those of|Of (?:an?|its|the|what))\b")
"""Beginnings of a docstring that leaves out what the thing is or does."""

FAULTS = re.compile(
    r"""
      \b (?:it|this|that|they|these|those|which)\ (?:is|are|was|were)\ none \b     # is not one
    | \b nobody's \b                                                             # unowned
    | \b (?:go|goes|going|went)\ on                                              # continues
         (?= [.,;:)] | \ (?:with|from|to|as|at|behind|after|until|then|when) \b )
    | \b but\ for \b                                                             # except, apart from
    | \b (?:is|are|was|were)\ told \b                                            # is passed, is reported
    | (?: ^ | [.:;]\ ) Who(?:ever)?\ [a-z]                                       # a caller that
    | \b so\ who \b
    | \b (?:[Tt]hat|[Tt]hose)\ of\ [a-z]+\ own \b                                     # its own
    | \b as\ against \b                                                          # unlike
    | \b the\ same\ of \b
    | \b and\ (?:its|their)\ (?:kin|like) \b                                     # and the like
    """,
    re.VERBOSE,
)


def docstrings(tree: ast.AST) -> Iterator[str]:
    """Every docstring in a module, those of attributes included."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value.strip()


def comments(path: Path) -> Iterator[str]:
    """Every comment in a source file; consecutive lines are one comment."""
    block, last = "", 0
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                text = token.string.lstrip("# ")
                if token.start[0] == last + 1:
                    block += " " + text
                else:
                    yield block
                    block = text
                last = token.start[0]
    yield block


def messages(tree: ast.AST) -> Iterator[str]:
    """The texts in ``raise`` statements."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def test_a_prototype_in_a_docstring_is_c() -> None:
    wrong = [
        f"{path}: {text.splitlines()[0]}"
        for path in SOURCES.rglob("*.py")
        for text in docstrings(ast.parse(path.read_text()))
        if CAPITALISED_PROTOTYPE.match(text)
    ]
    assert wrong == []


def test_the_pattern_for_prototypes_finds_a_capitalised_type() -> None:
    assert CAPITALISED_PROTOTYPE.match("Int kthread_stop(struct task_struct *k)")
    assert not CAPITALISED_PROTOTYPE.match("``int kthread_stop(struct task_struct *k)``")


@pytest.mark.parametrize("package", PLAIN)
def test_prose_is_plain_english(package: str) -> None:
    wrong = []
    for path in sorted((SOURCES / package).rglob("*.py")):
        tree = ast.parse(path.read_text())
        texts = [*docstrings(tree), *comments(path), *messages(tree)]
        wrong += [f"{path}: {text}" for text in texts if FAULTS.search(" ".join(text.split()))]
        wrong += [f"{path}: {text}" for text in docstrings(tree) if HEADLESS.match(text)]
    assert wrong == []


@pytest.mark.parametrize(
    "fault",
    [
        "Raises UsageError if it is none.",
        "The rest of the ports is nobody's.",
        "The code goes on with the next instruction.",
        "After an oops the machine goes on.",
        "All registers, but for those of the FPU.",
        "The CPU is told which page to forget.",
        "Who waits for a lock is kept here.",
        "The stack is in guest memory. Who waits is kept here.",
        "Tell the kernel so who asks gets an answer.",
        "Those of its own come first.",
        "The memory lost, as against what is kept.",
        "param_ops_int and its kin.",
    ],
)
def test_the_patterns_find_a_fault(fault: str) -> None:
    assert FAULTS.search(fault)


@pytest.mark.parametrize(
    "sentence",
    [
        "The address of the object, or 0 if there is none.",
        "The caller that waits longest gets the lock.",
        "A thread of its own watches the CPU.",
        "The tasks that are woken, and the one that went to sleep.",
        "It turns tracing on, from the next call onwards.",
        "The report says who allocated the object.",
        "The number of tasks, or none if the queue is empty.",
        "None if it is unknown, and 0 if it is not one of them.",
    ],
)
def test_the_patterns_leave_good_english_alone(sentence: str) -> None:
    assert not FAULTS.search(sentence)


_WORDS = (
    "and but or so nor also then yet it its they them their he she this that these those both either neither "
    "other others again likewise who whose whom nobody"
)
REFERS = frozenset(_WORDS.split())
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
