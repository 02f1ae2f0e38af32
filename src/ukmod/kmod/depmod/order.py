"""The order of modules and of symbols.

kmod keeps both in hash tables and writes them as it walks the tables, so that the hash function decides the
order of lines and the priorities in the indexes. For modules, kbuild's modules.order comes before it.
"""

from __future__ import annotations

import os
from bisect import insort
from struct import Struct

from ukmod.kmod.depmod.log import silent
from ukmod.kmod.host import LOG_ERR, LOG_WARNING
from ukmod.kmod.regular import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.depmod.log import DepmodLog
    from ukmod.kmod.depmod.scan import Candidate

__all__ = [
    "MODULE_BUCKETS",
    "SYMBOL_BUCKETS",
    "hash_order",
    "module_order",
    "module_order_after",
    "read_input",
    "read_lines",
    "superfast",
]

MODULE_BUCKETS = 512
SYMBOL_BUCKETS = 2048


def superfast(keys: Sequence[bytes]) -> list[int]:
    """Return Paul Hsieh's SuperFastHash of each key, 32 bits, as kmod computes it on a little-endian machine.

    All keys of one length are hashed at once, each in its own 64-bit lane of one long integer: what does not
    fit in a lane's lower half is masked off after each step. It is ten times as fast as one key at a time.
    """
    members: dict[int, list[int]] = {}
    for index, key in enumerate(keys):
        members.setdefault(len(key), []).append(index)
    hashes = [0] * len(keys)
    for length, indexes in members.items():
        lanes = _superfast_lanes(b"".join([keys[index] for index in indexes]), length, len(indexes))
        for index, (value,) in zip(indexes, _LANE.iter_unpack(lanes), strict=True):
            hashes[index] = value
    return hashes


_LANE = Struct("<I4x")


def _superfast_lanes(joined: bytes, length: int, count: int) -> bytes:
    """Hash ``count`` keys of one length, one after another in ``joined``; return their lanes in bytes."""
    mask = int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * count, "little")

    def lanes(*columns: bytes) -> int:
        """Return numbers whose bytes, from the lowest on, are in columns."""
        spread = bytearray(8 * count)
        for place, column in enumerate(columns):
            spread[place::8] = column
        return int.from_bytes(spread, "little")

    def byte(at: int) -> bytes:
        return joined[at::length]

    value = lanes(bytes([length & 0xFF]) * count, bytes([length >> 8 & 0xFF]) * count)
    end = length & ~3
    for at in range(0, end, 4):
        value = (value + lanes(byte(at), byte(at + 1))) & mask
        value ^= (value << 16 & mask) ^ (lanes(byte(at + 2), byte(at + 3)) << 11 & mask)
        value = (value + (value >> 11 & mask)) & mask
    rest = length - end
    if rest == 3:
        value = (value + lanes(byte(end), byte(end + 1))) & mask
        value ^= value << 16 & mask
        value ^= lanes(byte(end + 2)) << 18 & mask
        value = (value + (value >> 11 & mask)) & mask
    elif rest == 2:
        value = (value + lanes(byte(end), byte(end + 1))) & mask
        value ^= value << 11 & mask
        value = (value + (value >> 17 & mask)) & mask
    elif rest == 1:
        sign = byte(end).translate(_SIGN)  # C's char is signed here
        value = (value + lanes(byte(end), sign, sign, sign)) & mask
        value ^= value << 10 & mask
        value = (value + (value >> 1 & mask)) & mask
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value ^= value << left & mask
        value = (value + (value >> right & mask)) & mask
    return value.to_bytes(8 * count, "little")


_SIGN = bytes(128) + b"\xff" * 128


def hash_order(names: Iterable[str], buckets: int) -> list[str]:
    """Return names in the order of kmod's hash table with so many buckets, a power of two."""
    names = list(names)
    keys = [name.encode("utf-8", "surrogateescape") for name in names]
    places = [value & (buckets - 1) for value in superfast(keys)]
    return [name for _place, _key, name in sorted(zip(places, keys, names, strict=True))]


def module_order(modules: Sequence[Candidate], dirname: str, log: DepmodLog = silent) -> list[Candidate]:
    """Return modules in the order depmod takes them: those in ``dirname``'s modules.order first."""
    by_name = {module.name: module for module in modules}
    ordered = [by_name[name] for name in hash_order(by_name, MODULE_BUCKETS)]
    listed = _read_order(dirname, log)
    if listed is None:
        return ordered
    last = len(listed)
    return sorted(ordered, key=lambda module: listed.get(_uncompressed(module), last + 1))


def module_order_after(
    before: Sequence[Candidate], come: Sequence[Candidate], dirname: str
) -> list[Candidate] | None:
    """Return the order of modules of which all are in order but the few that ``come``.

    None if there is no modules.order, which is not reported here.
    """
    if not come:
        return list(before)
    listed = _read_order(dirname, silent)
    if listed is None:
        return None

    def place(module: Candidate) -> tuple[int, int, bytes]:
        name = module.name.encode("utf-8", "surrogateescape")
        bucket = superfast([name])[0] & (MODULE_BUCKETS - 1)
        return listed.get(_uncompressed(module), len(listed) + 1), bucket, name

    ordered = list(before)
    for module in come:
        insort(ordered, module, key=place)
    return ordered


def _uncompressed(module: Candidate) -> str:
    """Return the name modules.order has for a file, which is without a compression's suffix.

    As kmod does it: the directory, and as many letters of the file's name as ``NAME.ko`` has. That is not the
    same for a name with a dot in it.
    """
    if module.shown == module.path and module.path.startswith("/"):
        return ""
    return module.shown[: module.shown.rfind("/") + 1 + len(module.name) + len(".ko")]


def _read_order(dirname: str, log: DepmodLog) -> dict[str, int] | None:
    """Return each line's position, or None if the file is missing or cut off: then it counts for nothing."""
    lines = read_lines(dirname, "modules.order", log)
    if lines is None:
        return None
    positions: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            log(LOG_ERR, f"{dirname}/modules.order:{number} corrupted line misses '\\n'")
            return None
        positions.setdefault(line[:-1], number)
    return positions


def read_lines(dirname: str, name: str, log: DepmodLog) -> list[str] | None:
    """Return the lines of a file that kbuild left in the module directory, or None, and a warning.

    Each has its newline; a last line without one shows that the file was cut off.
    """
    data = read_input(dirname, name, log)
    if data is None:
        return None
    *lines, rest = data.decode("utf-8", "surrogateescape").split("\n")
    return [line + "\n" for line in lines] + ([rest] if rest else [])


def read_input(dirname: str, name: str, log: DepmodLog) -> bytes | None:
    """Return the content of such a file, or None, and a warning."""
    try:
        directory = os.open(dirname, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        log(LOG_WARNING, f"could not open directory {dirname}: {error.strerror}")
        return None
    try:
        try:
            return read_regular(name, dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as error:
        log(LOG_WARNING, f"could not open {name} at {dirname}: {error.strerror}")
        return None
