"""Arithmetic functions that compilers or modules call: lib/math/."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.watchdog import deadlock
from ukmod.kernel.x86.traps import divide_error
from ukmod.machine.abi import Long, Ptr, UInt, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@export("int_sqrt", "int_sqrt64", native=True)
def int_sqrt(k: Core, value: ULong) -> ULong:
    """``unsigned long int_sqrt(unsigned long x)``: rounded down."""
    del k
    return math.isqrt(value)


@export(gpl=True, native=True)
def int_pow(k: Core, base: ULong, exponent: UInt) -> ULong:
    """``u64 int_pow(u64 base, unsigned int exp)``."""
    del k
    return pow(base, exponent, 1 << 64)


@export(gpl=True, native=True)
def gcd(k: Core, a: ULong, b: ULong) -> ULong:
    """``unsigned long gcd(unsigned long a, unsigned long b)``."""
    del k
    return math.gcd(a, b)


@export(gpl=True, native=True)
def lcm(k: Core, a: ULong, b: ULong) -> ULong:
    """``unsigned long lcm(unsigned long a, unsigned long b)``: 0 if either is 0."""
    del k
    return math.lcm(a, b)


@export(gpl=True, native=True)
def lcm_not_zero(k: Core, a: ULong, b: ULong) -> ULong:
    """``unsigned long lcm_not_zero(unsigned long a, unsigned long b)``: if one is 0, the other."""
    del k
    return math.lcm(a, b) or b or a


@export(native=True)
def iter_div_u64_rem(k: Core, dividend: ULong, divisor: UInt, remainder: Ptr) -> UInt:
    """``u32 iter_div_u64_rem(u64 dividend, u32 divisor, u64 *remainder)``."""
    if not divisor:
        deadlock(k)  # the kernel subtracts until the rest is less than the divisor
    quotient, rest = divmod(dividend, divisor)
    k.memory.set_u64(remainder, rest)
    return quotient


@export(native=True)
def mul_u64_u64_div_u64(k: Core, a: ULong, b: ULong, divisor: ULong) -> ULong:
    """``u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)``, with a product of 128 bits."""
    if not divisor:
        divide_error(k)
    return a * b // divisor


@export(native=True)
def rational_best_approximation(
    k: Core, numerator: ULong, denominator: ULong, most_n: ULong, most_d: ULong, best_n: Ptr, best_d: Ptr
) -> None:
    """``void rational_best_approximation(n, d, max_n, max_d, unsigned long *best_n, *best_d)``."""
    n, d = best_rational(numerator, denominator, most_n, most_d)
    k.memory.set_u64(best_n, n)
    k.memory.set_u64(best_d, d)


def best_rational(numerator: int, denominator: int, most_n: int, most_d: int) -> tuple[int, int]:
    """The fraction within the limits that is nearest to a given one, by continued fractions."""
    n, d = numerator, denominator
    n0, d0, n1, d1 = 0, 1, 1, 0
    while d:
        previous, a = d, n // d
        n, d = d, n % d
        n2, d2 = n0 + a * n1, d0 + a * d1
        if n2 > most_n or d2 > most_d:
            # The last term may be reduced until it fits, if the result is then nearer than the previous
            # convergent.
            t = (most_d - d0) // d1 if d1 else (1 << 64) - 1
            if n1:
                t = min(t, (most_n - n0) // n1)
            if not d1 or 2 * t > a or (2 * t == a and d0 * previous > d1 * d):
                n1, d1 = n0 + t * n1, d0 + t * d1
            break
        n0, n1, d0, d1 = n1, n2, d1, d2
    return n1, d1


@export(native=True)
def reciprocal_value(k: Core, divisor: UInt) -> ULong:
    """``struct reciprocal_value reciprocal_value(u32 d)``, in eight bytes: m, then sh1 and sh2."""
    if not divisor:
        divide_error(k)
    length = (divisor - 1).bit_length()
    magic = ((1 << 32) * ((1 << length) - divisor) // divisor + 1) & 0xFFFF_FFFF
    return magic | min(length, 1) << 32 | max(length - 1, 0) << 40


@export("__clzdi2", native=True)
def count_leading_zeros(k: Core, value: Long) -> UInt:
    """``int __clzdi2(u64 val)``."""
    del k
    return 64 - (value & (1 << 64) - 1).bit_length()
