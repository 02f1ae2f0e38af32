"""cpio archives of the "new" format (newc), which the kernel unpacks as an initramfs.

Documentation/driver-api/early-userspace/buffer-format.rst of the kernel describes it.
"""

from __future__ import annotations

import stat

from ukmod.errors import LimitError
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator
    from typing import Protocol

    class LazyContent(Protocol):
        """Bytes that are read when bytes() asks for them."""

        def __len__(self) -> int:
            """How many bytes they are."""

        def __bytes__(self) -> bytes:
            """Read them."""


__all__ = ["DIRECTORY", "TRAILER", "ArchiveEntry", "newc"]

DIRECTORY = stat.S_IFDIR | 0o755
"""The mode of a directory that somebody has to make."""

_LARGEST = (1 << 32) - 1
_BLOCK = 512
TRAILER = "TRAILER!!!"


@record
class ArchiveEntry:
    """A file of an archive: its path as it is written there, its mode with the type, as st_mode, its content.

    The content of a symbolic link is its target. owner: user and group. device: major and minor number of a
    device node. file: entries with the same one, which is not None, are hard links of one file. A path
    that is to be written to an archive has no slash at its beginning.
    """

    path: str
    mode: int
    content: bytes | memoryview | LazyContent = b""
    owner: tuple[int, ...] = (0, 0)
    device: tuple[int, ...] = (0, 0)
    file: Hashable = None


def newc(entries: Iterable[ArchiveEntry], mtime: int = 0) -> Iterator[bytes | memoryview]:
    """Yield an archive, piece by piece: the same bytes for the same entries.

    Owner and group are 0, inodes are numbered in order, and ``mtime``, in seconds, is every file's.

    Raises LimitError for a file, or a time, that the format has no room for.
    """
    if not 0 <= mtime <= _LARGEST:
        raise LimitError(f"the time {mtime} cannot be in a cpio archive")
    size = 0
    for number, entry in enumerate(entries, 1):
        head = _header(entry, number, mtime)
        size += len(head) + len(entry.content) + len(pad := _padding(len(entry.content), 4))
        yield head
        yield bytes(entry.content)
        yield pad
    trailer = _header(ArchiveEntry(TRAILER, 0), 0, 0)
    yield trailer
    yield _padding(size + len(trailer), _BLOCK)


def _header(entry: ArchiveEntry, number: int, mtime: int) -> bytes:
    name = entry.path.encode("utf-8", "surrogateescape") + b"\0"
    if len(entry.content) > _LARGEST:
        raise LimitError("is too large for a cpio archive", subject=entry.path)
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, 0, 0, links, mtime, len(entry.content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + _padding(len(head), 4)


def _padding(size: int, unit: int) -> bytes:
    return bytes(-size % unit)
