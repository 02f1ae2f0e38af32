"""What the image's code unpacks is what was packed elsewhere, and what it packs unpacks elsewhere."""

from __future__ import annotations

import lzma
import random
import struct
import zlib

import pytest
from tests.kernel.image.computing import Image, Run
from tests.zstandard import zstd

from ukmod.kmod.lz4 import unpack_block as lz4_unpack
from ukmod.machine.image.lzo import unpack_block as lzo_unpack

pytestmark = pytest.mark.real

DATA = {
    "text": b"".join(b"line %d of %d\n" % (n % 50, n) for n in range(1500)),
    "runs": b"".join(bytes([n]) * (n + 1) for n in range(200)),
    "noise": random.Random(1).randbytes(5000),
    "byte": b"x",
}
WORK = 1 << 20
"""Bytes that are enough for any of them to work in."""


@pytest.fixture(params=DATA)
def data(request: pytest.FixtureRequest) -> bytes:
    """Something to pack."""
    return DATA[request.param]


def deflated(data: bytes) -> bytes:
    """A raw deflate stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


# -- deflate ----------------------------------------------------------------------------------------------


def test_inflate(run: Run, data: bytes) -> None:
    packed = deflated(data)

    def inflate(image: Image) -> list[int | str]:
        out = image.put(bytes(len(data)))
        size = image.call("zlib_inflate_blob", out, len(data), packed, len(packed), returns="int")
        return [size, image.get(out, len(data)).hex()]

    assert run(inflate) == [len(data), data.hex()]


def test_inflate_refuses_damage(run: Run) -> None:
    packed = bytearray(deflated(DATA["text"]))
    packed[0] |= 6  # a type of block that there is not
    size = run(
        lambda image: image.call(
            "zlib_inflate_blob", bytes(100_000), 100_000, bytes(packed), len(packed), returns="int"
        )
    )
    assert size == -22


@pytest.mark.parametrize("level", [1, 6, 9])
def test_deflate(run: Run, data: bytes, level: int) -> None:
    room = len(data) + 100

    def deflate(image: Image) -> str:
        out = image.put(bytes(room))
        work = image.room(image.call("zlib_deflate_workspacesize", 15, 8))
        stream = image.struct(
            "z_stream_s",
            next_in=image.put(data),
            avail_in=len(data),
            next_out=out,
            avail_out=room,
            workspace=work,
        )
        # z_stream *, level, Z_DEFLATED, MAX_WBITS, DEF_MEM_LEVEL, Z_DEFAULT_STRATEGY
        assert image.call("zlib_deflateInit2", stream, level, 8, 15, 8, 0, returns="int") == 0
        assert image.call("zlib_deflate", stream, 5, returns="int") == 1  # Z_FINISH: Z_STREAM_END
        return image.get(out, image.member(stream, "z_stream_s", "total_out")).hex()

    assert zlib.decompress(bytes.fromhex(run(deflate))) == data


# -- lz4 and lzo ------------------------------------------------------------------------------------------

HELLO = b"hello" + b"hell" + b"world"


def test_lz4_by_hand(run: Run) -> None:
    """Five literals, four bytes from five back, five literals: written from the format's description."""
    packed = b"\x50hello\x05\x00\x50world"

    def unpack(image: Image) -> list[int | str]:
        out = image.put(bytes(64))
        length = image.call("LZ4_decompress_safe", packed, out, len(packed), 64, returns="int")
        return [length, image.get(out, len(HELLO)).hex()]

    assert run(unpack) == [len(HELLO), HELLO.hex()]


def test_lzo_by_hand(run: Run) -> None:
    """The same; the first number is a count of literals and 17, the third three less than one."""
    packed = b"\x16hello\x70\x00\x02world\x11\x00\x00"

    def unpack(image: Image) -> list[int | str]:
        out, length = image.put(bytes(64)), image.put(struct.pack("<Q", 64))
        status = image.call("lzo1x_decompress_safe", packed, len(packed), out, length, returns="int")
        return [status, image.get(out, image.k.core.memory.u64(length)).hex()]

    assert run(unpack) == [0, HELLO.hex()]


def test_lz4_stops_at_the_end_of_the_room(run: Run) -> None:
    packed = b"\x50hello\x05\x00\x50world"

    def unpack(image: Image) -> list[int | str]:
        out = image.put(b"." * 64)
        length = image.call("LZ4_decompress_safe", packed, out, len(packed), 11, returns="int")
        return [length, image.get(out + 11, 4).decode()]

    length, behind = run(unpack)
    assert length < 0
    assert behind == "...."


@pytest.mark.parametrize("name", ["lz4_compress:LZ4_compress_default", "lz4hc_compress:LZ4_compress_HC"])
def test_lz4_and_back(run: Run, data: bytes, name: str) -> None:
    room = len(data) + len(data) // 255 + 16  # LZ4_compressBound()

    def round_trip(image: Image) -> list[int | str]:
        packed, out = image.put(bytes(room)), image.put(bytes(len(data)))
        level = (9,) if name.endswith("HC") else ()
        work = image.room(WORK)
        size = image.call(name, data, packed, len(data), room, *level, work, returns="int")
        back = image.call("LZ4_decompress_safe", packed, out, size, len(data), returns="int")
        return [image.get(packed, size).hex(), back, image.get(out, len(data)).hex()]

    packed, back, out = run(round_trip)
    assert (back, out) == (len(data), data.hex())
    unpacked = bytearray()
    lz4_unpack(memoryview(bytes.fromhex(packed)), unpacked, len(data))
    assert unpacked == data


def test_lzo_and_back(run: Run, data: bytes) -> None:
    room = len(data) + len(data) // 16 + 67  # lzo1x_worst_compress()

    def round_trip(image: Image) -> list[int | str]:
        packed, out = image.put(bytes(room)), image.put(bytes(len(data)))
        size, back = image.put(bytes(8)), image.put(len(data).to_bytes(8, "little"))
        work = image.put(bytes(8192 * 2))  # LZO1X_1_MEM_COMPRESS
        u64 = image.k.core.memory.u64
        assert image.call("lzo1x_1_compress", data, len(data), packed, size, work, returns="int") == 0
        assert image.call("lzo1x_decompress_safe", packed, u64(size), out, back, returns="int") == 0
        return [image.get(packed, u64(size)).hex(), image.get(out, u64(back)).hex()]

    packed, out = run(round_trip)
    assert out == data.hex()
    unpacked = bytearray()
    lzo_unpack(bytes.fromhex(packed), unpacked, len(data))
    assert unpacked == data


# -- zstd -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 19])
def test_zstd_decompress(run: Run, data: bytes, level: int) -> None:
    packed = zstd.compress(data, level)

    def unpack(image: Image) -> list[int | str]:
        size = image.call("zstd_dctx_workspace_bound")
        context = image.call("zstd_init_dctx", image.room(size), size)
        out = image.put(bytes(len(data)))
        length = image.call("zstd_decompress_dctx", context, out, len(data), packed, len(packed))
        return [length, image.get(out, len(data)).hex()]

    assert run(unpack) == [len(data), data.hex()]


@pytest.mark.parametrize("level", [1, 6, 19])
def test_zstd_compress(run: Run, data: bytes, level: int) -> None:
    room = 2 * len(data) + 100

    def pack(image: Image) -> str:
        parameters = image.put(bytes(40))
        # A structure is returned in memory, where the first argument says: its first member has how to pack.
        image.call("zstd_compress:zstd_get_params", parameters, level, len(data))
        size = image.call("zstd_compress:zstd_cctx_workspace_bound", parameters)
        context = image.call("zstd_compress:zstd_init_cctx", image.room(size), size)
        out = image.put(bytes(room))
        length = image.call(
            "zstd_compress:zstd_compress_cctx", context, out, room, data, len(data), parameters
        )
        return image.get(out, length).hex()

    assert zstd.decompress(bytes.fromhex(run(pack))) == data


# -- xz ---------------------------------------------------------------------------------------------------

FILTERS = {
    "lzma2": [{"id": lzma.FILTER_LZMA2, "preset": 6}],
    "x86": [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 6}],
}


@pytest.mark.parametrize("filters", FILTERS)
def test_xz(run: Run, data: bytes, filters: str) -> None:
    packed = lzma.compress(data, check=lzma.CHECK_CRC32, filters=FILTERS[filters])

    def unpack(image: Image) -> list[int | str]:
        source, out = image.put(packed), image.put(bytes(len(data)))
        decoder = image.call("xz_dec_init", 0, 0)  # XZ_SINGLE
        buffer = image.put(struct.pack("<6Q", source, 0, len(packed), out, 0, len(data)))  # struct xz_buf
        status = image.call("xz_dec_run", decoder, buffer, returns="int")
        image.call("xz_dec_end", decoder, returns="void")
        return [status, image.get(out, len(data)).hex()]

    assert run(unpack) == [1, data.hex()]  # XZ_STREAM_END
