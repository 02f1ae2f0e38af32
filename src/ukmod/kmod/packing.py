"""Whether the kernel itself can unpack a module, which kmod lets it do since version 31.

Linux's decoders take less than the libraries in user space (kernel/module/decompress.c, lib/xz, lib/zstd): xz
with a CRC32 or no check, LZMA2 alone or behind one filter for machine code, zstd with a window of at most 128
MiB and no dictionary, and of each the first stream or frame. What they refuse, finit_module(2) refuses.
"""

from __future__ import annotations

from ukmod.kmod.compression import compression_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kmod.modfile import ModuleFile

__all__ = ["kernel_faults"]

_CHECKS = {4: "CRC64", 10: "SHA-256"}
"""The checks of xz files that the kernel does not know; it knows 0, none, and 1, CRC32."""
_FILTERS = {
    3: "delta", 4: "x86", 5: "PowerPC", 6: "IA-64", 7: "ARM", 8: "ARM-Thumb", 9: "SPARC", 10: "ARM64",
    11: "RISC-V", 0x21: "LZMA2",
}  # fmt: skip
_LZMA2, _DELTA = 0x21, 3
_NEW_FILTERS = (10, 11)  # since Linux 6.12
_LARGEST_WINDOW = (1 << 27) + 1
_RECOMPRESS = {
    "xz": "xz --check=crc32 --lzma2=dict=2MiB",
    "zstd": "zstd --no-long",
    "gzip": "gzip",
}


def kernel_faults(file: ModuleFile) -> list[str]:
    """Return why the kernel cannot unpack a module's file, and what to do; nothing of one that it can.

    Raises OSError if the file cannot be read.
    """
    kind = file.compression
    if not kind:
        return []
    data = file.raw()
    try:
        found = list(_xz(data) if kind == "xz" else _zstd(data) if kind == "zstd" else ())
    except IndexError:
        return []  # it is cut off: unpacking it says so
    return [f"{text}: compress it with {_RECOMPRESS[kind]}" for text in found]


def _xz(data: bytes) -> Iterator[str]:
    check = data[7] & 15
    if check not in {0, 1}:
        yield f"xz with the check {_CHECKS.get(check, check)}, of which the kernel knows CRC32 alone"
    filters = _xz_filters(data)
    names = [_FILTERS.get(one, hex(one)) for one in filters]
    machine = [one for one in filters if one != _LZMA2]
    if _DELTA in filters or len(filters) > 2 or any(one not in _FILTERS for one in filters):
        yield f"xz with the filters {', '.join(names)}, which the kernel does not have"
    elif any(one in _NEW_FILTERS for one in machine):
        yield f"xz with the filter {names[0]}, which kernels before 6.12 do not have"
    if 0 < _xz_stream(data) < len(data.rstrip(b"\0")):
        yield "several xz streams, of which the kernel reads the first alone"


def _xz_filters(data: bytes) -> list[int]:
    """Return the filters of the first block."""
    if not data[12]:
        return []  # there are no blocks
    flags, at = data[13], 14
    for present in (flags & 0x40, flags & 0x80):
        if present:
            _size, at = _number(data, at)
    filters = []
    for _ in range((flags & 3) + 1):
        identifier, at = _number(data, at)
        size, at = _number(data, at)
        at += size
        filters.append(identifier)
    return filters


def _xz_stream(data: bytes) -> int:
    """Return the size of the last stream, which its index has: it is the file's if there is one alone."""
    end = len(data.rstrip(b"\0"))
    if data[end - 2 : end] != b"YZ":
        return 0
    index = end - 12 - (int.from_bytes(data[end - 8 : end - 4], "little") + 1) * 4
    count, at = _number(data, index + 1)
    size = 12 + (end - index)
    for _ in range(count):
        unpadded, at = _number(data, at)
        _unpacked, at = _number(data, at)
        size += unpadded + 3 & ~3
    return size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80 or shift > 63:
            return value, at


def _zstd(data: bytes) -> Iterator[str]:
    if data[0] != 0x28:
        yield "a zstd file that begins with a frame to be skipped, which the kernel does not do"
        return
    descriptor, at = data[4], 5
    single = descriptor & 0x20
    window = 0
    if not single:
        exponent, mantissa = data[at] >> 3, data[at] & 7
        window = (1 << 10 + exponent) // 8 * (8 + mantissa)
        at += 1
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    if int.from_bytes(data[at : at + dictionary], "little"):
        yield "zstd with a dictionary, which the kernel does not have"
    at += dictionary
    field = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    size = int.from_bytes(data[at : at + field], "little") + (256 if field == 2 else 0)
    at += field
    if max(window, size if single else 0) > _LARGEST_WINDOW:
        yield f"zstd with a window of {max(window, size) >> 20} MiB, of which the kernel takes 128 at most"
    last = 0
    while not last:
        header = int.from_bytes(data[at : at + 3], "little")
        if at + 3 > len(data):
            return  # it is cut off
        last, kind, length = header & 1, header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == 1 else length)
    at += 4 if descriptor & 4 else 0
    if compression_of(data[at : at + 4]) == "zstd":  # other bytes there do not matter to the kernel
        yield "several zstd frames, of which the kernel reads the first alone"
