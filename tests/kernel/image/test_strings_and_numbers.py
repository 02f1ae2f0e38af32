"""String and number functions that only the image has, and Python's integers as a second opinion."""

from __future__ import annotations

import fnmatch
import random
import struct

import pytest
from tests.kernel.image.computing import Image, Run
from tests.kernel.twins.twin import word

pytestmark = pytest.mark.real


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
