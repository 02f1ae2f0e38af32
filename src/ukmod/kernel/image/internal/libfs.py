"""Functions of an image for file systems in memory: fs/libfs.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.user.dentry import children, inode_of
from ukmod.machine.abi import Int, Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@export()
def simple_empty(k: Core, dentry: Ptr) -> Int:
    """int simple_empty(struct dentry *dentry): true for a directory without files, made or yet to be made."""
    if k.root_files is not None and k.root_files.has_files(inode_of(k, dentry)):
        return 0
    return int(next(children(k, dentry), None) is None)
