"""The emulated machine's /bin/sh: it carries out the commands that ukmod.kmod.sh parses.

There are no pipes, files or forks for it, and no output: pipelines, subshells, command substitutions and
redirections to files are refused with status 2, as a syntax error would be, before any command runs. So is,
when its turn comes, a command that other shells have built in, such as ``test`` or ``cd``.
Redirections to and from /dev/null are dropped. Programs are those of the machine, found through PATH.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from ukmod.kmod.sh.builtins import BUILTIN, CONTROL
from ukmod.kmod.sh.expansion import fields_of, value_of
from ukmod.kmod.sh.parser import parse
from ukmod.kmod.sh.syntax import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    SYNTAX_ERROR,
    Chain,
    For,
    Group,
    If,
    NotUnderstoodError,
    Pipeline,
    ShellSyntaxError,
    Simple,
)

if TYPE_CHECKING:
    from ukmod.kmod.sh.syntax import ShellCommand, Word
    from ukmod.userland.process import Process, Syscalls


def sh(process: Process) -> int:
    """The program /bin/sh: only ``sh -c COMMAND``."""
    if len(process.argv) < 3 or process.argv[1] != "-c":
        return SYNTAX_ERROR
    return run_command(process.argv[2], process.env, process.sys) >> 8


def run_command(command: str, env: Mapping[str, str], sys: Syscalls) -> int:
    """Run a command line; the wait status that system(3) would return."""
    shell = _Shell(env, sys)
    try:
        node = parse(command)
        _require_understood(node)
        shell.run(node)
    except (ShellSyntaxError, NotUnderstoodError):
        shell.status = SYNTAX_ERROR
    except _Exit:
        pass
    return shell.status << 8


class _Exit(Exception):  # noqa: N818 - the shell's exit command is no error
    pass


def _require_understood(node: ShellCommand) -> None:
    """Raise NotUnderstoodError for a tree with a command that this shell cannot carry out."""
    for command in _commands(node):
        is_apart = isinstance(command, Group) and command.subshell
        is_piped = isinstance(command, Pipeline) and len(command.commands) > 1
        is_redirected = isinstance(command, Simple) and not command.harmless
        if is_apart or is_piped or is_redirected or not all(map(_is_plain, _words(command))):
            raise NotUnderstoodError(command)


def _commands(node: ShellCommand) -> Iterator[ShellCommand]:
    """Yield a command and all within it, except those of command substitutions."""
    yield node
    inner: tuple[ShellCommand, ...] = ()
    if isinstance(node, Chain):
        inner = tuple([command for _, command in node.items])
    elif isinstance(node, Pipeline):
        inner = node.commands
    elif isinstance(node, (Group, For)):
        inner = (node.body,)
    elif isinstance(node, If):
        inner = tuple([command for branch in node.branches for command in branch])
        inner += () if node.otherwise is None else (node.otherwise,)
    for command in inner:
        yield from _commands(command)


def _words(node: ShellCommand) -> Sequence[Word]:
    if isinstance(node, Simple):
        return [*node.words, *(word for _, word in node.assignments)]
    return node.words if isinstance(node, For) else ()


def _is_plain(word: Word) -> bool:
    """Tell whether a word is of text, and of variables that have names."""
    return all(part.kind == "text" or (part.kind == "variable" and part.text.isidentifier()) for part in word)


class _Shell:
    """A shell: its environment, and the status of its last command."""

    def __init__(self, env: Mapping[str, str], sys: Syscalls) -> None:
        self.status = 0
        self._env = env
        self._variables: dict[str, str] = {}
        self._sys = sys

    def run(self, node: ShellCommand) -> None:
        """Carry out a command. Raises NotUnderstoodError, and _Exit."""
        if isinstance(node, Simple):
            self._simple(node)
        elif isinstance(node, Chain):
            self._chain(node)
        elif isinstance(node, Pipeline):
            self.run(node.commands[0])
            self.status = int(not self.status) if node.negated else self.status
        elif isinstance(node, Group):
            self.run(node.body)
        elif isinstance(node, If):
            self._if(node)
        else:
            self._for(node)

    def _chain(self, node: Chain) -> None:
        for operator, command in node.items:
            if not (operator == "&&" and self.status) and not (operator == "||" and not self.status):
                self.run(command)

    def _if(self, node: If) -> None:
        for condition, body in node.branches:
            self.run(condition)
            if self.status == 0:
                self.run(body)
                return
        self.status = 0
        if node.otherwise is not None:
            self.run(node.otherwise)

    def _for(self, node: For) -> None:
        self.status = 0
        for value in self._fields(node.words):
            self._variables[node.name] = value
            self.run(node.body)

    # Simple commands

    def _get(self, name: str) -> str:
        return self._variables.get(name, self._env.get(name, ""))

    def _set(self, name: str, value: str) -> None:
        if name in self._env:
            self._env = {**self._env, name: value}
        else:
            self._variables[name] = value

    def _fields(self, words: Sequence[Word]) -> list[str]:
        fields = []
        for field in fields_of(words, self._get):
            if field is None:
                raise NotUnderstoodError(words)  # a pattern of file names
            fields.append(field)
        return fields

    def _simple(self, node: Simple) -> None:
        words = self._fields(node.words)
        given = {name: value_of(word, self._get) or "" for name, word in node.assignments}
        if words:
            self.status = self._command(words, {**self._env, **given} if given else self._env)
            return
        self.status = 0
        for name, value in given.items():
            self._set(name, value)

    def _command(self, words: Sequence[str], env: Mapping[str, str]) -> int:
        """Run a command of the shell's own, or a program; its exit status."""
        name, *arguments = words
        if name in CONTROL or name in {"eval", "export"}:
            raise NotUnderstoodError(name)
        if name in {":", "true", "false"}:
            return int(name == "false")
        if name == "exit":
            self._exit(arguments)
        if name == "exec" and arguments:
            self.status = self._program(arguments, env)
            raise _Exit
        return 0 if name == "exec" else self._program(words, env)

    def _exit(self, arguments: Sequence[str]) -> NoReturn:
        if arguments and not arguments[0].isdecimal():
            raise NotUnderstoodError(arguments[0])
        self.status = int(arguments[0]) & 0xFF if arguments else self.status
        raise _Exit

    def _program(self, words: Sequence[str], env: Mapping[str, str]) -> int:
        name = words[0]
        directories = [directory for directory in env.get("PATH", "").split(":") if directory]
        for path in [name] if "/" in name else [f"{directory}/{name}" for directory in directories]:
            try:
                status = self._sys.spawn(path, words, env)
            except PermissionError:
                return NOT_EXECUTABLE
            except FileNotFoundError:
                continue
            return status >> 8 or (128 + (status & 0x7F) if status else 0)
        if name in BUILTIN:
            raise NotUnderstoodError(name)  # other shells have it built in
        return NOT_FOUND
