"""An initramfs: cpio archives of the new format one after another, each packed or not, as for the kernel.

Early microcode is such an archive before the others. init/initramfs.c has the rules: zeros between archives
are skipped, and a packed part may hold any number of archives.
"""

from __future__ import annotations

import stat

from ukmod.errors import FormatError, LimitError
from ukmod.kmod.archives.packing import packing_of, unpack_part
from ukmod.kmod.compression import DEFAULT_LIMIT
from ukmod.kmod.cpio import TRAILER, ArchiveEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["MAGICS", "UnpackingBudget", "initramfs_entries"]

MAGICS = (b"070701", b"070702")
_LZO = b"\x89LZO\0\r\n\x1a\n"
_HEADER = 110
_LONGEST_NAME = 4096
_MOST_PARTS = 1 << 10
_DEEPEST = 3
"""Packed parts within packed parts: there is no reason for more than one."""


class UnpackingBudget:
    """The unpacked bytes and packed parts that an archive may still have, all in all."""

    def __init__(self) -> None:
        self.bytes = DEFAULT_LIMIT
        self.parts = _MOST_PARTS


def initramfs_entries(
    data: memoryview, path: str, offset: int = 0, budget: UnpackingBudget | None = None, depth: int = 0
) -> Iterator[ArchiveEntry]:
    """Yield the files of an initramfs; ``offset`` is where ``data`` begins in the file.

    Raises FormatError if it is damaged, LimitError if it unpacks to too much.
    """
    budget = UnpackingBudget() if budget is None else budget
    at = 0
    while (at := _skip_zeros(data, at)) < len(data):
        head = bytes(data[at : at + 6])
        if head in MAGICS:
            at = yield from _archive(data, at, path, offset)
            continue
        if not packing_of(bytes(data[at : at + 16])) or depth >= _DEEPEST:
            raise FormatError(_no_archive(data[at : at + len(_LZO)]), path=path, offset=offset + at)
        budget.parts -= 1
        if budget.parts < 0:
            raise LimitError(f"has more than {_MOST_PARTS} packed parts", subject=path)
        try:
            unpacked, used = unpack_part(data[at:], path, budget.bytes)
        except FormatError as error:
            raise FormatError(error.message, path=path, offset=offset + at) from error
        except LimitError as error:
            raise LimitError(f"{error.message} (at offset {offset + at:#x})", subject=path) from error
        budget.bytes -= len(unpacked)
        yield from initramfs_entries(memoryview(unpacked), path, offset + at, budget, depth + 1)
        at += used


def _no_archive(head: memoryview) -> str:
    if head == _LZO:
        return "is packed with lzo, for which Python has no library: unpack it with lzop -d"
    return "neither a cpio archive (newc) nor packed data"


def _skip_zeros(data: memoryview, at: int) -> int:
    while at < len(data) and data[at] == 0:
        block = bytes(data[at : at + 4096])
        left = block.lstrip(b"\0")
        at += len(block) - len(left)
        if left:
            break
    return at


def _archive(data: memoryview, at: int, path: str, offset: int) -> Generator[ArchiveEntry, None, int]:
    """Yield the entries of one archive, and return where it ends."""
    waiting: dict[tuple[int, ...], list[str]] = {}
    known: dict[tuple[int, ...], memoryview] = {}
    links: dict[tuple[int, ...], object] = {}
    while True:
        fields, name, content, end = _entry(data, at, path, offset)
        if name == TRAILER:
            return end
        mode, inode = fields[1], (fields[0], fields[7], fields[8])
        owner, device = fields[2:4], fields[9:11]
        if stat.S_ISREG(mode) and fields[4] > 1:  # of several hard links the last one has the content
            file = links.setdefault(inode, object())
            if content:
                known[inode] = content
                earlier = waiting.pop(inode, ())
                yield from (ArchiveEntry(one, mode, content, owner, file=file) for one in earlier)
            elif inode not in known:
                waiting.setdefault(inode, []).append(name)
            yield ArchiveEntry(name, mode, known.get(inode, content), owner, file=file)
        else:
            yield ArchiveEntry(name, mode, content, owner, device)
        at = end


def _entry(data: memoryview, at: int, path: str, offset: int) -> tuple[tuple[int, ...], str, memoryview, int]:
    header = bytes(data[at : at + _HEADER])
    if len(header) < _HEADER or header[:6] not in MAGICS:
        raise FormatError("no header of a cpio archive (newc)", path=path, offset=offset + at)
    try:
        fields = tuple(int(header[start : start + 8], 16) for start in range(6, _HEADER, 8))
    except ValueError:
        raise FormatError("a cpio header is damaged", path=path, offset=offset + at) from None
    size, length = fields[6], fields[11]
    if not 1 <= length <= _LONGEST_NAME:
        raise FormatError(f"a name of {length} bytes", path=path, offset=offset + at)
    begin = at + (_HEADER + length + 3 & ~3)
    if begin + size > len(data):
        raise FormatError(f"a file of {size} bytes is cut off", path=path, offset=offset + at)
    name = bytes(data[at + _HEADER : at + _HEADER + length]).split(b"\0")[0]
    return (
        fields,
        name.decode("utf-8", "surrogateescape"),
        data[begin : begin + size],
        begin + (size + 3 & ~3),
    )
