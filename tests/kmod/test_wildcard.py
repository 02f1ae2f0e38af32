"""fnmatch(3): the patterns of aliases, checked against the C library itself."""

from __future__ import annotations

import ctypes
import locale
import platform
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ukmod.kmod.wildcard import Matcher, fnmatch


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("pci:v*d*", "pci:v00008086d0000", True),
        ("pci:v*d*x", "pci:v00008086d0000", False),
        ("a*", "a", True),
        ("*", "", True),
        ("?", "", False),
        ("x_[a-c]", "x_b", True),
        ("x_[!a-c]", "x_b", False),
        ("x_[^a-c]", "x_d", True),
        ("[]a]", "]", True),
        ("[a-]", "-", True),
        ("[[:digit:]x]", "7", True),
        ("[[:digit:]x]", "y", False),
        (r"\*", "*", True),
        (r"\*", "a", False),
        (r"a\\", "a\\", True),
        ("a\\", "a\\", False),
        ("[a", "[a", True),
        ("*ab*ab", "abxab", True),
        ("*a*b*c", "aXbXbXcX", False),
    ],
)
def test_patterns(pattern: str, text: str, *, matches: bool) -> None:
    assert fnmatch(pattern, text) is matches


# Brackets without a partner never get here: neither the configuration nor an index lets them in.
PIECES = [
    "a",
    "b",
    "-",
    "*",
    "?",
    "[ab]",
    "[!a-c]",
    "[]a]",
    "[^-]",
    "[a-]",
    "[b-a]",
    "[\\]]",
    "[*?]",
    "\\a",
    "\\*",
    "]",
]


def c_library_matches(pattern: str, text: str) -> bool:
    """fnmatch(3) as kmod calls it, which never calls setlocale(3): a character is a byte."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    try:
        return bool(ctypes.CDLL(None).fnmatch(pattern.encode(), text.encode(), 0) == 0)
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.skipif(sys.platform != "linux", reason="compares with glibc's fnmatch, which is Linux's")
@given(
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.text(st.sampled_from("abc]-*\\!"), max_size=6),
)
def test_is_the_c_library_s(pattern: str, text: str) -> None:
    assert fnmatch(pattern, text) is c_library_matches(pattern, text)


UNUSUAL_PIECES = [
    *PIECES,
    "[",
    "^",
    "!",
    "[:",
    ":]",
    "[[:digit:]-]",
    "[!]-a]",
    "[a-\\]]",
    "[[.a.]-c]",
    "[[=a=]]",
]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="compares with glibc's fnmatch")
@given(
    st.lists(st.sampled_from(UNUSUAL_PIECES), max_size=6).map("".join),
    st.text(st.sampled_from("abc]-*\\![:1é"), max_size=6),
)
@example("????", "111é")
def test_unclosed_brackets_and_bytes_are_the_c_library_s(pattern: str, text: str) -> None:
    assert fnmatch(pattern, text) is c_library_matches(pattern, text)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="compares with glibc's fnmatch")
@given(
    st.text("0a", max_size=2),
    st.sampled_from(["[:alfa:]", "[:z:]", "[:A:]", "[::]", "[.ab.]", "[:alpha"]),
    st.sampled_from(["", "b", "[.b.]", "[:x:]", "[:digit:]", "]b", "\\]"]),
    st.sampled_from("0abz[:]"),
)
def test_what_precedes_a_class_that_does_not_exist_matches(
    before: str, malformed: str, after: str, text: str
) -> None:
    for negation in ("", "!"):
        pattern = f"[{negation}{before}{malformed}{after}]"
        assert fnmatch(pattern, text) is c_library_matches(pattern, text), pattern


HOSTILE = [
    "*a",
    "*[[:alpha",
    "*[",
    "*[a",
    "*[!",
    "[a-",
    "[[:",
    "[[=",
    "[[.",
    "[[.a.]",
    "*[[:alpha:]]",
    "\\",
    "*?",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_pattern_takes_longer_than_the_product_of_both_lengths(piece: str) -> None:
    """With a search that begins again at each place these take minutes, which the suite's timeout ends."""
    assert not fnmatch(piece * 20_000 + "b", "a" * 2_000)


@given(st.lists(st.sampled_from(UNUSUAL_PIECES), max_size=6), st.text("abc]-*\\![:1", max_size=6))
def test_a_pattern_in_pieces_matches_as_the_whole_one(pieces: list[str], text: str) -> None:
    matcher = Matcher(text)
    states = matcher.START
    for piece in pieces:
        states = matcher.advance(states, piece)
    accepted = matcher.accepts(states)
    assert accepted is None or accepted is fnmatch("".join(pieces), text)
