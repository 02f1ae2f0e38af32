"""Command lines as the C library's getopt_long(3) reads them, and its very messages."""

from __future__ import annotations

import ctypes
import os
import random
import tempfile
from collections.abc import Sequence

import pytest

from ukmod.errors import UsageError
from ukmod.kmod.tools.getopt import LongOption, getopt

SHORT = "abv:X:"
LONG = (
    LongOption("all", "a"),
    LongOption("alias", "alias"),
    LongOption("alias-list", "alias"),
    LongOption("all-but", "but"),
    LongOption("value", "v", takes_value=True),
    LongOption("verbose", "v"),
    LongOption("extra", "X", takes_value=True),
    LongOption("extra-large", "X", takes_value=True),
)


Parsed = list[tuple[str, str]]
"""Options as (key, value), then words as ("", word)."""


def parsed(
    *words: str, short: str = SHORT, long: Sequence[LongOption] = LONG, posix: bool = False
) -> tuple[Parsed, str]:
    """The options and words of a command line up to the first mistake, and the message about it."""
    found: Parsed = []
    try:
        found.extend(getopt(["tool", *words], short, long, posix=posix))
    except UsageError as error:
        return found, error.message
    return found, ""


def options(*words: str, short: str = SHORT, posix: bool = False) -> Parsed:
    """The same for a command line without mistakes."""
    found, message = parsed(*words, short=short, posix=posix)
    assert not message
    return found


class TestWords:
    def test_the_programs_name_is_no_word(self) -> None:
        assert options() == []

    def test_options_may_follow_words_which_come_last(self) -> None:
        assert options("one", "-a", "two", "--all", "three") == [
            *[("a", "")] * 2,
            *[("", word) for word in ("one", "two", "three")],
        ]

    @pytest.mark.parametrize(("short", "posix"), [(SHORT, True), ("+" + SHORT, False), ("+" + SHORT, True)])
    def test_posix_ends_the_options_at_the_first_word(self, short: str, posix: bool) -> None:
        found = options("-a", "one", "-b", "--", short=short, posix=posix)
        assert found == [("a", ""), ("", "one"), ("", "-b"), ("", "--")]

    def test_options_may_follow_words_unless_the_caller_says_otherwise(self) -> None:
        assert list(getopt(["tool", "one", "-a"], SHORT, LONG)) == [("a", ""), ("", "one")]

    def test_words_on_both_sides_of_two_dashes_count(self) -> None:
        assert options("one", "--", "-a", "two") == [("", "one"), ("", "-a"), ("", "two")]

    @pytest.mark.parametrize("posix", [False, True])
    def test_two_dashes_end_the_options_and_are_no_word(self, posix: bool) -> None:
        assert options("-a", "--", "-b", "--", posix=posix) == [("a", ""), ("", "-b"), ("", "--")]

    def test_a_single_dash_and_an_empty_word_are_words(self) -> None:
        assert options("-", "", "-a") == [("a", ""), ("", "-"), ("", "")]


class TestLetters:
    def test_letters_may_share_a_dash(self) -> None:
        assert options("-ab") == options("-ab", short="v:ab") == [("a", ""), ("b", "")]

    def test_the_rest_of_a_word_is_the_value_of_its_letter(self) -> None:
        assert options("-av1", "-b") == [("a", ""), ("v", "1"), ("b", "")]
        assert options("-v=1", "-X2") == [("v", "=1"), ("X", "2")]

    def test_a_letter_at_the_end_takes_the_next_word_whatever_it_is(self) -> None:
        for word in ("one", "-a", "--", ""):
            assert options("-v", word, "-b") == [("v", word), ("b", "")]

    def test_a_letter_that_is_listed_twice_is_what_its_first_place_says(self) -> None:
        """strchr(3) finds it there."""
        assert options("-a1", short="a:a") == [("a", "1")]

    def test_a_letter_without_its_value_is_a_mistake(self) -> None:
        assert parsed("-av") == ([("a", "")], "option requires an argument -- 'v'")

    @pytest.mark.parametrize("word", ["-z", "-az", "-:", "-+", "-a-"])
    @pytest.mark.parametrize("short", [SHORT, "+" + SHORT])
    def test_an_unknown_letter_is_a_mistake(self, word: str, short: str) -> None:
        assert parsed(word, short=short)[1] == f"invalid option -- '{word[-1]}'"

    def test_options_before_a_mistake_count(self) -> None:
        assert parsed("-a", "-bz", "--all") == ([("a", ""), ("b", "")], "invalid option -- 'z'")

    def test_a_message_has_the_first_byte_of_a_letter_alone(self) -> None:
        assert parsed("-é")[1] == "invalid option -- '\udcc3'"


class TestLongOptions:
    @pytest.mark.parametrize(
        ("word", "key"),
        [("--all", "a"), ("--alias", "alias"), ("--alias-l", "alias"), ("--all-", "but"), ("--verb", "v")],
    )
    def test_a_name_may_be_cut_short_while_it_means_one_thing(self, word: str, key: str) -> None:
        """``--all`` is a name of its own, whatever else begins with it."""
        assert options(word) == [(key, "")]

    def test_a_whole_name_with_a_value_is_no_abbreviation(self) -> None:
        long = (LongOption("ab", "y", takes_value=True), LongOption("a", "x", takes_value=True))
        assert parsed("--a=1", long=long) == ([("x", "1")], "")

    @pytest.mark.parametrize("word", ["--ali", "--e=1"])
    def test_names_of_the_same_option_are_one_thing(self, word: str) -> None:
        assert parsed(word)[1] == ""

    @pytest.mark.parametrize(
        ("word", "possibilities"),
        [
            ("--al", "'--all' '--alias' '--alias-list' '--all-but'"),
            ("--a=1", "'--all' '--alias' '--alias-list' '--all-but'"),
            ("--v", "'--value' '--verbose'"),
        ],
    )
    def test_a_name_cut_too_short_is_a_mistake(self, word: str, possibilities: str) -> None:
        """``--value`` and ``--verbose`` have the same key, but only one takes a value."""
        assert parsed(word)[1] == f"option '{word}' is ambiguous; possibilities: {possibilities}"

    def test_names_that_mean_the_same_as_the_first_are_no_possibilities(self) -> None:
        same = (LongOption("ab", "x"), LongOption("ac", "x"), LongOption("ad", "y"))
        assert parsed("--a", long=same)[1] == "option '--a' is ambiguous; possibilities: '--ab' '--ad'"

    def test_a_value_follows_an_equals_sign_or_is_the_next_word(self) -> None:
        assert options("--value=1=2", "--value", "-a", "--val", "") == [("v", "1=2"), ("v", "-a"), ("v", "")]

    def test_an_empty_value_is_one(self) -> None:
        assert options("--value=", "-a") == [("v", ""), ("a", "")]

    def test_an_option_without_its_value_is_a_mistake(self) -> None:
        assert parsed("-a", "--val") == ([("a", "")], "option '--value' requires an argument")
        assert parsed("--ext") == ([], "option '--extra' requires an argument"), "the first of its names"

    @pytest.mark.parametrize("word", ["--alia=1", "--alias="])
    def test_a_value_where_none_is_taken_is_a_mistake(self, word: str) -> None:
        assert parsed(word)[1] == "option '--alias' doesn't allow an argument"

    @pytest.mark.parametrize("word", ["--none", "--none=1", "--All", "--alll", "---all"])
    def test_an_unknown_name_is_a_mistake(self, word: str) -> None:
        assert parsed(word)[1] == f"unrecognized option '{word}'"


# -- the real thing -----------------------------------------------------------------------------------------


class _Option(ctypes.Structure):
    """struct option of <getopt.h>."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("has_arg", ctypes.c_int),
        ("flag", ctypes.c_void_p),
        ("val", ctypes.c_int),
    )


def by_the_c_library(words: Sequence[str], short: str, long: Sequence[LongOption]) -> tuple[Parsed, str]:
    """What ``parsed`` returns, from getopt_long(3) in this process."""
    libc = ctypes.CDLL(None)
    keys = {ord(letter): letter for letter in short}
    keys |= {256 + n: option.key for n, option in enumerate(long)}
    numbers = {key: number for number, key in reversed(keys.items())}
    table = (_Option * (len(long) + 1))(
        *[_Option(option.name.encode(), option.takes_value, None, numbers[option.key]) for option in long]
    )
    arguments = [b"tool", *map(os.fsencode, words)]
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*arguments)
    optind, optarg = ctypes.c_int.in_dll(libc, "optind"), ctypes.c_char_p.in_dll(libc, "optarg")
    optind.value = 0  # begin anew
    found: Parsed = []
    with tempfile.TemporaryFile() as messages:
        kept = os.dup(2)
        os.dup2(messages.fileno(), 2)
        try:
            while (number := libc.getopt_long(len(arguments), argv, short.encode(), table, None)) != -1:
                if number == ord("?"):
                    break
                found.append((keys[number], os.fsdecode(optarg.value or b"")))
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        messages.seek(0)
        message = os.fsdecode(messages.read()).removeprefix("tool: ").rstrip("\n")
    if not message:
        found += [("", os.fsdecode(argv[at] or b"")) for at in range(optind.value, len(arguments))]
    return found, message


@pytest.mark.real
def test_the_c_library_reads_the_same_from_any_command_line() -> None:
    chance = random.Random(1)
    pieces = ["-", "--", "a", "b", "v", "x", "=", "1", "al", "all", "alias", "value", "extra", "é", "+", ":"]
    for _ in range(5_000):
        words = ["".join(chance.choices(pieces, k=chance.randint(0, 4))) for _ in range(chance.randint(0, 4))]
        short = chance.choice([SHORT, "+" + SHORT])
        long = chance.sample(LONG, len(LONG))
        assert parsed(*words, short=short, long=long) == by_the_c_library(words, short, long), (words, long)
