"""A closure's files are written into another root: each whole or not at all, and nothing outside of it."""

from __future__ import annotations

import errno
import os
import stat

from ukmod.errors import UkmodError
from ukmod.kmod.depmod.publish import make_directory
from ukmod.kmod.payload import entry_of
from ukmod.kmod.rooted import resolve_in_root
from ukmod.kmod.temporary import remove, temporary_name, write_new

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kmod.cpio import ArchiveEntry
    from ukmod.kmod.payload import ImageFile
    from ukmod.kmod.tree import Tree

__all__ = ["install"]


def install(items: Iterable[ImageFile], tree: Tree, root: str, mtime: int | None = None) -> None:
    """Write the items below ``root``, an absolute path; links in it are followed as in the system it holds.

    Files that are there are replaced. ``mtime``: the time that files get, in seconds; by default now.

    Raises UkmodError if one cannot be written; those before it have been. A link is not put in a directory's
    place: then the two roots differ in their layout.
    """
    root = root.rstrip("/")
    for item in items:
        try:
            _install(entry_of(item, tree), root, mtime)
        except OSError as error:
            text = f"cannot be written: {error.strerror or error}"
            raise UkmodError(text, errno=error.errno, subject=f"{root}/{item.path}") from error


def _install(entry: ArchiveEntry, root: str, mtime: int | None) -> None:
    directory, _, name = f"/{entry.path}".rpartition("/")
    above = resolve_in_root(f"{root}{directory}", root)
    if stat.S_ISDIR(entry.mode):
        make_directory(resolve_in_root(f"{above}/{name}", root))
        return
    if stat.S_ISLNK(entry.mode):
        _install_link(above, name, os.fsdecode(bytes(entry.content)), root)
        return
    real = resolve_in_root(f"{above}/{name}", root)
    make_directory(os.path.dirname(real))
    where = os.open(os.path.dirname(real), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    temporary = temporary_name(name)
    try:
        mode = stat.S_IMODE(entry.mode)
        descriptor = write_new(temporary, (bytes(entry.content),), mode, where=where, masked=False)
        try:
            if mtime is not None:
                os.utime(descriptor, (mtime, mtime))
        finally:
            os.close(descriptor)
        os.rename(temporary, os.path.basename(real), src_dir_fd=where, dst_dir_fd=where)
    except BaseException:
        remove(temporary, where)
        raise
    finally:
        os.close(where)


def _install_link(above: str, name: str, target: str, root: str) -> None:
    path = f"{above}/{name}"
    if os.path.islink(path) and os.readlink(path) == target:
        return
    if os.path.isdir(path) and not os.path.islink(path):
        if resolve_in_root(_end(path, target, root), root) == path:
            return
        text = f"a directory is there, and not the link to {target} that the other root has"
        raise OSError(errno.EISDIR, text)
    make_directory(above)
    temporary = f"{above}/{temporary_name(name)}"
    os.symlink(target, temporary)  # noqa: PTH211 - os throughout
    try:
        os.rename(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def _end(path: str, target: str, root: str) -> str:
    """Where a link at a path would lead."""
    return f"{root}{target}" if target.startswith("/") else f"{os.path.dirname(path)}/{target}"
