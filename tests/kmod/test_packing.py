"""What the kernel's own decoders refuse, in files that the libraries take."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest
from tests.zstandard import zstd

from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.packing import kernel_faults

DATA = bytes(range(256)) * 300


def faults(path: Path, data: bytes) -> list[str]:
    (path / "x.ko").write_bytes(data)
    with ModuleFile(str(path / "x.ko")) as file:
        return [text.partition(":")[0] for text in kernel_faults(file)]


def xz(check: int = lzma.CHECK_CRC32, *before: int) -> bytes:
    filters = [{"id": one} for one in before] + [{"id": lzma.FILTER_LZMA2, "preset": 6}]
    return lzma.compress(DATA, check=check, filters=filters)


CRC64 = "xz with the check CRC64, of which the kernel knows CRC32 alone"
SEVERAL = "several xz streams, of which the kernel reads the first alone"


FILTERS = "xz with the filters {}, LZMA2, which the kernel does not have"
XZ_FILES = {
    "not compressed": (DATA, []),
    "gzip": (gzip.compress(DATA), []),
    "CRC32": (xz(), []),
    "no check": (xz(lzma.CHECK_NONE), []),
    "CRC64": (xz(lzma.CHECK_CRC64), [CRC64]),
    "SHA-256": (xz(lzma.CHECK_SHA256), [CRC64.replace("CRC64", "SHA-256")]),
    "a filter": (xz(lzma.CHECK_CRC32, lzma.FILTER_X86), []),
    "delta": (xz(lzma.CHECK_CRC32, lzma.FILTER_DELTA), [FILTERS.format("delta")]),
    "two filters": (xz(lzma.CHECK_CRC32, lzma.FILTER_X86, lzma.FILTER_ARM), [FILTERS.format("x86, ARM")]),
    "two streams": (xz() + xz(), [SEVERAL]),
    "padding between": (xz(lzma.CHECK_CRC64) + bytes(8) + xz(), [CRC64, SEVERAL]),
    "padding behind": (xz() + bytes(8), []),
    "cut off": (xz()[:20], []),
    "empty": (lzma.compress(b"", check=lzma.CHECK_CRC32), []),
}


@pytest.mark.parametrize("name", XZ_FILES)
def test_the_kernel_knows_less_of_xz(tmp_path: Path, name: str) -> None:
    data, expected = XZ_FILES[name]
    assert faults(tmp_path, data) == expected


def frame(window_log: int = 21, *, size: bool = True, data: bytes = DATA) -> bytes:
    options = {
        zstd.CompressionParameter.window_log: window_log,
        zstd.CompressionParameter.content_size_flag: int(size),
    }
    compressor = zstd.ZstdCompressor(options=options)
    return bytes(compressor.compress(data, mode=zstd.ZstdCompressor.FLUSH_BLOCK) + compressor.flush())


WINDOW = "zstd with a window of 256 MiB, of which the kernel takes 128 at most"
DICTIONARY = b"\x28\xb5\x2f\xfd\x21\x05\0\x01\0\0"
ZSTD_FILES = {
    "plain": (zstd.compress(DATA), []),
    "a checksum": (zstd.compress(DATA, options={zstd.CompressionParameter.checksum_flag: 1}), []),
    "empty": (zstd.compress(b""), []),
    "128 MiB": (frame(27, size=False), []),
    "256 MiB": (frame(28, size=False), [WINDOW]),
    "two frames": (frame() + frame(), ["several zstd frames, of which the kernel reads the first alone"]),
    "other data behind it": (frame() + b"other data", []),  # the kernel does not look there
    "a dictionary": (DICTIONARY, ["zstd with a dictionary, which the kernel does not have"]),
    "cut off": (zstd.compress(DATA)[:9], []),
}


@pytest.mark.parametrize("name", ZSTD_FILES)
def test_the_kernel_knows_less_of_zstd(tmp_path: Path, name: str) -> None:
    data, expected = ZSTD_FILES[name]
    assert faults(tmp_path, data) == expected
