from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.imagewriter import bzimage
from tests.zstandard import zstd

from ukmod.errors import FormatError, LimitError
from ukmod.machine.image.lzo import unpack_block
from ukmod.machine.image.payload import unpack

KERNEL = (
    b"\x7fELF"
    + b"".join(b"line %d of the kernel\n" % (number % 700) for number in range(4000))
    + bytes(70000)
)


def lz4(data: bytes) -> bytes:
    """lz4 -l: blocks of up to 8 MiB; a match for what repeats four bytes, and literals for the rest."""
    seen: dict[bytes, int] = {}
    out, at, start = b"", 0, 0

    def sequence(literals: bytes, distance: int, length: int) -> bytes:
        def extra(count: int) -> bytes:
            return b"" if count < 15 else b"\xff" * ((count - 15) // 255) + bytes([(count - 15) % 255])

        token = bytes([min(len(literals), 15) << 4 | (min(length - 4, 15) if distance else 0)])
        tail = struct.pack("<H", distance) + extra(length - 4) if distance else b""
        return token + extra(len(literals)) + literals + tail

    while at < len(data) - 12:
        origin = seen.get(data[at : at + 4], -1)
        seen[data[at : at + 4]] = at
        if origin >= 0 and at - origin < 65536:
            length = 4
            while at + length < len(data) - 5 and data[origin + length] == data[at + length]:
                length += 1
            out += sequence(data[start:at], at - origin, length)
            at += length
            start = at
        else:
            at += 1
    out += sequence(data[start:], 0, 0)
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(out)) + out


def lzop(*blocks: tuple[bytes, bytes]) -> bytes:
    """An lzop file with an adler32 of each (unpacked, packed) block."""
    head = struct.pack(">HHHBBIIIIB", 0x1030, 0x20A0, 0x940, 1, 5, 0x1, 0, 0, 0, 0) + bytes(4)
    out = b"\x89LZO\0\r\n\x1a\n" + head
    for unpacked, packed in blocks:
        out += struct.pack(">III", len(unpacked), len(packed), zlib.adler32(unpacked)) + packed
    return out + bytes(4)


def lzo(data: bytes) -> bytes:
    return lzop(*((data[at : at + 4096], data[at : at + 4096]) for at in range(0, len(data), 4096)))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "lz4": lz4,
    "lzo, stored": lzo,
}


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
def test_each_compression(packer: Callable[[bytes], bytes]) -> None:
    packed = packer(KERNEL)
    assert unpack(bzimage(packed, size=None if packer is gzip.compress else len(KERNEL))) == KERNEL
    assert unpack(packed) == KERNEL


@pytest.mark.parametrize(
    ("packed", "unpacked"),
    [
        # By the instructions of Documentation/staging/lzo.rst; the last three bytes are the end mark.
        (b"\x15abcd\x11\0\0", b"abcd"),
        (b"\x15abcd\x4c\x00\x11\0\0", b"abcdabc"),
        (b"\x12a\x20\x07\0\0\x11\0\0", b"a" * 41),
        (b"\x00\x01" + bytes(range(65, 84)) + b"\x11\0\0", bytes(range(65, 84))),
    ],
)
def test_lzo_instructions(packed: bytes, unpacked: bytes) -> None:
    out = bytearray()
    unpack_block(packed, out, len(unpacked))
    assert out == unpacked


@pytest.mark.real
@pytest.mark.parametrize(
    "command", [["lzop", "-1"], ["lzop", "-9"], ["lz4", "-l"], ["lz4", "-l", "-9"]], ids=" ".join
)
def test_what_the_real_tools_pack(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: apt-get install lzop lz4")
    packed = subprocess.run([*command, "-c"], input=KERNEL, stdout=subprocess.PIPE, check=True).stdout
    assert unpack(bzimage(packed, size=len(KERNEL))) == KERNEL


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
def test_bombs(packer: Callable[[bytes], bytes]) -> None:
    with pytest.raises(LimitError, match="limit of 1000 bytes"):
        unpack(packer(bytes(100000)), limit=1000)


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
def test_cut_off(packer: Callable[[bytes], bytes]) -> None:
    packed = packer(KERNEL)
    with pytest.raises(FormatError):
        unpack(bzimage(packed[: len(packed) // 2], size=len(KERNEL)), path="vmlinuz")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (bzimage(b"\x7fELF", version=0x204), "has no payload field"),
        (bzimage(b"????????"), "unknown compression"),
        (bzimage(b"")[:1100], "beyond the end"),
        (bzimage(b"")[:0x210], "cut off"),
    ],
)
def test_bad_headers(image: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        unpack(image, path="vmlinuz")


def test_an_elf_file_may_be_the_payload() -> None:
    assert unpack(bzimage(b"\x7fELF....")) == b"\x7fELF...."


@pytest.mark.parametrize("packer", PACKERS.values(), ids=PACKERS)
@given(changes=st.dictionaries(st.integers(0, 400), st.integers(0, 255), min_size=1, max_size=4))
def test_damaged(packer: Callable[[bytes], bytes], changes: dict[int, int]) -> None:
    data = bytearray(packer(KERNEL[:5000]))
    for at, byte in changes.items():
        data[at % len(data)] = byte
    with contextlib.suppress(FormatError, LimitError):
        unpack(bytes(data), limit=100000)


@given(changes=st.dictionaries(st.integers(0x1F0, 0x250), st.integers(0, 255), min_size=1, max_size=4))
def test_damaged_headers(changes: dict[int, int]) -> None:
    data = bytearray(bzimage(gzip.compress(KERNEL[:5000])))
    for at, byte in changes.items():
        data[at] = byte
    with contextlib.suppress(FormatError, LimitError):
        unpack(bytes(data), limit=100000)


@pytest.mark.parametrize("library", [SimpleNamespace(), SimpleNamespace(decompress=1)])
def test_a_damaged_lz4_library_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, library: SimpleNamespace
) -> None:
    monkeypatch.setitem(sys.modules, "lz4", SimpleNamespace(block=library))
    monkeypatch.setitem(sys.modules, "lz4.block", library)
    assert unpack(lz4(KERNEL)) == KERNEL


@pytest.mark.parametrize(
    "packed", [b"\x02\x21\x4c\x18" + bytes(1 << 20), b"\x02\x21\x4c\x18" + b"\x01\0\0\0\0" * 100_000]
)
def test_lz4_blocks_without_end_are_refused(packed: bytes) -> None:
    with pytest.raises((LimitError, FormatError), match=r"more than 65536 lz4 blocks"):
        unpack(packed)
