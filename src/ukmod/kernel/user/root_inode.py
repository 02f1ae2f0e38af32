"""An inode of a root while what is in it is made: as it began, whatever was done to it since."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_SB_RDONLY, _SB_POSIXACL = 0x1, 0x10000
"""include/linux/fs.h, a super block's s_flags: with the second, what is made inherits a default ACL."""
_MNT_READONLY = 0x40
"""include/linux/mount.h"""
_S_APPEND, _S_IMMUTABLE, _S_NOSEC = 0x4, 0x8, 0x1000
"""include/linux/fs.h, an inode's i_flags: with the last, a write takes no capabilities from the file."""
_TIMES: Final = ("i_mtime", "__i_mtime", "i_mtime_sec", "i_mtime_nsec",
                 "i_ctime", "__i_ctime", "i_ctime_sec", "i_ctime_nsec")  # fmt: skip
"""The members of struct inode that making its files, or its content, changes: one kernel's or another's."""


@contextmanager
def as_it_began(k: Core, inode: int, mount: int) -> Iterator[None]:
    """Have the inode, its file system and ``mount`` let anything be made in it, which inherits nothing.

    Afterwards they are as they were before, and so are the inode's times: its files were always there.
    """
    memory = k.memory
    times = [(at, memory.read(at, size)) for at, size in _times(k, inode)]
    changed = []
    for at, hinders, helps in _flags(k, inode, mount):
        flags = memory.u32(at)
        memory.set_u32(at, flags & ~hinders | helps)
        changed.append((at, flags & hinders, helps & ~flags))
    try:
        yield
    finally:
        for at, cleared, added in changed:  # others may have changed further bits meanwhile
            memory.set_u32(at, memory.u32(at) & ~added | cleared)
        for at, content in times:
            memory.write(at, content)


def _flags(k: Core, inode: int, mount: int) -> Iterator[tuple[int, int, int]]:
    """The address of each word of flags, the flags that hinder, and those that help."""
    types = k.types
    superblock = k.memory.u64(inode + types.offset("inode", "i_sb"))
    yield superblock + types.offset("super_block", "s_flags"), _SB_RDONLY | _SB_POSIXACL, 0
    yield mount + types.offset("vfsmount", "mnt_flags"), _MNT_READONLY, 0
    yield inode + types.offset("inode", "i_flags"), _S_APPEND | _S_IMMUTABLE, _S_NOSEC


def _times(k: Core, inode: int) -> Iterator[tuple[int, int]]:
    """The address and the size of each of the inode's times."""
    for name in _TIMES:
        if k.types.has("inode", name):
            member = k.types.member("inode", name)
            yield inode + member.offset, member.size
