"""String and number functions: the image's own and those in Python give the same, on arguments at random.

Results, pointers, and what the arguments hold afterwards are compared. Those in Python are mostly one of
Python's own functions, so that both are checked.
"""

from __future__ import annotations

import fnmatch
import random
import struct

import pytest
from tests.kernel.image.computing import Dice, Image, Ref, Run, Twin, differences, number, word

pytestmark = pytest.mark.real


def text(dice: Dice, most: int = 12) -> bytes:
    """A string with what string functions treat in special ways: capitals, spaces, Latin-1."""
    return word(dice, b"abAB. \t\n\xe9\xc9", most)


def options(dice: Dice) -> bytes:
    """What get_options() reads."""

    def one() -> bytes:
        spans = [b"%d-%d" % (dice.randrange(20), dice.randrange(30)), b"%d" % dice.randrange(-9, 9)]
        return dice.choice([*spans, number(dice)[:-1]])

    return b",".join(one() for _ in range(dice.randrange(5))) + b"\0"


def escapes(dice: Dice) -> bytes:
    """Backslashes, and what means something behind one."""
    tokens = [b"\\", *(bytes([letter]) for letter in b'nrtvfaexg"01378'), b"\\x", b"\\x4", b"\\7"]
    return b"".join(dice.choice(tokens) for _ in range(dice.randrange(10))) + b"\0"


def uuid(dice: Dice) -> bytes:
    fields = (8, 4, 4, 4, 12)
    good = "-".join(f"{dice.getrandbits(4 * size):0{size}x}" for size in fields).encode() + b"\0"
    return dice.choice(
        [good, good.upper(), good.replace(b"0", b"g"), word(dice, b"0123abcdef-", 40).ljust(40)]
    )


LETTERS = (0, ord("a"), ord("A"), 0xE9, 0x161, 0xFFFF_FFE9)
"""As an ``int``, of which the low byte counts."""
EMPTY = bytes(8)
ROOM = b"q" * 48
LISTS: tuple[int | bytes, ...] = (0, b"\0", b"\n\\ab\0", b"\xff\x01\0")
COUNTS = (0, 1, 2, 3, (1 << 31) - 1, 1 << 31, 0xC000_0000, 0xFFFF_FFFF)
BASES = (0, 2, 7, 8, 10, 16)

NUMBERS = [
    *(
        Twin(name, "int", lambda d: (number(d), d.choice(BASES), EMPTY))
        for name in (
            "kstrtoull", "kstrtoll", "_kstrtoul", "_kstrtol", "kstrtouint", "kstrtoint", "kstrtou16",
            "kstrtos16", "kstrtou8", "kstrtos8",
        )
    ),
    *(
        Twin(name, "unsigned long", lambda d: (number(d), EMPTY, d.choice(BASES)))
        for name in ("simple_strtoull", "simple_strtoul", "simple_strtoll", "simple_strtol")
    ),
    Twin("memparse", "unsigned long", lambda d: (number(d), EMPTY)),
    Twin("kstrtobool", "int", lambda d: (word(d, b"yYnN10oOtTfFxn\0 ", 4), EMPTY)),
    Twin("get_option", "int", lambda d: (Ref(number(d)), EMPTY)),
    Twin("get_options", "void *", lambda d: (options(d), d.choice([0, 1, 2, 5, 10]), bytes(48))),
    Twin("next_arg", "void *", lambda d: (word(d, b"ab=\"= \t'x", 13) + bytes(2), EMPTY, EMPTY)),
    Twin("hex_to_bin", "int", lambda d: (d.randrange(256),)),
    Twin("hex2bin", "int", lambda d: (
        EMPTY, word(d, b"0123456789abcdefABCDEFgG", 15).ljust(16), d.randrange(9))),
    Twin("bin2hex", "void *", lambda d: (bytes(32), d.randbytes(16), d.randrange(17))),
    Twin("string_get_size", "void", lambda d: (
        d.getrandbits(d.randrange(1, 64)), d.choice([0, 1, 512, 1000, 4096, d.getrandbits(20)]),
        d.randrange(2), ROOM, d.choice([0, 1, 5, 20]),
    )),
    Twin("hex_dump_to_buffer", "int", lambda d: (
        d.randbytes(40), d.randrange(41), d.choice([8, 16, 32]), d.choice([1, 2, 3, 4, 8]), b"q" * 140,
        d.choice([0, 140, d.randrange(140)]), d.randrange(2),
    )),
    Twin("int_sqrt", "unsigned long", lambda d: (d.getrandbits(d.randrange(65)),)),
    Twin("int_pow", "unsigned long", lambda d: (d.randrange(20), d.randrange(20))),
    *(
        Twin(name, "unsigned long", lambda d: (d.getrandbits(d.randrange(33)), d.getrandbits(9)))
        for name in ("gcd", "lcm", "lcm_not_zero")
    ),
    Twin("iter_div_u64_rem", "unsigned int", lambda d: (
        d.randrange(10 * (divisor := d.randrange(1, 1 << 32))), divisor, EMPTY)),
    Twin("__clzdi2", "int", lambda d: (d.getrandbits(63) >> d.randrange(63) | 1,)),
    *(
        Twin(name, "bool", lambda d: (d.choice(COUNTS).to_bytes(4, "little"),))
        for name in ("refcount_dec_if_one", "refcount_dec_not_one")
    ),
    Twin("reciprocal_value", "unsigned long", lambda d: (d.randrange(1, 1 << d.randrange(1, 33)),)),
    Twin("rational_best_approximation", "void", lambda d: (
        d.randrange(1, 1 << d.randrange(1, 40)), d.randrange(1, 1 << d.randrange(1, 40)),
        d.randrange(1, 1000), d.randrange(1, 1000), EMPTY, EMPTY,
    )),
    Twin("uuid_parse", "int", lambda d: (uuid(d), bytes(16))),
    Twin("guid_parse", "int", lambda d: (uuid(d), bytes(16))),
    Twin("uuid_is_valid", "bool", lambda d: (uuid(d),)),
    *(
        Twin(name, "unsigned int", lambda d: (d.getrandbits(32), d.randrange(2000)))
        for name in ("crc32_le_shift", "__crc32c_le_shift")
    ),
    *(
        Twin(name, returns, lambda d: (d.getrandbits(64), d.randbytes(50), d.randrange(51)), native=native)
        for name, returns, native in (
            ("crc32_le", "unsigned int", ""),
            ("crc32_be", "unsigned int", ""),
            ("__crc32c_le", "unsigned int", ""),
            ("crc_ccitt", "unsigned short", ""),
            ("crc_ccitt_false", "unsigned short", ""),
            ("crc16", "unsigned short", "crc16:crc16"),
            ("crc_itu_t", "unsigned short", "crc_itu_t:crc_itu_t"),
            ("crc7_be", "unsigned char", "crc7:crc7_be"),
            ("crc64_be", "unsigned long", "crc64:crc64_be"),
            ("crc64_rocksoft_generic", "unsigned long", "crc64:crc64_rocksoft_generic"),
        )
    ),
]  # fmt: skip

STRINGS = [
    *(Twin(name, "int", lambda d: (text(d, 4), text(d, 4))) for name in ("strcmp", "strcasecmp")),
    *(
        Twin(name, "int", lambda d: (text(d, 4), text(d, 4), d.choice([0, 1, 2, 3, 9])))
        for name in ("strncmp", "strncasecmp")
    ),
    Twin("memcmp", "int", lambda d: (
        word(d, b"a\xff", 4).ljust(8), word(d, b"a\xff", 4).ljust(8), d.randrange(6))),
    Twin("sysfs_streq", "bool", lambda d: (word(d, b"a\n", 3), word(d, b"a\n", 3))),
    *(
        Twin(name, "void *", lambda d: (text(d), d.choice(LETTERS)))
        for name in ("strchr", "strrchr", "strchrnul")
    ),
    Twin("strnchr", "void *", lambda d: (text(d), d.randrange(14), d.choice(LETTERS))),
    *(
        Twin(name, "unsigned long", lambda d: (text(d), text(d, 3)))
        for name in ("strstr", "strspn", "strcspn", "strpbrk")
    ),
    Twin("strnstr", "void *", lambda d: (text(d), text(d, 3), d.randrange(14))),
    Twin("strlen", "unsigned long", lambda d: (text(d),)),
    Twin("strnlen", "unsigned long", lambda d: (text(d), d.randrange(14))),
    Twin("strcpy", "void *", lambda d: (ROOM, text(d))),
    Twin("stpcpy", "void *", lambda d: (ROOM, text(d))),
    *(
        Twin(name, "long", lambda d: (ROOM, text(d, 24), d.randrange(26)))
        for name in ("strncpy", "strlcpy", "strscpy", "strscpy_pad")
    ),
    Twin("strcat", "void *", lambda d: (text(d).ljust(40, b"q"), text(d))),
    Twin("strncat", "void *", lambda d: (text(d).ljust(40, b"q"), text(d), d.randrange(14))),
    Twin("strlcat", "unsigned long", lambda d: (text(d).ljust(40, b"q"), text(d), d.randrange(13, 30))),
    Twin("strsep", "void *", lambda d: (Ref(text(d)), d.choice([b" \0", b".a\0", b"\0", b"z\0"]))),
    Twin("strreplace", "void *", lambda d: (text(d), d.choice(LETTERS[1:4]), d.choice([0, ord("b")]))),
    Twin("strim", "void *", lambda d: (text(d),)),
    Twin("skip_spaces", "void *", lambda d: (word(d, b" \t\v\f\r\xa0\x85a", 5),)),
    Twin("memchr", "void *", lambda d: (d.randbytes(20), d.randrange(256), d.randrange(21))),
    Twin("memscan", "void *", lambda d: (d.randbytes(20), d.randrange(256), d.randrange(21))),
    Twin("memchr_inv", "void *", lambda d: (
        b"a" * d.randrange(40) + word(d, b"ab", 40) + b"a" * 80, ord(d.choice("ab")), d.randrange(80))),
    Twin("memset", "void *", lambda d: (ROOM, d.getrandbits(9), d.randrange(49))),
    Twin("memmove", "void *", lambda d: (d.randbytes(48), d.randbytes(48), d.randrange(49))),
    Twin("memcpy_and_pad", "void", lambda d: (
        ROOM, d.randrange(25), d.randbytes(24), d.randrange(25), d.randrange(256))),
    Twin("string_escape_mem", "int", lambda d: (
        word(d, bytes(range(256)) + b'\n\r\t\v\f\\\a\x1b"\0' * 9, 10).ljust(11), d.randrange(12), ROOM,
        d.randrange(49), d.getrandbits(9), LISTS[d.randrange(4)],
    ), 200),
    Twin("string_unescape", "int", lambda d: (
        escapes(d), ROOM, d.choice([0, 1, 2, 3, 5, 30]), d.getrandbits(4)), 200),
]  # fmt: skip


@pytest.mark.parametrize("twin", NUMBERS, ids=str)
def test_numbers(run: Run, twin: Twin) -> None:
    assert differences(run, twin) == []


@pytest.mark.parametrize("twin", STRINGS, ids=str)
def test_strings(run: Run, twin: Twin) -> None:
    assert differences(run, twin) == []


def test_a_difference_would_be_found(run: Run) -> None:
    """strcpy() and strcat() agree where the destination is empty, and only there."""

    def compare(image: Image) -> int:
        return len(
            image.differences("strcpy", [(bytes(9), b"a\0"), (b"b" + bytes(8), b"a\0")], native="strcat")
        )

    assert run(compare) == 1


# -- what only the image has ------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_integers_are_pythons(run: Run, bits: int) -> None:
    """kstrtoX() takes what int() takes and fits."""
    dice = random.Random(bits)
    numbers = [dice.getrandbits(dice.randrange(bits - 2, bits + 3)) * dice.choice([1, -1]) for _ in range(60)]
    name = {8: "kstrtos8", 16: "kstrtos16", 32: "kstrtoint", 64: "kstrtoll"}[bits]

    def parse(image: Image) -> list[list[int]]:
        out = image.put(bytes(8))
        read = image.k.core.memory.uint
        return [
            [image.call(name, b"%d\0" % n, 10, out, returns="int"), read(out, bits // 8)] for n in numbers
        ]

    for number_, (status, stored) in zip(numbers, run(parse), strict=True):
        fits = -(1 << bits - 1) <= number_ < 1 << bits - 1
        assert status == (0 if fits else -34)  # ERANGE
        assert not fits or stored == number_ % (1 << bits)


@pytest.mark.parametrize("algorithm", ["kmp", "bm"])
def test_textsearch(run: Run, algorithm: str) -> None:
    """Knuth-Morris-Pratt's and Boyer-Moore's search, which are modules, find what bytes.find() finds."""
    dice = random.Random(algorithm)
    cases = [(word(dice, b"ab", 5) or b"a", word(dice, b"aab", 60)) for _ in range(40)]
    cases = [(pattern[:-1] or b"ab", text_) for pattern, text_ in cases]

    def search(image: Image) -> list[int]:
        found = []
        for pattern, text_ in cases:
            config = image.call(
                "textsearch_prepare", algorithm.encode() + b"\0", pattern, len(pattern), 0xCC0, 1
            )
            state = image.put(bytes(64))
            at = image.call(
                "textsearch_find_continuous", config, state, text_, len(text_), returns="unsigned int"
            )
            found.append(at if at != 0xFFFF_FFFF else -1)
        return found

    assert run(search) == [text_.find(pattern) for pattern, text_ in cases]


def test_glob_match_is_fnmatch(run: Run) -> None:
    dice = random.Random(1)
    cases = [(word(dice, b"ab*?*", 5), word(dice, b"ab", 6)) for _ in range(300)]
    cases += [(b"[a-c]x\0", b"bx\0"), (b"[!a-c]x\0", b"bx\0"), (b"a[]]\0", b"a]\0")]
    found = run(lambda image: [image.call("glob_match", *case, returns="bool") for case in cases])
    assert found == [
        fnmatch.fnmatchcase(text_[:-1].decode(), pattern[:-1].decode()) for pattern, text_ in cases
    ]


@pytest.mark.parametrize(
    ("option", "token", "arguments"),
    [
        (b"ro", 3, []),
        (b"uid=1000", 1, [b"1000"]),
        (b"uid=0x10", 1, [b"0x10"]),
        (b"uid=-1", -1, []),
        (b"name=some text", 2, [b"some text"]),
        (b"size=12:ff", 4, [b"12", b"ff"]),
        (b"rw", -1, []),
        (b"100%", 5, []),
    ],
)
def test_match_token(run: Run, option: bytes, token: int, arguments: list[bytes]) -> None:
    """Mount options against patterns, with what stands in their places."""
    patterns = [(1, b"uid=%u"), (2, b"name=%s"), (3, b"ro"), (4, b"size=%d:%x"), (5, b"100%%"), (-1, b"")]

    def match(image: Image) -> list[object]:
        rows = [
            struct.pack("<i4xQ", number_, image.put(text_ + b"\0") if text_ else 0)
            for number_, text_ in patterns
        ]
        out = image.put(bytes(3 * 16))
        found = image.call("match_token", option + b"\0", b"".join(rows), out, returns="int")
        spans = struct.unpack("<6Q", image.get(out, 48))
        pairs = list(zip(spans[::2], spans[1::2], strict=True))[: len(arguments)]
        return [found, [image.get(start, end - start).decode() for start, end in pairs]]

    assert run(match) == [token, [text_.decode() for text_ in arguments]]


def test_argv_split(run: Run) -> None:
    def split(image: Image) -> list[str]:
        count = image.put(bytes(4))
        argv = image.call("argv_split", 0xCC0, b"  one two\t three \0", count)
        u64, u32 = image.k.core.memory.u64, image.k.core.memory.u32
        assert u64(argv + 8 * u32(count)) == 0
        return [image.k.core.memory.cstring(u64(argv + 8 * n)).decode() for n in range(u32(count))]

    assert run(split) == ["one", "two", "three"]
