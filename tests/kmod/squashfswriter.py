"""Makes squashfs images, with fragments, sparse blocks and both kinds of inodes."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Iterable

from ukmod.kmod.cpio import DIRECTORY, ArchiveEntry

BLOCK = 4096
METADATA = 8192
Tree = dict[str, "Tree | ArchiveEntry"]


def squashfs(
    entries: Iterable[ArchiveEntry], pack: Callable[[bytes], bytes] | None = None, compressor: int = 1
) -> bytes:
    """Return an image. Without ``pack`` nothing is packed; with it, metadata must fit a block."""
    writer = _Writer(pack)
    root = writer.directory(_tree(entries))
    head = 96
    inodes = head + len(writer.data)
    inode_table = writer.blocks(writer.inodes)
    directories = inodes + len(inode_table)
    directory_table = writer.blocks(writer.listings)
    fragments = directories + len(directory_table)
    fragment_table = writer.blocks(writer.fragments)
    index = fragments + len(fragment_table)
    count = len(writer.fragments) // 16
    pointers = b"".join(
        struct.pack("<Q", fragments + number * (METADATA + 2)) for number in range(-(-count * 16 // METADATA))
    )
    superblock = struct.pack(
        "<4sIIIIHHHHHHQQQQQQQQ",
        *(b"hsqs", writer.count, 0, BLOCK, count, compressor, 12, 0, 1, 4, 0, root, index + len(pointers)),
        *(index, (1 << 64) - 1, inodes, directories, index, (1 << 64) - 1),
    )
    return superblock + bytes(writer.data) + inode_table + directory_table + fragment_table + pointers


def _tree(entries: Iterable[ArchiveEntry]) -> Tree:
    root: Tree = {}
    for entry in entries:
        *above, name = entry.path.split("/")
        place = root
        for part in above:
            below = place.setdefault(part, {})
            assert isinstance(below, dict)
            place = below
        place[name] = {} if entry.mode == DIRECTORY else entry
    return root


class _Writer:
    def __init__(self, pack: Callable[[bytes], bytes] | None) -> None:
        self._pack = pack
        self.data, self.inodes, self.listings, self.fragments = (bytearray() for _ in range(4))
        self.count = 0

    def blocks(self, stream: bytes | bytearray) -> bytes:
        """Metadata blocks of a stream."""
        if self._pack is not None and stream:
            assert len(stream) <= METADATA
            packed = self._pack(bytes(stream))
            return struct.pack("<H", len(packed)) + packed
        parts = [stream[at : at + METADATA] for at in range(0, len(stream), METADATA)]
        return b"".join(struct.pack("<H", len(part) | 1 << 15) + part for part in parts)

    def _place(self, stream: bytes | bytearray) -> tuple[int, int]:
        block, offset = divmod(len(stream), METADATA)
        return block * (METADATA + 2), offset

    def _inode(self, kind: int, mode: int, body: bytes) -> int:
        self.count += 1
        block, offset = self._place(self.inodes)
        self.inodes += struct.pack("<HHHHII", kind, stat.S_IMODE(mode), 0, 0, 0, self.count) + body
        return block << 16 | offset

    def directory(self, tree: Tree) -> int:
        """Write a directory and all below it; its inode."""
        below = [
            (name, self.directory(one) if isinstance(one, dict) else self._file(one), one)
            for name, one in sorted(tree.items())
        ]
        block, offset = self._place(self.listings)
        before = len(self.listings)
        for name, inode, one in below:
            raw = name.encode("utf-8", "surrogateescape")
            kind = 1 if isinstance(one, dict) else 3 if stat.S_ISLNK(one.mode) else 2
            self.listings += struct.pack("<III", 0, inode >> 16, self.count)
            self.listings += struct.pack("<HhHH", inode & 0xFFFF, 0, kind, len(raw) - 1) + raw
        size = len(self.listings) - before + 3
        if len(below) % 2:
            return self._inode(1, DIRECTORY, struct.pack("<IIHHI", block, 2, size, offset, 0))
        return self._inode(8, DIRECTORY, struct.pack("<IIIIHHI", 2, size, block, 0, 0, offset, 0))

    def _file(self, entry: ArchiveEntry) -> int:
        content = bytes(entry.content)
        if stat.S_ISLNK(entry.mode):
            return self._inode(3, entry.mode, struct.pack("<II", 1, len(content)) + content)
        start = 96 + len(self.data)
        whole = len(content) // BLOCK
        sizes = [self._block(content[at * BLOCK : (at + 1) * BLOCK]) for at in range(whole)]
        fragment = 0xFFFFFFFF
        if tail := content[whole * BLOCK :]:
            fragment = len(self.fragments) // 16
            at = 96 + len(self.data)
            self.fragments += struct.pack("<QII", at, self._block(tail), 0)
        listed = struct.pack(f"<{whole}I", *sizes)
        if whole:
            fields = struct.pack("<QQQIIII", start, len(content), 0, 1, fragment, 0, 0xFFFFFFFF)
            return self._inode(9, entry.mode, fields + listed)
        return self._inode(2, entry.mode, struct.pack("<IIII", start, fragment, 0, len(content)))

    def _block(self, content: bytes) -> int:
        """Write a block of data; its size, with the bit for one that is not packed. 0 if it is sparse."""
        if content == bytes(BLOCK):
            return 0
        packed = content if self._pack is None else self._pack(content)
        self.data += packed
        return len(packed) | (1 << 24 if self._pack is None else 0)
