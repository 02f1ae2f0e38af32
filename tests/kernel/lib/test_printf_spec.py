"""Formats taken apart, and numbers in them, as lib/vsprintf.c has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.kernel.lib.printf_spec import LEFT, PRECISION_MAX, SIGN, FormatType, Spec, number, parse, signed


def _one(fmt: bytes) -> Spec:
    (spec,) = parse(fmt)
    assert isinstance(spec, Spec)
    return spec


def test_text_and_conversions_alternate() -> None:
    text, spec, rest = parse(b"eth%d up")
    assert (text, rest) == (b"eth", b" up")
    assert isinstance(spec, Spec)
    assert (spec.kind, spec.flags, spec.size) == (FormatType.NUMBER, SIGN, 4)


@pytest.mark.parametrize(
    ("fmt", "size"),
    [(b"%hhu", 1), (b"%hu", 2), (b"%u", 4), (b"%lu", 8), (b"%llu", 8), (b"%Lu", 8), (b"%zu", 8), (b"%tu", 8)],
)
def test_the_qualifier_says_how_large_the_argument_is(fmt: bytes, size: int) -> None:
    assert _one(fmt).size == size


def test_letters_after_p_belong_to_it() -> None:
    spec, dash = parse(b"%pI4-")
    assert isinstance(spec, Spec)
    assert (spec.extension, dash) == (b"I4", b"-")


@pytest.mark.parametrize("fmt", [b"%y", b"%", b"%5", b"%l", b"%n", b"%ld%q"])
def test_what_is_no_conversion_ends_the_format(fmt: bytes) -> None:
    last = parse(fmt + b" never seen")[-1] if fmt != b"%" else parse(fmt)[-1]
    assert isinstance(last, Spec)
    # "%5 never" is a width followed by a space, which is no conversion either.
    assert last.kind is FormatType.INVALID


def test_a_negative_width_argument_means_left_justified() -> None:
    spec = _one(b"%*d").with_width(-6)
    assert (spec.width, spec.flags & LEFT) == (6, LEFT)


def test_a_negative_precision_argument_counts_as_zero() -> None:
    assert _one(b"%.*s").with_precision(-1).precision == 0
    assert _one(b"%.*s").with_precision(1 << 20).precision == PRECISION_MAX


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 30),
    st.sampled_from(["", "-", "0", "+", " ", "-+", "0+"]),
)
def test_decimal_numbers_are_those_of_c(value: int, width: int, flags: str) -> None:
    assert (
        number(value, _one(f"%{flags}{width or ''}lld".encode()))
        == f"%{flags}{width or ''}d".encode() % value
    )


@given(st.integers(0, 2**64 - 1), st.sampled_from(["%#llx", "%llX", "%020llx", "%-20llx|", "%llo"]))
def test_unsigned_numbers_are_those_of_c(value: int, fmt: str) -> None:
    spec = parse(fmt.encode())[0]
    assert isinstance(spec, Spec)
    assert number(value, spec) == (fmt.replace("ll", "").rstrip("|") % value).encode()


@given(st.binary(max_size=40))
def test_any_bytes_are_a_format(fmt: bytes) -> None:
    pieces = parse(fmt)
    assert all(isinstance(piece, bytes | Spec) for piece in pieces)


@given(st.integers(-(2**31), 2**31 - 1))
def test_signed_undoes_twos_complement(value: int) -> None:
    assert signed(value & 0xFFFF_FFFF, 4) == value
