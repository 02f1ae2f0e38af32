"""Arithmetic: lib/math/, lib/clz_ctz.c, include/linux/math64.h."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.math import best_rational

MOST = (1 << 64) - 1


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("int_sqrt", (0,), 0),
        ("int_sqrt", (15,), 3),
        ("int_sqrt", (16,), 4),
        ("int_sqrt64", (MOST,), (1 << 32) - 1),
        ("int_pow", (0, 0), 1),
        ("int_pow", (3, 5), 243),
        ("int_pow", (10, 20), 10**20 % (1 << 64)),  # the product wraps
        ("gcd", (12, 18), 6),
        ("gcd", (0, 7), 7),
        ("gcd", (7, 0), 7),
        ("gcd", (0, 0), 0),
        ("lcm", (4, 6), 12),
        ("lcm", (0, 6), 0),
        ("lcm_not_zero", (0, 6), 6),
        ("lcm_not_zero", (6, 0), 6),
        ("mul_u64_u64_div_u64", (6, 7, 5), 8),
        ("mul_u64_u64_div_u64", (MOST, MOST, MOST), MOST),  # the product has 128 bits
        ("mul_u64_u64_div_u64", (1 << 63, 6, 4), 3 << 62),
        ("__clzdi2", (1,), 63),
        ("__clzdi2", (1 << 63,), 0),
    ],
)
def test_results(guest: Guest, name: str, arguments: tuple[int, ...], result: int) -> None:
    assert guest.call(name, *arguments) & MOST == result


@pytest.mark.parametrize(
    ("name", "arguments"), [("mul_u64_u64_div_u64", (1, 1, 0)), ("reciprocal_value", (0,))]
)
def test_a_division_by_0_ends_in_an_oops(guest: Guest, name: str, arguments: tuple[int, ...]) -> None:
    assert guest.oops(name, *arguments)[0].startswith("divide error: 0000")


def test_a_quotient_and_its_remainder(guest: Guest) -> None:
    remainder = guest.words(0)
    assert guest.call("iter_div_u64_rem", 3 * 10**9 + 5, 10**9, remainder) == 3
    assert guest.kernel.memory.u64(remainder) == 5


@pytest.mark.parametrize("divisor", [1, 2, 3, 10, 641, (1 << 31) + 1, (1 << 32) - 1])
@pytest.mark.parametrize("number", [0, 1, 9, 641 * 1000 - 1, (1 << 32) - 1])
def test_a_reciprocal_divides_exactly(guest: Guest, divisor: int, number: int) -> None:
    """reciprocal_divide() in include/linux/reciprocal_div.h."""
    packed = guest.call("reciprocal_value", divisor)
    multiplier, shift1, shift2 = packed & 0xFFFF_FFFF, packed >> 32 & 0xFF, packed >> 40 & 0xFF
    high = number * multiplier >> 32
    assert high + ((number - high) >> shift1) >> shift2 == number // divisor


def test_the_fraction_is_stored(guest: Guest) -> None:
    best = guest.words(0, 0)
    guest.call("rational_best_approximation", 314159265, 10**8, 1000, 200, best, best + 8)
    assert [guest.kernel.memory.u64(best + at) for at in (0, 8)] == [355, 113]


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 50))
def test_the_best_rational_is_no_worse_than_any_other(n: int, d: int, limit: int) -> None:
    best_n, best_d = best_rational(n, d, 10**9, limit)
    found = abs(Fraction(best_n, best_d) - Fraction(n, d))
    assert math.gcd(best_n, best_d) == 1
    assert found <= min(abs(Fraction(round(n * q / d), q) - Fraction(n, d)) for q in range(1, limit + 1))
