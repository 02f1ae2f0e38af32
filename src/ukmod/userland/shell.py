"""As much of sh -c as modprobe.d's install and remove commands use.

Commands with words in quotes, joined by ``;``, ``&&``, ``||`` and newlines; ``exec``, ``exit``, ``true``,
``false`` and ``:``; ``sh -c``; $VARIABLES of the environment; redirections to and from /dev/null are dropped.
 Programs are those of the emulated machine, found through PATH. What is more than that is refused
with status 2, as a syntax error would be, so that nothing half-understood is ever run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ukmod.kmod.predict.shell_syntax import NOT_FOUND, SYNTAX_ERROR

if TYPE_CHECKING:
    from ukmod.userland.process import Process, Syscalls

NOT_EXECUTABLE = 126
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_REDIRECTION = re.compile(r"\s*[012&]?>{1,2}\s*(/dev/null|&[012])|\s*0?<\s*/dev/null")
_UNSUPPORTED = re.compile(r"[`|&<>(){}]|\$\(|\$[*@#?!]")
_OPERATORS = re.compile(r"&&|\|\||;|\n")


def sh(process: Process) -> int:
    """The program /bin/sh: only ``sh -c COMMAND``."""
    if len(process.argv) < 3 or process.argv[1] != "-c":
        return SYNTAX_ERROR
    return run_command(process.argv[2], process.env, process.sys) >> 8


def run_command(command: str, env: Mapping[str, str], sys: Syscalls) -> int:
    """Run a command line; the wait status that system(3) would return."""
    try:
        status = _run(_REDIRECTION.sub(" ", command), env, sys)
    except (ValueError, _SyntaxError):
        status = SYNTAX_ERROR
    except _ExitError as done:
        status = done.status
    return status << 8


class _SyntaxError(Exception):
    pass


class _ExitError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _split(command: str) -> Iterator[tuple[str, str]]:
    """Pairs of the operator before a simple command, and the command; operators in quotes do not count."""
    operator, start, at, quote = ";", 0, 0, ""
    while at < len(command):
        char = command[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "\\":
            at += 1
        elif match := _OPERATORS.match(command, at):
            yield operator, command[start:at]
            operator = match.group().replace("\n", ";")
            at = start = match.end()
            continue
        at += 1
    if quote:
        raise _SyntaxError(command)
    yield operator, command[start:]


def _run(command: str, env: Mapping[str, str], sys: Syscalls) -> int:
    status = 0
    for operator, text in _split(command):
        if (operator == "&&" and status) or (operator == "||" and not status):
            continue
        if text.strip():
            status = _simple(text, env, sys)
    return status


def _simple(text: str, env: Mapping[str, str], sys: Syscalls) -> int:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    if _UNSUPPORTED.search(_VARIABLE.sub("", bare)):
        raise _SyntaxError(text)
    # Not inside single quotes, where $ is a dollar.
    pieces = re.split(r"('[^']*')", text)
    text = "".join(
        p if p.startswith("'") else _VARIABLE.sub(lambda m: env.get(m[1] or m[2], ""), p) for p in pieces
    )
    words = shlex.split(text)
    if words and words[0] == "exec":
        raise _ExitError(_program(words[1:], env, sys))
    if words and words[0] == "exit":
        raise _ExitError(int(words[1]) & 0xFF if len(words) > 1 else 0)
    if not words or words[0] in (":", "true"):
        return 0
    return 1 if words[0] == "false" else _program(words, env, sys)


def _program(words: list[str], env: Mapping[str, str], sys: Syscalls) -> int:
    if not words:
        return 0
    names = (
        [words[0]] if "/" in words[0] else [f"{d}/{words[0]}" for d in env.get("PATH", "").split(":") if d]
    )
    for name in names:
        try:
            status = sys.spawn(name, words, env)
        except PermissionError:
            return NOT_EXECUTABLE
        except FileNotFoundError:
            continue
        return status >> 8 or (128 + (status & 0x7F) if status else 0)
    return NOT_FOUND
