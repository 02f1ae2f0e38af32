from __future__ import annotations

import contextlib
import gzip
import lzma
from collections.abc import Callable

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


def test_without_zstd_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> compression.Codec:
        raise MissingExtraError("unpacking zstd", "zstd")

    monkeypatch.setitem(__import__("sys").modules, "backports", None)
    monkeypatch.setitem(__import__("sys").modules, "compression", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ukmod\[zstd\]'"):
        decompress(zstd.compress(MODULE))
