"""fnmatch(3): the patterns of aliases, checked against the C library itself."""

from __future__ import annotations

import ctypes
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.kmod.wildcard import fnmatch


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


@pytest.mark.skipif(sys.platform != "linux", reason="compares with glibc's fnmatch, which is Linux's")
@given(
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.text(st.sampled_from("abc]-*\\!"), max_size=6),
)
def test_is_the_c_library_s(pattern: str, text: str) -> None:
    libc = ctypes.CDLL(None)
    assert fnmatch(pattern, text) is (libc.fnmatch(pattern.encode(), text.encode(), 0) == 0)


def test_takes_linear_time_for_many_stars() -> None:
    assert not fnmatch("*a" * 40 + "b", "a" * 200)
