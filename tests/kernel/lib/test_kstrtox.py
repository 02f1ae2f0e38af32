"""Text to numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.kstrtox import S8, S32, U8, U64, parse, parse_bool


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from([8, 10, 16]))
def test_what_is_printed_is_read(value: int, base: int) -> None:
    digits = {8: f"{value:o}", 10: str(value), 16: f"{value:x}"}[base]
    assert parse(digits.encode() + b"\n", base, S32) == value


@pytest.mark.parametrize(
    ("text", "value"), [(b"0x2a", 42), (b"052", 42), (b"+7", 7), (b"0", 0), (b"-0X10", -16)]
)
def test_base_0_goes_by_the_prefix(text: bytes, value: int) -> None:
    assert parse(text, 0, S32) == value


@pytest.mark.parametrize("text", [b"", b"x", b"42 ", b" 42", b"0x", b"--1", b"+-1", b"1\n\n"])
def test_what_is_no_number_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="EINVAL"):
        parse(text, 0, S32)


@pytest.mark.parametrize(("text", "kind"), [(b"256", U8), (b"128", S8), (b"-129", S8), (b"9" * 30, U64)])
def test_what_does_not_fit_is_refused(text: bytes, kind: object) -> None:
    with pytest.raises(OverflowError):
        parse(text, 0, kind)  # type: ignore[arg-type]


@given(st.text(max_size=6))
def test_booleans_are_told_by_their_first_letters(text: str) -> None:
    try:
        assert parse_bool(text.encode()) == (text[0].lower() in "yt1" or text[:2].lower() == "on")
    except ValueError:
        assert text[:1].lower() not in set("ytnf10")


def test_a_refused_number_leaves_the_result_alone(guest: Guest) -> None:
    result = guest.words(7, size=4)
    assert guest.call_int("kstrtoint", b"text", 0, result) == -22
    assert guest.call_int("kstrtoint", b"2147483648", 0, result) == -34
    assert guest.kernel.memory.u32(result) == 7
    assert guest.call_int("kstrtoint", b"-5\n", 0, result) == 0
    assert guest.kernel.memory.s32(result) == -5
