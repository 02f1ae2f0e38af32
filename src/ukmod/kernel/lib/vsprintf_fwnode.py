"""``%pfw``: the name, or the full name, of a firmware node: fwnode_string() of lib/vsprintf.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.err import is_err
from ukmod.kernel.lib.printf_spec import FormatType, Spec, pad
from ukmod.kernel.lib.vsprintf_text import bad_pointer, error_string, string
from ukmod.record import replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_PLAIN: Final = Spec(FormatType.STR)
_DEEPEST: Final = 1024
"""A chain of parents that is longer ends in itself; the kernel would follow it for ever."""


def fwnode_string(k: Core, value: int, spec: Spec) -> bytes:
    """``%pfw`` and ``%pfwf``: a struct fwnode_handle with all its parents; ``%pfwP``: its own name."""
    if spec.extension[1:2] != b"w":
        return error_string(b"(%pf?)", spec)
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    if spec.extension[2:3] == b"P":
        return pad(string(k, _call(k, value, "get_name"), replace(spec, width=-1)), spec)
    chain = _with_parents(k, value)
    names = [
        string(k, _call(k, node, op), _PLAIN) for node in chain for op in ("get_name_prefix", "get_name")
    ]
    for parent in chain[:-1]:
        _call(k, parent, "put")
    return pad(b"".join(names), spec)


def _with_parents(k: Core, node: int) -> list[int]:
    """The node and its parents, the root first, each parent with a reference."""
    chain = [node]
    while (node := _call(k, node, "get_parent")) and not is_err(node) and len(chain) < _DEEPEST:
        chain.append(node)
    return chain[::-1]


def _call(k: Core, node: int, operation: str) -> int:
    """fwnode_call_ptr_op(): the result of one of the node's own functions, or NULL without it."""
    ops = k.memory.u64(node + k.types.offset("fwnode_handle", "ops"))
    function = k.memory.u64(ops + k.types.offset("fwnode_operations", operation)) if ops else 0
    return k.cpu.call(function, node) if function else 0
