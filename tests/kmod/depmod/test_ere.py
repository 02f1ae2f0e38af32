"""POSIX regular expressions, against regcomp(3) of the C library that depmod itself calls."""

from __future__ import annotations

import ctypes
import platform

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.errors import UsageError
from ukmod.kmod.depmod.ere import search

RELEASE = "6.1.0-9-amd64"
PIECES = [
    *"ab6.^$*+?|()",
    "{2}",
    "{1,3}",
    "{,2}",
    "{0}",
    "(a|b)",
    "(|6)",
    "(a*)",
    "()",
    "[^a]",
    "[[:alnum:]_]",
    r"\b",
    r"\B",
    r"\<",
    r"\>",
    r"\w",
    r"\W",
]
REG_EXTENDED, REG_NOSUB = 1, 8

PATTERNS = r"""
a* a{1} a{2,1} a{ a{1 a{1,x 6{1,} 6{,} x{0}6 x{,2}6 x{32767} x{32768} { {1} } a} 6{1}{1}
* ^* $* a|*b (*a) a||b () ( a) ) (a)) | (|a) (a|) a** a+? ()* (){2} ({1}a)
^6 ^^6 6^ a^b $$ 64$ (64$) (^6)+
[] [] [a [a- []a] [^]a] [[] [[a] [a-] [-a] [a-c-e] [--/] [%--] [z-a] [.] [a\] [\]] [\d] [[:] [^]
[[:digit:]]+ [[:alpha:] [[:foo:]] [[:alpha:]-z] [a-[:alpha:]] [[.a.]] [[=a=]] [[.hyphen.]] [[.-.]-0]
[^[:alnum:].-] \ a\ \. \w \W \<6 6\> \b \B \`6 64\' \s \S \d \1 (6)\1 (6).*\1 (6\1) \n \A \- \(
(?:a) (?i)AMD 6\.1.* ^6\.[0-9]+\.[0-9]+-.*-(amd64|arm64)$ \b* \<*6
"""


def regcomp_says(pattern: str, text: str) -> bool | None:
    """Return whether the C library finds the pattern, None if it refuses it."""
    libc = ctypes.CDLL(None)
    compiled = ctypes.create_string_buffer(256)
    if libc.regcomp(compiled, pattern.encode(), REG_EXTENDED | REG_NOSUB):
        return None
    found: int = libc.regexec(compiled, text.encode(), ctypes.c_size_t(0), None, 0)
    libc.regfree(compiled)
    return found == 0


def ours(pattern: str, text: str) -> bool | None:
    try:
        return search(pattern, text)
    except UsageError:
        return None


glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")


@glibc
@pytest.mark.parametrize("pattern", PATTERNS.split())
def test_as_regcomp(pattern: str) -> None:
    assert ours(pattern, RELEASE) is regcomp_says(pattern, RELEASE)


@glibc
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text("ab6._-", max_size=6))
def test_any_expression(pattern: str, text: str) -> None:
    assert ours(pattern, text) is regcomp_says(pattern, text)


HOSTILE = [
    "(a*)*b",
    "(a|a)*b",
    "((a{0,99}){0,99}){0,99}b",
    "(" * 5000 + "a" + ")*" * 5000 + "b",
    "(a{9}){9}" * 1500,
    "(a|" * 4000 + ")" * 4000 + "{3}b",
    "(a*)*\\1b",
    "(a*)(a*)(a*)(a*)(a*)\\1b",
]


@pytest.mark.parametrize("pattern", HOSTILE, ids=lambda pattern: pattern[:16])
def test_no_expression_takes_long(pattern: str) -> None:
    """re, and regexec(3) for some of them, would take longer than anybody waits."""
    assert not ours(pattern, "a" * 64)


def test_what_is_too_big_is_refused() -> None:
    with pytest.raises(UsageError, match="too big"):
        search("a" * 20_000, RELEASE)
    with pytest.raises(UsageError, match="too big"):
        search("a", "a" * 256)


@glibc
@given(st.text("aA6-.^$*+?{}()[]|\\,1:=w<b", max_size=8).filter(lambda text: "\0" not in text))
def test_any_text(pattern: str) -> None:
    assert ours(pattern, RELEASE) is regcomp_says(pattern, RELEASE)
