"""The commands that a shell has built in (POSIX XCU 1.4, 2.14; dash(1))."""

from __future__ import annotations

__all__ = ["BUILTIN", "CONTROL", "SPECIAL"]

BUILTIN = frozenset(
    (":", "true", "false", "echo", "printf", "test", "[", "cd", "pwd", "umask", "wait", "command", "type")
)
"""Commands that shells have built in: no program of the name is needed."""

_CONTROL_NAMES = """
    set trap . source alias unalias ulimit kill getopts return break continue shift local readonly
    declare typeset shopt let enable builtin times hash bg fg jobs unset read chdir fc
    time select coproc pushd popd dirs disown suspend mapfile readarray help history
"""
CONTROL = frozenset(_CONTROL_NAMES.split())
"""Commands that change what a shell does with those after them, and those that some shells alone have."""

SPECIAL = CONTROL | {":", "exec", "exit", "eval", "export"}
"""Among these are all special ones: a shell ends if it cannot redirect one of them (XCU 2.8.1)."""
