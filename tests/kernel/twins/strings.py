"""Strings and memory: lib/string.c, lib/string_helpers.c."""

from __future__ import annotations

from tests.kernel.twins.twin import Dice, Twin, Words, word, words


def text(dice: Dice, most: int = 12) -> bytes:
    """A string with what string functions treat in special ways: capitals, spaces, Latin-1."""
    return word(dice, b"abAB. \t\n\xe9\xc9", most)


def escapes(dice: Dice) -> bytes:
    """Backslashes, and what means something behind one."""
    tokens = [b"\\", *(bytes([letter]) for letter in b'nrtvfaexg"01378'), b"\\x", b"\\x4", b"\\7"]
    return b"".join(dice.choice(tokens) for _ in range(dice.randrange(10))) + b"\0"


def names(dice: Dice) -> Words:
    """An array of strings, which NULL ends; so may the number of them."""
    return words(*(word(dice, b"ab\n", 3) for _ in range(dice.randrange(5))), 0)


LETTERS = (0, ord("a"), ord("A"), 0xE9, 0x161, 0xFFFF_FFE9)
"""As an ``int``, of which the low byte counts."""
EMPTY = bytes(8)
ROOM = b"q" * 48
LISTS: tuple[int | bytes, ...] = (0, b"\0", b"\n\\ab\0", b"\xff\x01\0")
COUNTS = (0, 1, 2, 3, (1 << 31) - 1, 1 << 31, 0xC000_0000, 0xFFFF_FFFF)
BASES = (0, 2, 7, 8, 10, 16)

STRINGS = [
    *(Twin(name, "int", lambda d: (text(d, 4), text(d, 4))) for name in ("strcmp", "strcasecmp")),
    *(
        Twin(name, "int", lambda d: (text(d, 4), text(d, 4), d.choice([0, 1, 2, 3, 9])))
        for name in ("strncmp", "strncasecmp")
    ),
    Twin("bcmp", "bool", lambda d: (
        word(d, b"a\xff", 4).ljust(8), word(d, b"a\xff", 4).ljust(8), d.randrange(6))),
    Twin("memcmp", "int", lambda d: (
        word(d, b"a\xff", 4).ljust(8), word(d, b"a\xff", 4).ljust(8), d.randrange(6))),
    Twin("sysfs_streq", "bool", lambda d: (word(d, b"a\n", 3), word(d, b"a\n", 3))),
    *(
        Twin(name, "int", lambda d: (names(d), d.randrange(5), word(d, b"ab\n", 3)))
        for name in ("match_string", "__sysfs_match_string")
    ),
    *(
        Twin(name, "void *", lambda d: (text(d), d.choice(LETTERS)))
        for name in ("strchr", "strrchr", "strchrnul")
    ),
    Twin("strnchr", "void *", lambda d: (text(d), d.randrange(14), d.choice(LETTERS))),
    *(
        Twin(name, "unsigned long", lambda d: (text(d), text(d, 3)))
        for name in ("strstr", "strspn", "strcspn", "strpbrk")
    ),
    Twin("strnstr", "void *", lambda d: (
        (text(d) + text(d)).ljust(16), text(d, d.choice([1, 1, 3])), d.randrange(17)), 120),
    Twin("strlen", "unsigned long", lambda d: (text(d),)),
    Twin("strnlen", "unsigned long", lambda d: (text(d), d.randrange(14))),
    Twin("strcpy", "void *", lambda d: (ROOM, text(d))),
    Twin("stpcpy", "void *", lambda d: (ROOM, text(d))),
    *(
        Twin(name, "long", lambda d: (ROOM, text(d, 24), d.randrange(26)))
        for name in ("strncpy", "strlcpy", "strscpy", "strscpy_pad")
    ),
    Twin("sized_strscpy", "long", lambda d: (ROOM, text(d, 24), d.randrange(26)), native="strscpy"),
    Twin("strcat", "void *", lambda d: (text(d).ljust(40, b"q"), text(d))),
    Twin("strncat", "void *", lambda d: (text(d).ljust(40, b"q"), text(d), d.randrange(14))),
    Twin("strlcat", "unsigned long", lambda d: (text(d).ljust(40, b"q"), text(d), d.randrange(13, 30))),
    Twin("strsep", "void *", lambda d: (words(text(d)), d.choice([b" \0", b".a\0", b"\0", b"z\0"]))),
    Twin("strreplace", "void *", lambda d: (text(d), d.choice(LETTERS[1:4]), d.choice([0, ord("b")]))),
    Twin("strim", "void *", lambda d: (text(d),)),
    Twin("skip_spaces", "void *", lambda d: (word(d, b" \t\v\f\r\xa0\x85a", 5),)),
    Twin("memchr", "void *", lambda d: (d.randbytes(20), d.randrange(256), d.randrange(21))),
    Twin("memscan", "void *", lambda d: (d.randbytes(20), d.randrange(256), d.randrange(21))),
    Twin("memchr_inv", "void *", lambda d: (
        b"a" * d.randrange(40) + word(d, b"ab", 40) + b"a" * 80, ord(d.choice("ab")), d.randrange(80))),
    *(
        Twin(name, "void *", lambda d: (ROOM, d.getrandbits(9), d.randrange(49)))
        for name in ("memset", "__memset")
    ),
    *(
        Twin(name, "void *", lambda d: (d.randbytes(48), d.randbytes(48), d.randrange(49)))
        for name in ("memmove", "__memmove", "memcpy", "__memcpy")
    ),
    Twin("memcpy_and_pad", "void", lambda d: (
        ROOM, d.randrange(25), d.randbytes(24), d.randrange(25), d.randrange(256))),
    Twin("string_escape_mem", "int", lambda d: (
        word(d, bytes(range(256)) + b'\n\r\t\v\f\\\a\x1b"\0' * 9, 10).ljust(11), d.randrange(12), ROOM,
        d.randrange(49), d.getrandbits(9), LISTS[d.randrange(4)],
    ), 200),
    Twin("string_unescape", "int", lambda d: (
        escapes(d), ROOM, d.choice([0, 1, 2, 3, 5, 30]), d.getrandbits(4)), 200),
]  # fmt: skip
