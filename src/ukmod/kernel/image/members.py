"""The struct members that the kernel half reads, as its own source names them.

``types.offset("timer_list", "expires")`` and ``Layout(types, "timer_list").expires`` each name a struct and a
member. A function that first asks ``has(...)`` knows what to do without a member; one that does not ask fails
where it is called, if a kernel lacks the member.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from ukmod.record import record

_KERNEL: Final = Path(__file__).parent.parent
_READS: Final = ("offset", "member")


@record
class MemberUse:
    """A function that reads a member, and its file below ukmod/kernel."""

    file: str
    function: str


@cache
def uses() -> dict[tuple[str, str], tuple[MemberUse, ...]]:
    """The functions that read a struct's member and ask for nothing first, by struct and member."""
    found: dict[tuple[str, str], dict[MemberUse, None]] = {}
    for path in sorted(_KERNEL.rglob("*.py")):
        for member, use in _in_file(path):
            found.setdefault(member, {})[use] = None
    return {member: tuple(by) for member, by in found.items()}


def _in_file(path: Path) -> Iterator[tuple[tuple[str, str], MemberUse]]:
    source = path.read_text(encoding="utf-8")
    if "Layout(" not in source and ".offset(" not in source:
        return
    tree, file = ast.parse(source), str(path.relative_to(_KERNEL))
    layouts = dict(_layouts(tree))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and not any(map(_asks, ast.walk(function))):
            for node in ast.walk(function):
                if (read := _call(node) or _attribute(node, layouts)) is not None:
                    yield read, MemberUse(file, function.name)


def _layouts(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The variables and attributes to which a Layout is assigned, and its struct."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(
                targets=[target],
                value=ast.Call(func=ast.Name(id="Layout"), args=[_, ast.Constant(value=str(struct))]),
            ) if name := _name(target):
                yield name, struct


def _name(node: ast.AST) -> str:
    """The name of a variable or an attribute; empty for anything else."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _asks(node: ast.AST) -> bool:
    """True for a call of ``has``."""
    return isinstance(node, ast.Call) and _name(node.func) == "has"


def _call(node: ast.AST) -> tuple[str, str] | None:
    """The struct and member of ``offset("struct", "member")``."""
    match node:
        case ast.Call(
            func=ast.Attribute(attr=name),
            args=[ast.Constant(value=str(struct)), ast.Constant(value=str(member))],
        ) if name in _READS:
            return struct, member
    return None


def _attribute(node: ast.AST, layouts: dict[str, str]) -> tuple[str, str] | None:
    """The struct and member of ``layout.member`` or ``layout["member.inner"]``."""
    match node:
        case ast.Attribute(value=value, attr=member) if struct := layouts.get(_name(value)):
            return struct, member
        case ast.Subscript(value=value, slice=ast.Constant(value=str(member))) if struct := layouts.get(
            _name(value)
        ):
            return struct, member
    return None
