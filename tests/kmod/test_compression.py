from __future__ import annotations

import contextlib
import errno
import gzip
import io
import lzma
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.zstandard import zstd

from ukmod.errors import FormatError, LimitError, MissingExtraError
from ukmod.kmod import compression
from ukmod.kmod.compression import decompress

MODULE = b"\x7fELF" + bytes(range(256)) * 40
Pack = Callable[[bytes], bytes]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}
packers = pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)


def test_plain_files_are_themselves() -> None:
    assert decompress(MODULE) == MODULE


@packers
def test_the_content_tells_the_format(pack: Pack) -> None:
    assert decompress(pack(MODULE)) == MODULE


@packers
def test_frames_one_after_another(pack: Pack) -> None:
    assert decompress(pack(MODULE) + pack(b"and more")) == MODULE + b"and more"


def test_a_zstd_frame_that_does_not_tell_its_size() -> None:
    packer = zstd.ZstdCompressor()
    piped = packer.compress(MODULE) + packer.flush()
    assert zstd.get_frame_info(piped).decompressed_size is None
    assert decompress(piped) == MODULE


def test_padding_between_xz_streams() -> None:
    assert decompress(lzma.compress(b"one") + bytes(8) + lzma.compress(b"two") + bytes(4)) == b"onetwo"


@packers
def test_a_bomb_stops_at_the_limit(pack: Pack) -> None:
    bomb = pack(bytes(1 << 22))
    with pytest.raises(LimitError, match=r"bomb\.ko: unpacks to more than the limit of 1000 bytes"):
        decompress(bomb, path="bomb.ko", limit=1000)
    with pytest.raises(LimitError):
        decompress(pack(bytes(600)) * 2, limit=1000)
    assert len(decompress(pack(bytes(1000)), limit=1000)) == 1000


MEASURE = """
import resource, sys
from ukmod.errors import LimitError
from ukmod.machine.image.payload import unpack
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod import compression

kind, path, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
compression.decompress_packed.__kwdefaults__["limit"] = limit
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
# 1.3: a buffer that grows is reserved with an eighth more than it has.
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + limit * 13 // 10,) * 2)
try:
    if kind == "image":
        unpack(open(path, "rb").read(), limit=limit)
    else:
        with ModuleFile(path) as file:
            file.contents()
except LimitError as error:
    print(error.message)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB, and /proc is there, on Linux")
@pytest.mark.parametrize(("kind", "frames", "more"), [("module", 1, 0), ("module", 8, 1), ("image", 1, 0)])
@packers
def test_unpacking_needs_little_more_memory_than_the_limit(
    tmp_path: Path, pack: Pack, kind: str, frames: int, more: int
) -> None:
    limit = 1 << 26
    if pack is lzma.compress:
        pack = partial(lzma.compress, preset=0)  # quick, and with a small dictionary
    parts = [pack(bytes(limit // frames))] * (frames - 1) + [pack(bytes(limit // frames + more))]
    (tmp_path / "bomb").write_bytes(b"".join(parts))
    arguments = [kind, str(tmp_path / "bomb"), str(limit)]
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    *messages, peak = result.stdout.splitlines()
    assert messages == [f"unpacks to more than the limit of {limit} bytes"] * more
    assert int(peak) < 1.2 * limit


def hostile_dictionary(data: bytes, kind: int) -> bytes:
    """Pack data as xz or lzma, with a dictionary in its header that is far larger than the one it needs."""
    filters = [{"id": lzma.FILTER_LZMA1 if kind == lzma.FORMAT_ALONE else lzma.FILTER_LZMA2, "preset": 0}]
    packed = bytearray(lzma.compress(data, kind, filters=filters))
    if kind == lzma.FORMAT_ALONE:
        packed[1:5] = (128 << 20).to_bytes(4, "little")
        return bytes(packed)
    header = packed[12 : 12 + 4 * (packed[12] + 1)]
    header[header.index(b"\x21\x01") + 2] = 30  # 128 MiB
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    packed[12 : 12 + len(header)] = header
    return bytes(packed)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB, and /proc is there, on Linux")
@pytest.mark.parametrize("kind", ["xz", "lzma", "zstd"])
def test_a_dictionary_that_a_kernel_claims_counts_towards_its_limit(tmp_path: Path, kind: str) -> None:
    limit = 1 << 28
    data = bytes(limit)
    if kind == "zstd":
        options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.compression_level: 1}
        packer = zstd.ZstdCompressor(options=options)
        packed = packer.compress(data) + packer.flush()
    else:
        packed = hostile_dictionary(data, lzma.FORMAT_XZ if kind == "xz" else lzma.FORMAT_ALONE)
    (tmp_path / "vmlinuz").write_bytes(packed)
    arguments = ["image", str(tmp_path / "vmlinuz"), str(limit)]
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    message, peak = result.stdout.splitlines()
    assert message.startswith("unpacks to more than the limit of ")
    assert int(peak) < 1.2 * limit


def test_no_memory_is_an_error_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy:
        eof, needs_input, unused_data = False, True, b""

        def decompress(self, _data: bytes, _max_length: int) -> bytes:
            raise MemoryError

    monkeypatch.setitem(compression._CODECS, "gzip", lambda _window: (Greedy, ValueError))
    with pytest.raises(LimitError, match=r"it\.ko: no memory is left after 0 unpacked bytes") as caught:
        decompress(gzip.compress(MODULE), path="it.ko")
    assert caught.value.errno == errno.ENOMEM


def test_a_result_that_cannot_grow_is_an_error_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            self.close()  # as BytesIO does where there is no memory to grow
            raise MemoryError

    monkeypatch.setattr(compression, "BytesIO", Full)
    with pytest.raises(LimitError, match=r"it\.ko: no memory is left after 0 unpacked bytes"):
        decompress(gzip.compress(MODULE), path="it.ko")


def test_a_zstd_window_of_two_gigabytes_is_refused() -> None:
    # The header says: no size, no checksum, a window of 2**31 bytes.
    with pytest.raises(LimitError, match=r"needs more than 128 MiB of memory to unpack"):
        decompress(b"\x28\xb5\x2f\xfd\x00" + bytes(((31 - 10) << 3,)) + b"\x01\0\0")


def test_an_xz_dictionary_of_four_gigabytes_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 16}]
    packed = bytearray(lzma.compress(MODULE, filters=filters))
    # Behind the stream header of 12 bytes is the block's: size, flags, filter, size of its properties, these.
    assert packed[14:16] == b"\x21\x01"
    packed[16] = 40  # 4 GiB - 1
    length = (packed[12] + 1) * 4
    packed[12 + length - 4 : 12 + length] = zlib.crc32(packed[12 : 12 + length - 4]).to_bytes(4, "little")
    with pytest.raises(LimitError, match=r"big\.ko: needs more than 128 MiB of memory to unpack"):
        decompress(bytes(packed), path="big.ko")


@packers
def test_empty_frames_without_end(pack: Pack) -> None:
    assert decompress(pack(MODULE) + pack(b"") * 1000) == MODULE
    with pytest.raises(LimitError, match=r"more than 65536 \w+ frames"):
        decompress(pack(b"") * 70_000)


def test_padding_without_end() -> None:
    assert decompress(lzma.compress(MODULE) + bytes(1 << 24)) == MODULE
    assert decompress(gzip.compress(MODULE) + bytes(1 << 24)) == MODULE


SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"


@pytest.mark.parametrize(
    ("packed", "is_accepted"),
    [
        (gzip.compress(MODULE) + b"garbage", True),
        (lzma.compress(MODULE) + b"garbage", False),
        (lzma.compress(MODULE) + bytes(3), False),
        (lzma.compress(MODULE) + bytes(4), True),
        (zstd.compress(MODULE) + b"garbage", False),
        (zstd.compress(MODULE) + bytes(4), False),
        (zstd.compress(MODULE) + SKIPPABLE, True),
        (zstd.compress(MODULE) + SKIPPABLE + zstd.compress(b""), True),
    ],
    ids=[
        *("gzip, text", "xz, text", "xz, 3 zeros", "xz, 4 zeros", "zstd, text", "zstd, 4 zeros"),
        *("zstd, to be skipped", "zstd, to be skipped and another"),
    ],
)
def test_what_may_follow_is_as_libkmod_has_it(packed: bytes, is_accepted: bool) -> None:
    if is_accepted:
        assert decompress(packed) == MODULE
    else:
        with pytest.raises(FormatError, match="followed by other data"):
            decompress(packed)


@packers
def test_a_file_that_is_cut_off(pack: Pack) -> None:
    with pytest.raises(FormatError, match="cut off"):
        decompress(pack(MODULE)[:-5], path="short.ko")


@packers
@given(data=st.data())
def test_damage_is_an_error_or_goes_unnoticed(pack: Pack, data: st.DataObject) -> None:
    packed = bytearray(pack(MODULE))
    packed[data.draw(st.integers(6, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FormatError, LimitError):
        decompress(bytes(packed), limit=1 << 20)


DAMAGED = {
    "its parts are missing": "import backports.zstd._zstd_that_is_not_there",
    "it is no Python": "def",
    "it was built for another system": "raise ImportError('invalid ELF header')",
    "it fails": "raise OSError('cannot read it')",
    "it is another": "ZstdDecompressor = 1",
}


@pytest.mark.parametrize("source", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_zstd_says_what_is_wrong_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    (tmp_path / "backports" / "zstd").mkdir(parents=True)
    (tmp_path / "backports" / "__init__.py").touch()
    (tmp_path / "backports" / "zstd" / "__init__.py").write_text(source)
    code = "import sys; from ukmod.kmod.compression import decompress; decompress(bytes.fromhex(sys.argv[1]))"
    code = f"import sys; sys.modules['compression'] = None\n{code}" if sys.version_info >= (3, 14) else code
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    command = [sys.executable, "-c", code, zstd.compress(MODULE).hex()]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()[-1]
    assert "that is installed, but cannot be" in said
    assert "pip install" not in said


def test_without_zstd_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> compression.Codec:
        raise MissingExtraError("unpacking zstd", "zstd")

    monkeypatch.setitem(__import__("sys").modules, "backports", None)
    monkeypatch.setitem(__import__("sys").modules, "compression", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ukmod\[zstd\]'"):
        decompress(zstd.compress(MODULE))
