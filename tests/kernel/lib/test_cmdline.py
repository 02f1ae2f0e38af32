"""Arguments and option strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.cmdline import parse_memory, parse_options
from ukmod.kmod.nextarg import next_arg


@pytest.mark.parametrize(
    ("line", "name", "value", "rest"),
    [
        (b"a=1 b=2", b"a", b"1", b"b=2"),
        (b"flag  rest", b"flag", None, b"rest"),
        (b'names=a,"b c" x', b"names", b'a,"b c"', b"x"),
        (b'text="two words" x', b"text", b"two words", b"x"),
        (b'"text=two words" x', b"text", b"two words", b"x"),
        (b'text="never closed x=1', b"text", b"never closed x=1", b""),
        (b"a==b", b"a", b"=b", b""),
        (b"=1", b"=1", None, b""),
        (b"a=", b"a", b"", b""),
        (b'"a b"', b"a b", None, b""),
    ],
)
def test_next_arg(line: bytes, name: bytes, value: bytes | None, rest: bytes) -> None:
    arg = next_arg(line)
    assert (arg.name, arg.value, arg.rest) == (name, value, rest)


@given(st.binary(min_size=1, max_size=30).filter(lambda line: b"\0" not in line))
def test_next_arg_always_gets_on(line: bytes) -> None:
    assert len(next_arg(line).rest) < len(line)


def test_next_arg_cuts_the_guests_line_up_as_the_values_do(guest: Guest) -> None:
    line = guest.put(b'text="two words" x=1')
    name, value = guest.words(0), guest.words(0)
    rest = guest.call("next_arg", line, name, value) & (1 << 64) - 1
    u64 = guest.kernel.memory.u64
    assert [guest.string(at) for at in (u64(name), u64(value), rest)] == [b"text", b"two words", b"x=1"]


@pytest.mark.parametrize(
    ("text", "value", "length"), [(b"64K", 65536, 3), (b"0x10M,", 16 << 20, 5), (b"7", 7, 1), (b"x", 0, 0)]
)
def test_memparse(text: bytes, value: int, length: int) -> None:
    assert parse_memory(text) == (value, length)


@pytest.mark.parametrize(
    ("text", "room", "stored", "count"),
    [
        (b"1,2,3", 9, [1, 2, 3], 3),
        (b"1-4,9", 9, [1, 2, 3, 4, 9], 5),
        (b"-3,0x10", 9, [-3, 16], 2),
        (b"5-5", 9, [5], 1),
        (b"1,2,3", 2, [1, 2], 2),
        (b"1-100", 3, [1, 2, 3], 99),  # all but the end of the range, which would be next
        (b"5-3", 9, [5], 0),
        (b"1-4,9", None, [], 5),
        (b"", 9, [], 0),
    ],
)
def test_get_options(text: bytes, room: int | None, stored: list[int], count: int) -> None:
    options = parse_options(text, room)
    assert (options.stored, options.count) == (stored, count)
