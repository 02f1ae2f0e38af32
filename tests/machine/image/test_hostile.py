"""Whatever was done to an image: what it is asked is answered, or one of ukmod's own errors is raised."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.btfwriter import small_kernel
from tests.machine.image.test_payload import lzop
from tests.machine.imagewriter import BASE, bzimage, many_symbols, vmlinux
from tests.zstandard import zstd

from ukmod.errors import FormatError, LimitError, UkmodError
from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.kallsyms import read_kallsyms
from ukmod.machine.image.ksymtab import read_exports
from ukmod.machine.image.payload import unpack
from ukmod.machine.image.symbols import ImageSymbols
from ukmod.machine.image.vmlinux import Vmlinux
from ukmod.machine.types import types_for
from ukmod.machine.types.wanted import WANTED

VMLINUX = vmlinux(btf=small_kernel().data(), symbols=many_symbols(1100))
PACKED = bzimage(gzip.compress(VMLINUX))
LIMIT = 1 << 20

QUESTIONS: tuple[Callable[[KernelImage], object], ...] = (
    lambda image: image.banner,
    lambda image: image.release,
    lambda image: image.vermagic,
    lambda image: image.exports,
    lambda image: list(image.symbols),
    lambda image: image.symbols.at(0xFFFFFFFF81000100),
    lambda image: [image.read(segment.vaddr, 64) for segment in image.segments],
    lambda image: [image.section(section.name) for section in image.sections],
    lambda image: image.has_text("a text that is not there"),
    lambda image: types_for((), kernel=image).learn(WANTED),
    lambda image: types_for((), kernel=image).prototype("wake_up"),
    lambda image: types_for((), kernel=image).enum("pid_type"),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "vmlinuz"


def ask_everything(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    for question in QUESTIONS:
        with contextlib.suppress(UkmodError):
            question(KernelImage(str(path), cache="", limit=LIMIT))


def test_one_that_is_whole_answers_everything(file: Path) -> None:
    file.write_bytes(PACKED)
    for question in QUESTIONS:
        question(KernelImage(str(file), cache="", limit=LIMIT))


def parts() -> dict[str, range]:
    """Where in VMLINUX its headers and tables are."""
    sections = {section.name: section for section in Vmlinux(VMLINUX).sections if section.name}
    tables = {
        name: range(section.offset, section.offset + section.size) for name, section in sections.items()
    }
    headers = range(len(VMLINUX) - 64 * (len(sections) + 1), len(VMLINUX))
    return {"ELF header": range(64), "program header": range(64, 120), "section headers": headers, **tables}


def lies(where: range) -> st.SearchStrategy[bytes]:
    """VMLINUX with words and bytes of a part changed."""
    word = st.sampled_from((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)) | st.integers(0, 0xFFFFFFFF)
    value = word.map(lambda number: number.to_bytes(4, "little")) | st.binary(min_size=1, max_size=16)
    places = st.sampled_from(where[::4]) | st.sampled_from(where)
    return st.dictionaries(places, value, min_size=1, max_size=6).map(changed)


def changed(changes: dict[int, bytes]) -> bytes:
    data = bytearray(VMLINUX)
    for at, value in changes.items():
        data[at : at + len(value)] = value
    return bytes(data[: len(VMLINUX)])


@pytest.mark.parametrize("part", parts())
@given(data=st.data())
def test_lies(file: Path, part: str, data: st.DataObject) -> None:
    ask_everything(file, data.draw(lies(parts()[part])))


@given(size=st.integers(0, len(VMLINUX)))
def test_cut_off(file: Path, size: int) -> None:
    ask_everything(file, VMLINUX[:size])


@given(start=st.integers(0, len(VMLINUX)), size=st.integers(0, len(VMLINUX)), byte=st.sampled_from((0, 255)))
def test_wiped(file: Path, start: int, size: int, byte: int) -> None:
    end = min(start + size, len(VMLINUX))
    ask_everything(file, VMLINUX[:start] + bytes([byte]) * (end - start) + VMLINUX[end:])


@given(
    size=st.integers(0, len(PACKED)),
    changes=st.dictionaries(st.integers(0, len(PACKED) - 1), st.integers(0, 255), max_size=6),
)
def test_a_damaged_bzimage(file: Path, size: int, changes: dict[int, int]) -> None:
    data = bytearray(PACKED)
    for at, byte in changes.items():
        data[at] = byte
    ask_everything(file, bytes(data))
    ask_everything(file, bytes(data[:size]))


@given(st.binary(max_size=200), st.integers(0, 12))
def test_no_table_of_symbols(data: bytes, count: int) -> None:
    """What is read back from the cache has a digest, but it may be another machine's."""
    with contextlib.suppress(ValueError):
        table = ImageSymbols.from_bytes(count.to_bytes(8, "little") + data)
        assert len(list(table)) == count


# -- what takes no end of time or memory, if it is let ----------------------------------------------------


def with_rodata(data: bytes) -> Vmlinux:
    """VMLINUX with another .rodata, at its end, and no banner elsewhere."""
    image = bytearray(VMLINUX.replace(b"Linux version", b"Other version"))
    section = Vmlinux(VMLINUX).section(".rodata")
    assert section is not None
    header = len(VMLINUX) - 64 * len(Vmlinux(VMLINUX).sections) + 64 * section.index
    struct.pack_into("<QQ", image, header + 24, len(image), len(data))
    return Vmlinux(bytes(image) + data)


def test_a_banner_that_does_not_end() -> None:
    with pytest.raises(FormatError, match="no version banner"):
        with_rodata(b"Linux version x " + b"#1" * (1 << 20)).banner()


def test_tables_of_tokens_everywhere() -> None:
    assert read_kallsyms(with_rodata(b"".join(b"%d\0" % digit for digit in range(10)) * (1 << 17))) == []


def test_a_symbol_s_name_without_end() -> None:
    names = many_symbols() | {"x" * 1100: ("T", BASE + (1 << 20))}
    with pytest.raises(FormatError, match="kallsyms has a name of 1101 bytes"):
        read_kallsyms(Vmlinux(vmlinux(symbols=names)))


def test_an_export_s_name_without_end() -> None:
    """Each of many exports could have all the rest of the strings for its name."""
    section = Vmlinux(VMLINUX).section("__ksymtab_strings")
    assert section is not None
    data = bytearray(VMLINUX)
    header = len(VMLINUX) - 64 * len(Vmlinux(VMLINUX).sections) + 64 * section.index
    struct.pack_into("<QQ", data, header + 24, len(data), 1 << 20)
    with pytest.raises(FormatError, match=r"__ksymtab\[0\] has no name"):
        read_exports(Vmlinux(bytes(data) + b"x" * (1 << 20)))


# -- bombs ------------------------------------------------------------------------------------------------

MANY = 48 << 20
"""Bytes that a bomb unpacks to, if it is let."""


def lz4_frame(block: bytes) -> bytes:
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block


BOMBS = {
    "gzip": gzip.compress(bytes(MANY)),
    "bzip2": bz2.compress(bytes(MANY)),
    "xz": lzma.compress(bytes(MANY), preset=0),
    "lzma": lzma.compress(bytes(MANY), lzma.FORMAT_ALONE, preset=0),
    "zstd": zstd.compress(bytes(MANY)),
    "lz4, one match": lz4_frame(b"\x1fa\x01\0" + b"\xff" * (MANY // 255) + b"\0"),
    "lz4, one literal": lz4_frame(b"\xf0" + b"\xff" * (MANY // 255) + b"\0" + b"a" * 100),
    "lzo, one match": lzop((bytes(MANY), b"\x12a\x20" + bytes(MANY // 255) + b"\x01\x04\0\x11\0\0")),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_bombs_take_no_more_than_the_limit(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match="limit of 1048576 bytes"):
            unpack(bzimage(bomb), limit=LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * LIMIT


def test_an_lzo_block_larger_than_it_says() -> None:
    """It says that it fits: only the instruction in it does not."""
    block = b"\x12a\x20" + bytes(MANY // 255) + b"\x01\x04\0\x11\0\0"
    tracemalloc.start()
    try:
        with pytest.raises(UkmodError, match="larger than its header says"):
            unpack(lzop((bytes(LIMIT), block)), limit=LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * LIMIT
