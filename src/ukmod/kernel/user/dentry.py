"""The entries of directories in the dentry cache: struct dentry, include/linux/dcache.h."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ukmod.kernel.lib.list import hlist_nodes, list_entries

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def inode_of(k: Core, dentry: int) -> int:
    """struct inode *d_inode(const struct dentry *dentry): NULL for a name that no file has."""
    return k.memory.u64(dentry + k.types.offset("dentry", "d_inode"))


def children(k: Core, dentry: int) -> Iterator[int]:
    """The entries of a directory that are in the cache and are files; the newest come first.

    A file system in memory has all its files there. Raises EndlessError for a list without an end.
    """
    types, memory = k.types, k.memory
    if types.has("dentry", "d_subdirs"):
        member = types.offset("dentry", "d_child")
        nodes = list_entries(memory, dentry + types.offset("dentry", "d_subdirs"))
    else:  # since v6.8
        member = types.offset("dentry", "d_sib")
        nodes = hlist_nodes(memory, dentry + types.offset("dentry", "d_children"))
    hashed = types.offset("dentry", "d_hash") + types.offset("hlist_bl_node", "pprev")
    for node in nodes:
        child = node - member
        if inode_of(k, child) and memory.u64(child + hashed):
            yield child


def name_of(k: Core, dentry: int) -> bytes:
    """The name of an entry in its directory."""
    types, memory = k.types, k.memory
    name = dentry + types.offset("dentry", "d_name")
    length = memory.u32(name + types.offset("qstr", "len"))
    return memory.read(memory.u64(name + types.offset("qstr", "name")), length)
