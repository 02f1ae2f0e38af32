"""Expressions with back references, by Python's :mod:`re`: as long as they cannot take long."""

from __future__ import annotations

from ukmod.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.depmod.ere import Instruction

__all__ = ["search_with_references"]

_ASSERTIONS = {"^": r"\A", "$": r"\Z", "<": r"\b(?=\w)", ">": r"\b(?<=\w)", "`": r"\A", "'": r"\Z"}
_MOST_TRIES = 1_000_000


def search_with_references(program: Sequence[Instruction], text: str, pattern: str) -> bool:
    """Tell whether an expression is found in the text.

    Raises UsageError if it has so many repetitions and alternatives that this could take long; a repetition
    of more than one character could take any time.
    """
    import re

    tries = len(text) + 1
    stack: list[str] = []
    last = ""
    for kind, one, other in program:
        if kind == "repeat":
            tries *= len(text) + 1
            if last != "set" or tries > _MOST_TRIES:
                raise UsageError("too many repetitions for a back reference", subject=pattern)
            stack.append(f"{stack.pop()}{{{one},{other if other >= 0 else ''}}}")
        elif kind == "group":
            stack.append(f"({stack.pop()})" if one else stack.pop())
        elif kind in ("concatenate", "alternate"):
            parts = [stack.pop() for _ in range(one)][::-1]
            tries *= max(one, 1) if kind == "alternate" else 1
            stack.append(("|" if kind == "alternate" else "").join(parts))
        else:
            stack.append(_atom(kind, one))
        last = kind
    return re.search(stack.pop(), text, re.ASCII | re.DOTALL) is not None


def _atom(kind: str, argument: int) -> str:
    if kind == "back":
        return f"(?:\\{argument})"
    if kind == "assert":
        return _ASSERTIONS.get(chr(argument), f"\\{chr(argument)}")
    members = [f"\\x{code:02x}" for code in range(256) if argument >> code & 1]
    return f"[{''.join(members)}]" if members else "(?!)"
