"""lib/string.c and lib/string_helpers.c as modules call them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.ctype import CTYPE, DIGIT, HEX, SPACE
from ukmod.kernel.lib.escape import ESCAPE_ANY, ESCAPE_ANY_NP, ESCAPE_HEX, escape, unescape
from ukmod.kernel.lib.string_helpers import size_text
from ukmod.kernel.mm.gfp import GFP_KERNEL
from ukmod.machine.registers import MASK64


def test_strscpy_tells_when_it_cuts(guest: Guest) -> None:
    buffer = guest.put(b"", room=8)
    assert guest.call("strscpy", buffer, b"123456789", 8) == -7
    assert guest.string(buffer) == b"1234567"
    assert guest.call("strscpy", buffer, b"123", 8) == 3
    assert guest.call("strscpy", buffer, b"123", 0) == -7


def test_strscpy_clears_the_word_the_string_ends_in(guest: Guest) -> None:
    buffer, text = guest.put(b"z" * 16), guest.put(b"123")
    guest.call("strscpy", buffer, text, 12)
    assert guest.kernel.memory.read(buffer, 10) == b"123\0\0\0\0\0zz"
    guest.call("strscpy", buffer + 8, text, 7)
    assert guest.kernel.memory.read(buffer + 8, 8) == b"123\0zzzz"


def test_strncpy_fills_up_and_may_leave_out_the_nul(guest: Guest) -> None:
    buffer = guest.put(b"zzzzzzzz")
    guest.call("strncpy", buffer, b"ab", 4)
    assert guest.kernel.memory.read(buffer, 6) == b"ab\0\0zz"
    guest.call("strncpy", buffer, b"abcdef", 4)
    assert guest.kernel.memory.read(buffer, 6) == b"abcdzz"


def test_strsep_gives_empty_tokens(guest: Guest) -> None:
    line = guest.words(guest.put(b"one,two,,three"))
    tokens = []
    while token := guest.call("strsep", line, b","):
        tokens.append(guest.string(token & (1 << 64) - 1))
    assert tokens == [b"one", b"two", b"", b"three"]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("strcmp", (b"a", b"b"), -1),
        ("strcmp", (b"b", b"a"), 1),
        ("strncmp", (b"abc", b"abd", 2), 0),
        ("strcasecmp", (b"ABC", b"abd"), -1),
        ("strncasecmp", (b"ABC", b"abd", 2), 0),
        ("strncasecmp", (b"A", b"", 2), ord("A")),
        ("strcasecmp", (b"\xc9", b"\xe9"), 0),
        ("memcmp", (b"ac", b"ab", 2), 1),
        ("sysfs_streq", (b"on\n", b"on"), 1),
        ("sysfs_streq", (b"on\n\n", b"on"), 0),
        ("hex_to_bin", (ord("C"),), 12),
        ("hex_to_bin", (ord("g"),), -1),
        ("strnlen", (b"abc", 2), 2),
        ("strspn", (b"aabc", b"ab"), 3),
        ("strcspn", (b"aabc", b"c"), 3),
    ],
)
def test_comparing_and_counting(
    guest: Guest, name: str, arguments: tuple[int | bytes, ...], expected: int
) -> None:
    assert guest.call_int(name, *arguments) == expected


@pytest.mark.parametrize(
    ("name", "text", "arguments", "offset"),
    [
        ("strchr", b"a/b/c", (ord("/"),), 1),
        ("strchr", b"abc", (0,), 3),
        ("strrchr", b"a/b/c", (ord("/"),), 3),
        ("strnchr", b"abc", (2, ord("c")), None),
        ("strchrnul", b"abc", (ord("x"),), 3),
        ("strstr", b"a needle", (b"need",), 2),
        ("strpbrk", b"abc", (b"cb",), 1),
        ("memchr_inv", b"aaab", (ord("a"), 4), 3),
        ("memchr_inv", b"aaaa", (ord("a"), 4), None),
        ("skip_spaces", b" \t x", (), 3),
    ],
)
def test_searching(
    guest: Guest, name: str, text: bytes, arguments: tuple[int | bytes, ...], offset: int | None
) -> None:
    at = guest.put(text)
    found = guest.call(name, at, *arguments) & (1 << 64) - 1
    assert found == (0 if offset is None else at + offset)


def test_strim_cuts_the_end_in_place(guest: Guest) -> None:
    text = guest.put(b"  trim\t\n")
    assert guest.string(guest.call("strim", text) & (1 << 64) - 1) == b"trim"
    assert guest.string(text) == b"  trim"


def test_memmove_of_ranges_that_overlap(guest: Guest) -> None:
    text = guest.put(b"abcdef")
    guest.call("memmove", text + 2, text, 4)
    assert guest.string(text) == b"ababcd"


def test_kstrdup_of_null_is_null(guest: Guest) -> None:
    assert guest.call("kstrdup", 0, 0xCC0) == 0
    assert guest.string(guest.call("kstrdup", b"text", 0xCC0) & (1 << 64) - 1) == b"text"


def test_hexadecimal_and_back(guest: Guest) -> None:
    text, data = guest.put(b"", room=16), guest.put(b"", room=16)
    end = guest.call("bin2hex", text, b"\x01\xfe", 2) & (1 << 64) - 1
    assert (guest.string(text), end) == (b"01fe", text + 4)
    assert guest.call_int("hex2bin", data, text, 2) == 0
    assert guest.kernel.memory.read(data, 2) == b"\x01\xfe"
    assert guest.call_int("hex2bin", data, b"0x", 1) == -22


@given(st.binary(max_size=50))
def test_escapes_can_be_undone(data: bytes) -> None:
    assert unescape(escape(data, ESCAPE_ANY), 0xF) == data
    assert unescape(escape(data, ESCAPE_HEX), 0xF) == data
    assert escape(data, ESCAPE_ANY_NP).isascii() or any(byte >= 0xA0 for byte in data)


@pytest.mark.parametrize(
    ("text", "room", "plain"),
    [
        (rb"a\nb", 0, b"a\nb"),
        (rb"\101\777", 0, b"A\x3f7"),  # an octal escape ends before it exceeds a byte
        (rb"\x41\xg", 0, rb"A\xg"),
        (rb"\z\\", 0, b"\\z\\"),
        (rb"\n\n\n", 6, b"\n\n\\"),  # room for two escapes, and for what begins the third
        (b"tail\\", 0, b"tail\\"),
    ],
)
def test_unescape(text: bytes, room: int, plain: bytes) -> None:
    assert unescape(text, 0xF, room) == plain


@pytest.mark.parametrize(
    ("size", "binary", "text"),
    [
        (0, True, "0 B"),
        (512, True, "512 B"),
        (8192, True, "8.00 KiB"),
        (8192, False, "8.19 kB"),
        (32157286400, True, "29.9 GiB"),
        (1999999, False, "2.00 MB"),
    ],
)
def test_sizes_in_three_digits(size: int, binary: bool, text: str) -> None:
    assert size_text(size, binary=binary) == text


@pytest.mark.parametrize(
    ("units", "text"),
    [(0, b"8.19 kB"), (1, b"8.00 KiB"), (1 | 1 << 30, b"8.00KiB"), (1 | 3 << 30, b"8.00Ki")],
)
def test_what_is_left_out_of_a_size(guest: Guest, units: int, text: bytes) -> None:
    buffer = guest.put(b"", room=16)
    assert guest.call_int("string_get_size", 16, 512, units, buffer, 16) == len(text)
    assert guest.string(buffer) == text


def test_the_table_behind_isdigit() -> None:
    assert {byte for byte in range(256) if CTYPE[byte] & DIGIT} == set(b"0123456789")
    assert {byte for byte in range(256) if CTYPE[byte] & (DIGIT | HEX)} == set(b"0123456789abcdefABCDEF")
    assert {byte for byte in range(256) if CTYPE[byte] & SPACE} == set(b" \t\n\v\f\r\xa0")


class TestMemory:
    @pytest.mark.parametrize(("name", "size"), [("memset16", 2), ("memset32", 4), ("memset64", 8)])
    def test_patterns_are_counted_in_patterns(self, guest: Guest, name: str, size: int) -> None:
        """At an address that no pattern is aligned to, across a page."""
        room, pattern = guest.put(b"q" * 9000), 0x0807_0605_0403_0201
        at, count = room + 1, 6000 // size
        assert guest.call(name, at, pattern, count) & MASK64 == at
        filled = pattern.to_bytes(8, "little")[:size] * count
        assert guest.kernel.memory.read(room, len(filled) + 2) == b"q" + filled + b"q"

    @pytest.mark.parametrize(
        ("name", "wanted", "other"),
        [
            ("memchr", ord("b"), ord("z")),
            ("memscan", ord("b"), ord("z")),
            ("memchr_inv", ord("a"), 0),
            ("strnstr", b"b", b"z"),
        ],
    )
    def test_a_search_that_has_found_reads_no_further(
        self, guest: Guest, name: str, wanted: int | bytes, other: int | bytes
    ) -> None:
        """The length says what may be searched, not what is there."""
        area = guest.put(bytes(7) if other == 0 else b"aab")
        found = guest.put(b"aab")
        assert guest.call(name, found, wanted, 1 << 40) & MASK64 == found + 2
        assert not guest.kernel.reports
        guest.call(name, area, other, 16)
        assert [report.kind for report in guest.kernel.reports] == ["slab-out-of-bounds"]

    def test_a_comparison_that_is_decided_reads_no_further(self, guest: Guest) -> None:
        a, b = guest.put(b"aab"), guest.put(b"aac")
        assert guest.call_int("memcmp", a, b, 1 << 40) < 0
        assert not guest.kernel.reports
        guest.call_int("memcmp", a, a, 16)
        assert [report.kind for report in guest.kernel.reports] == ["slab-out-of-bounds"]

    @pytest.mark.parametrize("offset", [4090, 4091, 4092, 4093, 4094])
    def test_what_is_searched_may_cross_a_page(self, guest: Guest, offset: int) -> None:
        area = guest.put(b"n" * offset + b"needle" + b"n" * 99)
        assert guest.call("strnstr", area, b"needle", 4200) & MASK64 == area + offset
        assert guest.call("memchr_inv", area, ord("n"), 4200) & MASK64 == area + offset + 1

    def test_strnstr_finds_what_a_nul_precedes(self, guest: Guest) -> None:
        """lib/string.c: the length alone limits it, and all of the match has to lie within."""
        area = guest.put(b"a\0needle")
        assert guest.call("strnstr", area, b"needle", 8) & MASK64 == area + 2
        assert guest.call("strnstr", area, b"needle", 7) == 0
        assert guest.call("strnstr", area, b"", 0) & MASK64 == area


class TestCopies:
    """mm/util.c: copies in memory of their own, which the caller frees."""

    @pytest.mark.parametrize("name", ["kmemdup", "kmemdup_noprof"])
    def test_bytes_are_copied_as_they_are(self, guest: Guest, name: str) -> None:
        copy = guest.call(name, b"a\0b", 3, GFP_KERNEL) & MASK64
        assert guest.kernel.memory.read(copy, 3) == b"a\0b"
        assert guest.kernel.slab.ksize(copy) == 8, "three bytes were asked for"

    def test_a_nul_is_put_behind_bytes(self, guest: Guest) -> None:
        text = guest.put(b"abcdef")
        copy = guest.call("kmemdup_nul", text, 3, GFP_KERNEL) & MASK64
        assert guest.string(copy) == b"abc"

    @pytest.mark.parametrize("name", ["kstrdup", "kstrdup_const"])
    def test_a_copy_is_of_its_own(self, guest: Guest, name: str) -> None:
        text = guest.put(b"text")
        copy = guest.call(name, text, GFP_KERNEL) & MASK64
        guest.kernel.memory.write(text, b"next")
        assert guest.string(copy) == b"text"
        guest.call("kfree_const", copy)
        assert not guest.kernel.reports

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [("kstrdup", ()), ("kstrdup_const", ()), ("kstrndup", (3,)), ("kmemdup_nul", (3,))],
    )
    def test_a_copy_of_null_is_null(self, guest: Guest, name: str, arguments: tuple[int, ...]) -> None:
        assert guest.call(name, 0, *arguments, GFP_KERNEL) == 0


class TestFortified:
    """Checks that a compiler builds in: CONFIG_FORTIFY_SOURCE."""

    def test_an_overflow_is_named_after_the_function_that_was_called(self, guest: Guest) -> None:
        lines = guest.oops("fortify_panic", b"memcpy")
        assert lines[0] == "detected buffer overflow in memcpy"
        assert any(line.startswith("kernel BUG at lib/string_helpers.c:") for line in lines)

    def test_strlcat_to_a_buffer_that_is_full_already_is_a_bug(self, guest: Guest) -> None:
        buffer = guest.put(b"abcd")
        assert "kernel BUG at lib/string.c:337!" in guest.oops("strlcat", buffer, b"x", 4)

    @pytest.mark.parametrize("size", [-1, 1 << 31])
    def test_strscpy_refuses_a_size_that_looks_negative(self, guest: Guest, size: int) -> None:
        buffer = guest.put(b"abcd")
        assert guest.call("strscpy", buffer, b"x", size) == -7
        assert guest.string(buffer) == b"abcd"
        assert [w.file for w in guest.kernel.warnings] == ["lib/string.c"]
