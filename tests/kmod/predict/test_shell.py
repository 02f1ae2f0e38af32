"""Shell lines of strangers: any text is parsed, and none takes long."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.kmod.predict.shell import run_command
from ukmod.kmod.predict.world import Budget, UnpredictableError, World
from ukmod.kmod.sh.parser import parse
from ukmod.kmod.sh.syntax import NotUnderstoodError, ShellSyntaxError


class Machine:
    """A machine on which modprobe loads the last of its arguments."""

    def __init__(self) -> None:
        self._budget = Budget()

    def modprobe(self, arguments: Sequence[str], world: World) -> list[tuple[World, int]]:
        return [(world.with_module(arguments[-1]), 0)] if arguments else [(world, 1)]

    insmod = rmmod = modprobe

    def spend(self) -> None:
        self._budget.spend()

    def program(self, path: str) -> str | None:
        return None


def ends(command: str) -> set[tuple[tuple[str, ...], int]]:
    """Return (modules, exit status) of each way in which a command may end."""
    ways = run_command(command, World(), Machine(), [("MODPROBE_MODULE", "x")])
    return {(tuple(sorted(world.loaded)), status) for world, status in ways}


_WORDS = """
modprobe true false echo exit if then else fi for do done in { } ( ) ! && || ; & | > < # $x ' " ` \\ $( x
"""
PIECES = st.sampled_from([*_WORDS.split(), "\n"])


@given(st.lists(PIECES, max_size=30))
def test_any_words_are_a_command_or_an_error(pieces: list[str]) -> None:
    try:
        parse(" ".join(pieces))
    except (NotUnderstoodError, ShellSyntaxError):
        return
    with suppress(UnpredictableError):
        assert ends(" ".join(pieces))


@given(st.text())
def test_any_text_is_a_command_or_an_error(text: str) -> None:
    with suppress(NotUnderstoodError, ShellSyntaxError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["(" * 5000, "$(" * 5000, "{ " * 5000, "`" * 5001, "a;" * 9000, "$(" * 8 + ")" * 1000, "if " * 4000],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    with pytest.raises((NotUnderstoodError, ShellSyntaxError)):
        parse(text)


@pytest.mark.parametrize(
    "command",
    [
        "".join(f"for {name} in {' x' * 99}; do " for name in "abcd") + "true" + "; done" * 4,
        "; ".join(f"test -e /x && m=${{m}}{number}" for number in range(20)),
    ],
    ids=["loops", "worlds"],
)
def test_too_many_commands_or_worlds_are_no_answer(command: str) -> None:
    with pytest.raises(UnpredictableError):
        ends(f"m=1; {command}; modprobe $m")


@pytest.mark.parametrize(
    "command",
    [
        "x=a; sh -c 'modprobe $x'",
        "IFS=,; x=a,b; modprobe $x",
        "PATH=/x; modprobe a",
        "PATH=/x modprobe a",
        "case a in a) modprobe a;; esac",
        "f() { modprobe a; }; f",
        "set -e; false; modprobe a",
        "modprobe a &",
        "modprobe $(echo a)",
        "modprobe a?",
        "/opt/program",
        "modprobe $unknown",
        "(true;" * 50 + "modprobe a" + ")" * 50,
        "(true;" * 150 + "modprobe a" + ")" * 150,
        "(true;" * 300 + "modprobe a" + ")" * 300,
    ],
)
def test_a_command_that_is_not_understood_may_load_anything(command: str) -> None:
    ways = run_command(command, World(), Machine(), [])
    assert {(world.wild, status) for world, status in ways} == {(True, 0), (True, 1)}
    assert all(world.doubts for world, _ in ways)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("", {((), 0)}),
        ("true; false", {((), 1)}),
        ("(true;" * 49 + "modprobe a" + ")" * 49, {(("a",), 0)}),
        ("modprobe a && modprobe b", {(("a", "b"), 0)}),
        ("a='b c'; modprobe \"$a\"", {(("b c",), 0)}),
        ("a='b c'; modprobe $a", {(("c",), 0)}),
        ("exit 7; modprobe a", {((), 7)}),
        ("(exit 7); modprobe a", {(("a",), 0)}),
        ("{ exit 7; }; modprobe a", {((), 7)}),
        ("test -e /x && modprobe a", {(("a",), 0), ((), 1)}),
        ("if test -e /x; then modprobe a; fi", {(("a",), 0), ((), 0)}),
        ("sh -c 'modprobe $0' a", {(("a",), 0)}),
        ("sh -c 'exit 3' || modprobe a", {(("a",), 0)}),
        ("x=a sh -c 'modprobe $x'", {(("a",), 0)}),
        ("x=a; export x; sh -c 'modprobe $x'", {(("a",), 0)}),
        ('x=a true; test -n "$x" && modprobe a', {((), 1), (("a",), 0)}),
        ("sleep 1 && modprobe a", {(("a",), 0)}),
        ("/sbin//modprobe a", {(("a",), 0)}),
        ("x=$(modprobe a; false); exit $?", {(("a",), 1)}),
        ("modprobe ${MODPROBE_MODULE}", {(("x",), 0)}),
        ("echo )", {((), 2)}),
        ('echo "', {((), 2)}),
    ],
)
def test_a_command_ends_as_in_a_shell(command: str, expected: set[tuple[tuple[str, ...], int]]) -> None:
    assert ends(command) == expected
