"""What code of the image computes is what others compute: published check values, zlib, hashlib, Python."""

from __future__ import annotations

import hashlib
import math
import random
import zlib

import pytest
from tests.kernel.image.computing import MASK, Image, Run

pytestmark = pytest.mark.real

CHECK = b"123456789"
"""What catalogues of CRCs give the CRC of."""
SAMPLES = [random.Random(size).randbytes(size) for size in (0, 1, 3, 8, 64, 1000, 4097)]


@pytest.mark.parametrize(
    ("name", "returns", "final", "expected"),
    [
        ("crc32_le", "unsigned int", 0xFFFFFFFF, 0xCBF43926),  # CRC-32/ISO-HDLC
        ("__crc32c_le", "unsigned int", 0xFFFFFFFF, 0xE3069283),  # CRC-32/ISCSI
        ("crc32_be", "unsigned int", 0xFFFFFFFF, 0xFC891918),  # CRC-32/BZIP2
        ("crc16:crc16", "unsigned short", 0, 0xBB3D),  # CRC-16/ARC
        ("crc_ccitt", "unsigned short", 0, 0x2189),  # CRC-16/KERMIT
        ("crct10dif_common:crc_t10dif_generic", "unsigned short", 0, 0xD0DB),  # CRC-16/T10-DIF
        ("crc64:crc64_be", "unsigned long", 0, 0x6C40DF5F0B497347),  # CRC-64/ECMA-182
    ],
)
def test_check_values(run: Run, name: str, returns: str, final: int, expected: int) -> None:
    """Those that end in an exclusive or with ones begin with ones."""
    assert run(lambda image: image.call(name, final, CHECK, len(CHECK), returns=returns)) ^ final == expected


def test_crc32_is_zlibs(run: Run) -> None:
    found = run(lambda image: [image.call("crc32_le", 0xFFFFFFFF, s, len(s)) ^ 0xFFFFFFFF for s in SAMPLES])
    assert found == [zlib.crc32(sample) for sample in SAMPLES]


def test_sha256(run: Run) -> None:
    def digest(image: Image, sample: bytes) -> str:
        out = image.put(bytes(32))
        image.call("sha256", sample, len(sample), out, returns="void")
        return image.get(out, 32).hex()

    found = run(lambda image: [digest(image, sample) for sample in SAMPLES])
    assert found == [hashlib.sha256(sample).hexdigest() for sample in SAMPLES]


def test_arithmetic(run: Run) -> None:
    dice = random.Random(1)
    pairs = [
        (dice.getrandbits(dice.randrange(1, 64)), dice.getrandbits(dice.randrange(1, 64))) for _ in range(40)
    ]
    found = run(lambda image: [[image.call("gcd", a, b), image.call("int_sqrt", a)] for a, b in pairs])
    assert found == [[math.gcd(a, b), math.isqrt(a)] for a, b in pairs]


@pytest.mark.parametrize(
    ("fmt", "arguments"),
    [
        (b"%d|%5u|%-8x|", [-7 & MASK, 42, 0xBEEF]),
        (b"%#018llx %lld", [0x1234, -(1 << 62) & MASK]),
        (b"%.*s|%10.3s|", [3, b"abcdef\0", b"xyzw\0"]),
        (b"%pM %pI4 %*ph", [b"\1\2\3\4\5\6", b"\x7f\0\0\1", 4, b"\xde\xad\xbe\xef"]),
        (b"%c%%%o %+d % d", [65, 8, 3]),
    ],
)
def test_snprintf_is_pythons(run: Run, fmt: bytes, arguments: list[int | bytes]) -> None:
    """The image's own vsnprintf() and the one that is written in Python, on the same arguments."""

    def both(image: Image) -> list[list[int | str]]:
        values = [image.put(item) if isinstance(item, bytes) else item for item in arguments]
        answers: list[list[int | str]] = []
        for function in (image.k.core.image.address("snprintf"), "snprintf"):  # type: ignore[union-attr]
            out = image.put(bytes(100))
            length = image.k.call(function, out, 100, image.put(fmt + b"\0"), *values, returns="int")
            answers.append([length, image.get(out, 100).partition(b"\0")[0].decode()])
        return answers

    native, ours = run(both)
    assert native == ours
    assert native[0] == len(native[1]) > 0
