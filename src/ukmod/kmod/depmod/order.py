"""The order of modules and of symbols.

kmod keeps both in hash tables and writes them as it walks the tables, so that the hash function decides the
order of lines and the priorities in the indexes. For modules, kbuild's modules.order comes before it.
"""

from __future__ import annotations

import os

from ukmod.kmod.depmod.log import silent
from ukmod.kmod.host import LOG_ERR, LOG_WARNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.depmod.log import Log
    from ukmod.kmod.depmod.scan import Candidate

__all__ = [
    "MODULE_BUCKETS",
    "SYMBOL_BUCKETS",
    "hash_order",
    "module_order",
    "read_input",
    "read_lines",
    "superfast",
]

MODULE_BUCKETS = 512
SYMBOL_BUCKETS = 2048
_MASK = 0xFFFFFFFF


def superfast(key: bytes) -> int:
    """Return Paul Hsieh's SuperFastHash of a key, as kmod computes it on a little-endian machine: 32 bits."""
    length = len(key)
    value = length
    for at in range(0, length - 3, 4):
        value = (value + (key[at] | key[at + 1] << 8)) & _MASK
        value = (value << 16 & _MASK) ^ ((key[at + 2] | key[at + 3] << 8) << 11) ^ value
        value = (value + (value >> 11)) & _MASK
    rest = key[length & ~3 :]
    if len(rest) == 3:
        value = (value + (rest[0] | rest[1] << 8)) & _MASK
        value ^= value << 16 & _MASK
        value ^= rest[2] << 18
        value = (value + (value >> 11)) & _MASK
    elif len(rest) == 2:
        value = (value + (rest[0] | rest[1] << 8)) & _MASK
        value ^= value << 11 & _MASK
        value = (value + (value >> 17)) & _MASK
    elif rest:
        value = (value + rest[0] - (rest[0] >> 7 << 8)) & _MASK  # a signed char
        value ^= value << 10 & _MASK
        value = (value + (value >> 1)) & _MASK
    value ^= value << 3 & _MASK
    value = (value + (value >> 5)) & _MASK
    value ^= value << 4 & _MASK
    value = (value + (value >> 17)) & _MASK
    value ^= value << 25 & _MASK
    return (value + (value >> 6)) & _MASK


def hash_order(names: Iterable[str], buckets: int) -> list[str]:
    """Return names in the order of kmod's hash table with so many buckets, a power of two."""

    def position(name: str) -> tuple[int, bytes]:
        key = os.fsencode(name)
        return superfast(key) & (buckets - 1), key

    return sorted(names, key=position)


def module_order(modules: Sequence[Candidate], dirname: str, log: Log = silent) -> list[Candidate]:
    """Return modules in the order depmod takes them: those in ``dirname``'s modules.order first."""
    by_name = {module.name: module for module in modules}
    ordered = [by_name[name] for name in hash_order(by_name, MODULE_BUCKETS)]
    listed = _read_order(dirname, log)
    if listed is None:
        return ordered
    last = len(listed)
    return sorted(ordered, key=lambda module: listed.get(_uncompressed(module), last + 1))


def _uncompressed(module: Candidate) -> str:
    """Return the name modules.order has for a file, which is without a compression's suffix.

    As kmod does it: the directory, and as many letters of the file's name as ``NAME.ko`` has. That is not the
    same for a name with a dot in it.
    """
    if module.shown == module.path and module.path.startswith("/"):
        return ""
    return module.shown[: module.shown.rfind("/") + 1 + len(module.name) + len(".ko")]


def _read_order(dirname: str, log: Log) -> dict[str, int] | None:
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


def read_lines(dirname: str, name: str, log: Log) -> list[str] | None:
    """Return the lines of a file that kbuild left in the module directory, or None, and a warning.

    Each has its newline; a last line without one shows that the file was cut off.
    """
    data = read_input(dirname, name, log)
    if data is None:
        return None
    *lines, rest = data.decode("utf-8", "surrogateescape").split("\n")
    return [line + "\n" for line in lines] + ([rest] if rest else [])


def read_input(dirname: str, name: str, log: Log) -> bytes | None:
    """Return the content of such a file, or None, and a warning."""
    try:
        directory = os.open(dirname, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        log(LOG_WARNING, f"could not open directory {dirname}: {error.strerror}")
        return None
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        log(LOG_WARNING, f"could not open {name} at {dirname}: {error.strerror}")
        return None
    finally:
        os.close(directory)
    with open(fd, "rb") as file:
        return file.read()
