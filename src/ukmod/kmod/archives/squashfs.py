"""squashfs 4.0, the file system of live and embedded systems: read in place, files only when asked for.

Documentation/filesystems/squashfs.rst of the kernel describes it. Everything in it may lie: each block has a
largest size, each directory is visited once, and there are limits on entries and on what a file unpacks to.
"""

from __future__ import annotations

import stat
import struct
from functools import lru_cache
from io import BytesIO

from ukmod.errors import FormatError, LimitError
from ukmod.kmod.archives.files import LONGEST_PATH, MOST_ENTRIES
from ukmod.kmod.compression import (
    DEFAULT_LIMIT,
    Inflate,
    PackedInput,
    compression_of,
    decompress,
    unpack_frame,
)
from ukmod.kmod.cpio import ArchiveEntry
from ukmod.kmod.lz4 import unpack_quickly
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAGIC", "squashfs_entries"]

MAGIC = b"hsqs"
_SUPER = struct.Struct("<4sIIIIHHHHHHQQQQQQQQ")
_COMPRESSORS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
_METADATA = 8192
"""Bytes of a metadata block, unpacked."""
_PLAIN = 1 << 15
"""The bit in a metadata block's size that says that it is not packed."""
_PLAIN_DATA = 1 << 24
_LARGEST_BLOCK = 1 << 20
_LARGEST_FILE = (1 << 63) - 1
"""Bytes of a file of any system: s_maxbytes, an off_t."""
_NO_FRAGMENT = 0xFFFFFFFF
_MOST_NAME_BYTES = 256
_LINKS = 1 << 26
"""Bytes of the targets of all links."""
_HEAD = struct.Struct("<HHHHII")
_TYPES = (
    *(stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK),
)
"""The types of inodes 1 to 7; those with more members follow in the same order."""
_MOST_CONTENT = 4 * DEFAULT_LIMIT
"""Bytes of all contents that are asked for, sparse ones too, each as often as it is."""
_CACHED = 512
"""Unpacked metadata blocks, and a few data blocks, that are kept."""


def squashfs_entries(data: memoryview, path: str) -> Iterator[ArchiveEntry]:
    """Yield the files of a squashfs. Their content is read, and unpacked, when it is asked for.

    Raises FormatError, with the offset, if it is damaged; LimitError if it has too many files. Reading a
    file's content raises these too, and MissingExtraError for zstd, if this Python cannot unpack it.
    """
    return _Squashfs(data, path).entries()


@record
class _Place:
    """A place in metadata: a block's offset in the image, and one within the unpacked block."""

    block: int
    offset: int


class _Content:
    """A file's content, which is read when ``bytes()`` asks for it."""

    __slots__ = ("_fragment", "_image", "_place", "_size", "_start")

    def __init__(
        self, image: _Squashfs, place: _Place, start: int, size: int, fragment: tuple[int, int]
    ) -> None:
        self._image = image
        self._place = place
        self._start = start
        self._size = size
        self._fragment = fragment

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return self._image.content(self._place, self._start, self._size, self._fragment)


class _Squashfs:
    def __init__(self, data: memoryview, path: str) -> None:
        self._data = data
        self._path = path
        if len(data) < _SUPER.size:
            raise self._damaged("the superblock is cut off", 0)
        numbers = _SUPER.unpack_from(data)
        self._block_size, self._fragments, compressor, block_log = numbers[3:7]
        major, minor, root = numbers[9:12]
        self._inodes, self._directories, self._fragment_table = numbers[15:18]
        if (major, minor) != (4, 0):
            raise FormatError(f"is a squashfs {major}.{minor}: mount it, and name the directory", path=path)
        if self._block_size > _LARGEST_BLOCK or self._block_size != 1 << block_log or block_log < 12:
            raise self._damaged(f"a block size of {self._block_size}", 12)
        self._packing = _COMPRESSORS.get(compressor, "")
        if self._packing in ("", "lzma", "lzo"):
            text = (
                f"is a squashfs packed with {self._packing or compressor}: mount it, and name the directory"
            )
            raise FormatError(text, path=path)
        self._root = _Place(self._inodes + (root >> 16), root & 0xFFFF)
        self._room = _MOST_CONTENT
        self._metadata = lru_cache(_CACHED)(self._read_metadata)
        self._fragment = lru_cache(8)(self._read_fragment)

    def _damaged(self, text: str, offset: int) -> FormatError:
        return FormatError(f"a damaged squashfs: {text}", path=self._path, offset=min(offset, 1 << 62))

    # Blocks

    def _unpack(self, offset: int, size: int, limit: int) -> bytes:
        """Return what the packed block at an offset unpacks to, at most ``limit`` bytes."""
        if offset + size > len(self._data):
            raise self._damaged("a block is cut off", offset)
        packed = self._data[offset : offset + size]
        try:
            if self._packing == "lz4":
                return bytes(unpack_quickly(packed, limit))
            if self._packing == "gzip":
                return self._inflate(packed, limit)
            if compression_of(bytes(packed[:6])) != self._packing:
                raise ValueError(f"not packed with {self._packing}")
            return decompress(bytes(packed), path=self._path, limit=limit)
        except FormatError as error:
            raise self._damaged(error.message, offset) from error
        except (OverflowError, IndexError, ValueError, LimitError) as error:
            raise self._damaged(f"a block: {error}", offset) from error

    def _inflate(self, packed: memoryview, limit: int) -> bytes:
        import zlib

        out = BytesIO()
        try:
            if unpack_frame(Inflate(zlib.MAX_WBITS), PackedInput.of(packed, self._path), out, limit):
                return out.getvalue()
        except zlib.error as error:
            raise ValueError(str(error)) from error
        raise ValueError("its packed data are cut off")

    def _read_metadata(self, offset: int) -> tuple[bytes, int]:
        """Return a metadata block, and the offset of the next one."""
        if offset + 2 > len(self._data):
            raise self._damaged("a metadata block is cut off", offset)
        head = int.from_bytes(self._data[offset : offset + 2], "little")
        size, begin = head & ~_PLAIN, offset + 2
        if head & _PLAIN:
            block = bytes(self._data[begin : begin + size])
            if len(block) < size or size > _METADATA:
                raise self._damaged("a metadata block is cut off", offset)
        else:
            block = self._unpack(begin, size, _METADATA)
        if not block:
            raise self._damaged("an empty metadata block", offset)
        return block, begin + size

    def _take(self, place: _Place, size: int) -> tuple[bytes, _Place]:
        """Return bytes of metadata, and the place behind them."""
        at, offset = place.block, place.offset
        parts: list[bytes] = []
        while size:
            block, after = self._metadata(at)
            part = block[offset : offset + size]
            if offset > len(block):
                raise self._damaged("a reference leads out of its metadata block", at)
            parts.append(part)
            size -= len(part)
            offset += len(part)
            if size:
                at, offset = after, 0
        return b"".join(parts), _Place(at, offset)

    # Files

    def entries(self) -> Iterator[ArchiveEntry]:
        """Yield the files, those of a directory after it."""
        waiting = [("", self._root)]
        visited: set[_Place] = set()
        count = links = 0
        while waiting:
            above, place = waiting.pop()
            if place in visited:
                raise self._damaged("a directory is in two places", place.block)
            visited.add(place)
            for name, inode in self._listing(place):
                count += 1
                if count > MOST_ENTRIES:
                    raise LimitError(f"has more than {MOST_ENTRIES} files", subject=self._path)
                path = f"{above}/{name}".lstrip("/")
                if len(path) > LONGEST_PATH:
                    raise self._damaged(f"a path of {len(path)} characters", inode.block)
                entry = self._entry(path, inode)
                if stat.S_ISLNK(entry.mode) and (links := links + len(entry.content)) > _LINKS:
                    raise LimitError(f"has links of more than {_LINKS >> 20} MiB in all", subject=self._path)
                yield entry
                if stat.S_ISDIR(entry.mode):
                    waiting.append((path, inode))

    def _head(self, place: _Place) -> tuple[int, int, int, _Place]:
        """Return an inode's type (1 to 7), whether it has more members, its permissions, and its body."""
        head, body = self._take(place, _HEAD.size)
        kind, mode, *_ = _HEAD.unpack(head)
        if not 1 <= kind <= 2 * len(_TYPES):
            raise self._damaged(f"an inode of type {kind}", place.block)
        extended, base = divmod(kind - 1, len(_TYPES))
        return base, extended, mode & 0o7777, body

    def _entry(self, path: str, place: _Place) -> ArchiveEntry:
        base, extended, permissions, body = self._head(place)
        mode = _TYPES[base] | permissions
        if stat.S_ISREG(mode):
            if extended:
                fields, blocks = self._take(body, 40)
                start, size, _sparse, _links, fragment, offset, _xattr = struct.unpack("<QQQIIII", fields)
            else:
                fields, blocks = self._take(body, 16)
                start, fragment, offset, size = struct.unpack("<IIII", fields)
            if size > _LARGEST_FILE:
                raise self._damaged(f"a file of {size} bytes", place.block)
            return ArchiveEntry(path, mode, _Content(self, blocks, start, size, (fragment, offset)))
        if stat.S_ISLNK(mode):
            fields, target = self._take(body, 8)
            size = int.from_bytes(fields[4:], "little")
            if size > LONGEST_PATH:
                raise self._damaged(f"a link of {size} bytes", place.block)
            return ArchiveEntry(path, mode, self._take(target, size)[0])
        return ArchiveEntry(path, mode)

    def _listing(self, place: _Place) -> Iterator[tuple[str, _Place]]:
        """Yield the names in a directory, with their inodes."""
        base, extended, _mode, body = self._head(place)
        if _TYPES[base] != stat.S_IFDIR:
            raise self._damaged("the root is no directory", place.block)
        if extended:
            _links, size, block, _parent, _indexes, offset = struct.unpack("<IIIIHH", self._take(body, 20)[0])
        else:
            block, _links, size, offset = struct.unpack("<IIHH", self._take(body, 12)[0])
        at = _Place(self._directories + block, offset)
        left = size - 3  # those that stand for . and ..
        while left > 0:
            head, at = self._take(at, 12)
            count, inodes, _number = struct.unpack("<III", head)
            left -= 12
            for _ in range(count + 1):
                fields, at = self._take(at, 8)
                inode_offset, _number, _kind, length = struct.unpack("<HhHH", fields)
                if length >= _MOST_NAME_BYTES:
                    raise self._damaged(f"a name of {length + 1} bytes", at.block)
                name, at = self._take(at, length + 1)
                left -= 8 + length + 1
                if left < 0:
                    raise self._damaged("a directory is cut off", at.block)
                yield name.decode("utf-8", "surrogateescape"), _Place(self._inodes + inodes, inode_offset)

    # Content

    def content(self, place: _Place, start: int, size: int, fragment: tuple[int, int]) -> bytes:
        """Return a file's content; the sizes of its blocks are at a place in metadata."""
        if size > DEFAULT_LIMIT:
            text = f"a file of {size} bytes is larger than the limit of {DEFAULT_LIMIT} bytes"
            raise LimitError(text, subject=self._path)
        self._room -= size
        if self._room < 0:
            text = f"its files have more than the limit of {_MOST_CONTENT} bytes, all in all"
            raise LimitError(text, subject=self._path)
        number, rest = divmod(size, self._block_size)
        index, offset = fragment
        if index == _NO_FRAGMENT and rest:
            number += 1
        sizes = struct.unpack(f"<{number}I", self._take(place, 4 * number)[0])
        out = BytesIO()  # not a list: its parts and the whole would take twice the memory
        left = size
        for packed in sizes:
            wanted = min(left, self._block_size)
            out.write(self._block(start, packed, wanted))
            start += packed & ~_PLAIN_DATA
            left -= wanted
        if left:
            part = self._fragment(index)[offset : offset + left]
            if len(part) < left:
                raise self._damaged("the end of a file is cut off", start)
            out.write(part)
        return out.getvalue()

    def _block(self, start: int, packed: int, wanted: int) -> bytes:
        if not packed:
            return bytes(wanted)
        block = self._data_block(start, packed)
        if len(block) < wanted:
            raise self._damaged("a block of a file is cut off", start)
        return block[:wanted]

    def _data_block(self, start: int, packed: int) -> bytes:
        size = packed & ~_PLAIN_DATA
        if size > self._block_size:
            raise self._damaged(f"a block of {size} bytes", start)
        if packed & _PLAIN_DATA:
            return bytes(self._data[start : start + size])
        return self._unpack(start, size, self._block_size)

    def _read_fragment(self, index: int) -> bytes:
        """Return a block that has the ends of several files."""
        if index >= self._fragments:
            raise self._damaged(f"there is no fragment {index}", self._fragment_table)
        where = self._fragment_table + 8 * (index * 16 // _METADATA)
        table = int.from_bytes(self._data[where : where + 8], "little")
        fields, _ = self._take(_Place(table, index * 16 % _METADATA), 16)
        start, packed, _unused = struct.unpack("<QII", fields)
        return self._data_block(start, packed)
