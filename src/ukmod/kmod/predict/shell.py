"""The effect of a command of modprobe.d, as far as it can be known without running it.

Each command ends in one or more ways: a world, and an exit status. Programs are known by name: those that
load or unload modules are predicted in their turn, harmless ones have a known or an unknown status, and of
any other it is not known what it loads.
"""

from __future__ import annotations

import re

from ukmod.kmod.predict import changes, programs
from ukmod.kmod.predict.world import distinct
from ukmod.kmod.sh.builtins import BUILTIN, CONTROL, SPECIAL
from ukmod.kmod.sh.expansion import fields_of, value_of
from ukmod.kmod.sh.parser import parse
from ukmod.kmod.sh.syntax import (
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
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    from ukmod.kmod.predict.world import World
    from ukmod.kmod.sh.syntax import ShellCommand, Word

    class Machine(Protocol):
        """The machine that the programs run on."""

        def modprobe(self, arguments: Sequence[str], world: World) -> list[tuple[World, int]]:
            """Return the ways in which a modprobe with these arguments ends."""

        def insmod(self, arguments: Sequence[str], world: World) -> list[tuple[World, int]]:
            """Return the ways in which an insmod ends."""

        def rmmod(self, arguments: Sequence[str], world: World) -> list[tuple[World, int]]:
            """Return the ways in which an rmmod ends."""

        def spend(self) -> None:
            """Take note of a command that is followed; UnpredictableError for one too many."""

        def program(self, path: str) -> str | None:
            """Return the name of the file that a program's path or name leads to; empty if there is none.

            None if the system's programs are not at hand.
            """


__all__ = ["run_command"]

_OF_SOME_SHELLS = re.compile(r"\|&|&>|\(\(|=\(|[<>]\(|\w\+=|!\s+!")
"""Notations of bash that mean something else, or nothing, to other shells."""


@record
class _Way:
    """A shell in one world: its variables, and the status of the last command. ``ended``: it has exited.

    Of a variable that is not among the ``exported`` a program that it starts sees nothing.
    """

    world: World
    variables: tuple[tuple[str, str | None], ...] = ()
    status: int = 0
    ended: bool = False
    exported: frozenset[str] = frozenset()

    def get(self, name: str) -> str | None:
        if name == "?":
            return str(self.status)
        return next((value for known, value in self.variables if known == name), None)

    def set(self, name: str, value: str | None) -> _Way:
        rest = tuple([pair for pair in self.variables if pair[0] != name])
        return replace(self, variables=(*rest, (name, value)))

    def done(self, status: int) -> _Way:
        return replace(self, status=status)


def run_command(
    command: str, world: World, machine: Machine, variables: Iterable[tuple[str, str]] = ()
) -> list[tuple[World, int]]:
    """Return the ways in which ``sh -c COMMAND`` ends: worlds, and exit statuses.

    ``variables`` are those of the environment whose values are known. Raises UnpredictableError.
    """
    try:
        node = _tree(command)
    except ShellSyntaxError:
        return [(world, SYNTAX_ERROR)]
    except NotUnderstoodError:
        return _anything(world, f"it runs {command}")
    shell = _Shell(machine)
    try:
        known = tuple(variables)
        ways = shell.run(node, _Way(world, known, exported=frozenset(name for name, _ in known)))
    except (NotUnderstoodError, RecursionError):  # the latter for commands nested a hundred deep
        return _anything(world, f"it runs {command}")
    return distinct((way.world, way.status) for way in ways)


def _tree(command: str) -> ShellCommand:
    """Return a command as a tree. NotUnderstoodError for what one shell takes, and another refuses."""
    if _OF_SOME_SHELLS.search(command):
        raise NotUnderstoodError(command)
    return parse(command)


def _anything(world: World, sentence: str) -> list[tuple[World, int]]:
    """Return both ways in which a program may end of which nothing is known."""
    return [(world.doubting(sentence, wild=True), status) for status in (0, 1)]


class _Shell:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def run(self, node: ShellCommand, way: _Way) -> list[_Way]:
        """Return the ways that a command leads to from one. Raises NotUnderstoodError."""
        if isinstance(node, Simple):
            return self._simple(node, way)
        if isinstance(node, Chain):
            return self._chain(node, way)
        if isinstance(node, Pipeline):
            return self._pipeline(node, way)
        if isinstance(node, Group):
            return self._apart(node.body, way) if node.subshell else self.run(node.body, way)
        if isinstance(node, If):
            return self._if(node, way)
        return self._for(node, way)

    def _each(self, ways: Iterable[_Way], do: Callable[[_Way], list[_Way]]) -> list[_Way]:
        """Continue each way that has not ended."""
        return distinct(one for way in ways for one in ([way] if way.ended else do(way)))

    def _apart(self, node: ShellCommand, way: _Way) -> list[_Way]:
        """Run a command in a shell of its own: it leaves a status, and no variables."""
        return [replace(way, world=one.world, status=one.status) for one in self.run(node, way)]

    def _chain(self, node: Chain, way: _Way) -> list[_Way]:
        ways = [way.done(0)] if not node.items else [way]
        for operator, command in node.items:

            def step(one: _Way, operator: str = operator, command: ShellCommand = command) -> list[_Way]:
                skipped = (operator == "&&" and one.status) or (operator == "||" and not one.status)
                return [one] if skipped else self.run(command, one)

            ways = self._each(ways, step)
        return ways

    def _pipeline(self, node: Pipeline, way: _Way) -> list[_Way]:
        if len(node.commands) == 1:
            ways = self.run(node.commands[0], way)
        else:
            ways = [way]
            for command in node.commands:
                ways = distinct(one for before in ways for one in self._apart(command, before))
        if node.negated:
            ways = [one if one.ended else one.done(int(not one.status)) for one in ways]
        return ways

    def _if(self, node: If, way: _Way) -> list[_Way]:
        pending, done = [way], []
        for condition, body in node.branches:
            tested = self._each(pending, lambda one, condition=condition: self.run(condition, one))  # type: ignore[misc]
            done += [one for one in tested if one.ended]
            true = [one for one in tested if not one.ended and not one.status]
            done += self._each(true, lambda one, body=body: self.run(body, one))  # type: ignore[misc]
            pending = [one for one in tested if not one.ended and one.status]
        otherwise = node.otherwise
        if otherwise is None:
            return distinct([*done, *(one.done(0) for one in pending)])
        return distinct([*done, *self._each(pending, lambda one: self.run(otherwise, one))])

    def _for(self, node: For, way: _Way) -> list[_Way]:
        fields = fields_of(node.words, way.get)
        ways = self._substitute(node.words, way)
        if None in fields:
            raise NotUnderstoodError(node.name)
        for field in fields:
            ways = self._each(ways, lambda one, field=field: self.run(node.body, one.set(node.name, field)))  # type: ignore[misc]
        return ways

    # Simple commands

    def _substitute(self, words: Iterable[Word], way: _Way) -> list[_Way]:
        """Run the command substitutions of words."""
        ways = [way.done(0)]
        for part in (part for word in words for part in word if part.command is not None):
            command = part.command
            assert command is not None
            ways = distinct(one for before in ways for one in self._apart(command, before))
        return ways

    def _simple(self, node: Simple, way: _Way) -> list[_Way]:
        self._machine.spend()
        given = [(name, value_of(word, way.get)) for name, word in node.assignments]
        fields = fields_of(node.words, way.get)
        ways = self._substitute([*node.words, *(word for _, word in node.assignments)], way)
        written = fields_of(node.written, way.get)
        if any(name in programs.MATTER for name, _ in given) or any(map(_may_matter, written)):
            raise NotUnderstoodError(node.text)
        names = frozenset(name for name, _ in given)
        assigned = ways
        for name, value in given:
            assigned = [one.set(name, value) for one in assigned]
        if not fields:
            return assigned
        if given and fields[0] in {"eval", "export"}:
            raise NotUnderstoodError(node.text)  # shells differ in what remains of the variables
        started = [replace(one, exported=one.exported | names) for one in assigned]
        found = [end for one in started for end in self._program(fields, one, node.text)]
        if given:
            found = [replace(one, variables=way.variables, exported=way.exported) for one in found]
        if not node.harmless:  # the file may be one that cannot be written: then the command does not run
            sentence = f"whether it can be redirected is not known: {node.text}"
            ended = fields[0] is None or fields[0] in SPECIAL
            found += [replace(one, world=one.world.doubting(sentence), status=1, ended=ended) for one in ways]
        return distinct(found)

    def _program(self, fields: Sequence[str | None], way: _Way, text: str) -> list[_Way]:
        """Return the ways in which a program, or a command of the shell's own, ends."""
        name, *arguments = fields
        if name is None:
            return _unknown([way], text)
        if name in CONTROL:
            raise NotUnderstoodError(text)
        if name == "exit":
            status = arguments[0] if arguments else str(way.status)
            if status is None or not status.isdecimal():
                raise NotUnderstoodError(text)
            return [replace(way, status=int(status) & 0xFF, ended=True)]
        if name == "exec":
            return (
                [way.done(0)]
                if not arguments
                else [replace(one, ended=True) for one in self._program(arguments, way, text)]
            )
        if name == "eval":
            return self._source(arguments, way, text)
        if name == "export":
            return self._export(arguments, way)
        return self._file(name, arguments, way, text)

    def _file(self, name: str, arguments: Sequence[str | None], way: _Way, text: str) -> list[_Way]:
        """Return the ways in which a program ends that may be a file, or a shell's own."""
        plain = programs.plain_name(name)
        if "/" not in name and plain in BUILTIN:
            return self._known(plain, arguments, way, text)
        file = self._machine.program(name)
        if file == "":
            return [way.done(NOT_FOUND)]
        if changes.may_change(plain, arguments):
            raise NotUnderstoodError(text)
        if "/" in name and plain == name:  # a path of somebody's own
            return _unknown([way], text)
        played = plain if file is None else programs.played_by(file, plain)
        return _unknown([way], text) if played is None else self._known(played, arguments, way, text)

    def _known(self, name: str, arguments: Sequence[str | None], way: _Way, text: str) -> list[_Way]:
        given = [argument for argument in arguments if argument is not None]
        is_known = len(given) == len(arguments)
        if name in programs.SHELLS:
            return self._shell(given, way, text) if is_known else _unknown([way], text)
        if name == "command" and arguments[:1] in (["-v"], ["-V"]):
            name = "which"
        if name in programs.WRAPPERS:
            inner = programs.unwrapped(name, arguments)
            return _unknown([way], text) if inner is None else self._apart_program(inner, way, text)
        if name in {"modprobe", "insmod", "rmmod"}:
            if not is_known:
                return _unknown([way], text)
            run = getattr(self._machine, name)
            return [replace(way, world=world, status=status) for world, status in run(given, way.world)]
        status = programs.status_of(name, arguments)
        if status is not None:
            return [way.done(status)]
        if name in programs.HARMLESS:
            sentence = f"its exit status is not known: {text}"
            return [replace(way, world=way.world.doubting(sentence), status=status) for status in (0, 1)]
        return _unknown([way], text)

    def _apart_program(self, fields: Sequence[str | None], way: _Way, text: str) -> list[_Way]:
        name = fields[0]
        if name is None or name in {"exit", "exec", "eval", "export"} or name in CONTROL:
            raise NotUnderstoodError(text)
        return self._program(fields, way, text)

    def _shell(self, arguments: Sequence[str], way: _Way, text: str) -> list[_Way]:
        """Run ``sh -c COMMAND [NAME [ARGUMENT...]]``."""
        if len(arguments) < 2 or arguments[0] != "-c" or arguments[1].startswith(("-", "+")):
            return _unknown([way], text)
        positional = tuple([(str(number), value) for number, value in enumerate(arguments[2:])])
        kept = tuple([pair for pair in way.variables if pair[0] in way.exported])
        inner = replace(way, variables=(*kept, *positional))
        return [replace(way, world=one.world, status=one.status) for one in self._parsed(arguments[1], inner)]

    def _source(self, arguments: Sequence[str | None], way: _Way, text: str) -> list[_Way]:
        if None in arguments:
            raise NotUnderstoodError(text)
        return self._parsed(" ".join([argument or "" for argument in arguments]), way)

    def _parsed(self, command: str, way: _Way) -> list[_Way]:
        try:
            node = _tree(command)
        except ShellSyntaxError:
            return [replace(way, status=SYNTAX_ERROR)]
        return self.run(node, way)

    def _export(self, arguments: Sequence[str | None], way: _Way) -> list[_Way]:
        for argument in arguments:
            if argument is None or argument.partition("=")[0] in programs.MATTER:
                raise NotUnderstoodError("export")
            name, equals, value = argument.partition("=")
            way = replace(way, exported=way.exported | {name})
            if equals:
                way = way.set(name, value)
        return [way.done(0)]


def _may_matter(path: str | None) -> bool:
    """Tell whether a file may be one that modprobe goes by."""
    return path is None or changes.matters(path)


def _unknown(ways: Iterable[_Way], text: str) -> list[_Way]:
    sentence = f"it runs {text}"
    return [
        replace(one, world=one.world.doubting(sentence, wild=True), status=status)
        for one in ways
        for status in (0, 1)
    ]
