"""A closure as files of an image: where each one goes, with the directories and links that lead to it.

Paths are those that the files really have below their root, and the links on the way are files too: so a
root in which lib is a link to usr/lib gives an image with the same link. A module from elsewhere goes to the
tree's ``updates`` directory, which depmod prefers. modules.dep and the other indexes are made for the modules
of the closure alone.
"""

from __future__ import annotations

import hashlib
import os
import stat

from ukmod.errors import NotFoundError
from ukmod.kmod.cpio import DIRECTORY, ArchiveEntry
from ukmod.kmod.indexing import LISTS, index_modules
from ukmod.kmod.names import is_module_file
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ukmod.kmod.closures import Closure
    from ukmod.kmod.tree import Tree

__all__ = ["ImageFile", "entry_of", "manifest", "payload"]

_FILE = stat.S_IFREG | 0o644
_LINK = stat.S_IFLNK | 0o777


@record
class ImageFile:
    """A file of the image, at ``path`` below its root; ``mode`` has its type.

    Its content is ``content``, a link's target too, or that of the file ``source``.
    """

    path: str
    mode: int
    content: bytes = b""
    source: str = ""


def payload(
    found: Closure, tree: Tree, root: str, *, indexes: bool = True, lists: bool = True
) -> list[ImageFile]:
    """Return the files of an image that holds a closure, sorted by path: a directory before what is in it.

    root: the tree's root.
    indexes: with depmod's files for these modules. lists: with kbuild's, which depmod reads.

    Raises UkmodError with ELOOP if modules need each other in a circle, NotFoundError for a file outside of
    the root.
    """
    root = root.rstrip("/")
    place = _Placing(tree, root)
    shown: dict[str, tuple[str, str]] = {}
    for member in found.modules:
        if member.path is None:
            continue
        inside = member.path.startswith(f"{tree.dirname}/")
        to = member.path if inside else f"{tree.dirname}/updates/{os.path.basename(member.path)}"
        place.add(to, member.path)
        shown[member.module] = member.path, to.removeprefix(f"{tree.dirname}/")
    for firmware in found.firmware:
        place.add(firmware.path, firmware.path)
    if lists:
        for name in LISTS:
            place.add_list(f"{tree.dirname}/{name}")
    if indexes and shown:
        for name, content in index_modules(shown, tree):
            place.add(f"{tree.dirname}/{name}", content=content)
    return place.items()


def entry_of(item: ImageFile, tree: Tree) -> ArchiveEntry:
    """Return an item with its content. NotFoundError if the file cannot be read."""
    return ArchiveEntry(item.path, item.mode, _content(item, tree))


def manifest(items: Sequence[ImageFile], tree: Tree) -> Iterator[tuple[ImageFile, int, str]]:
    """Yield each item with its size in bytes and the SHA-256 of a regular file, empty for others."""
    for item in items:
        content = _content(item, tree)
        digest = hashlib.sha256(content).hexdigest() if stat.S_ISREG(item.mode) else ""
        yield item, len(content), digest


def _content(item: ImageFile, tree: Tree) -> bytes:
    if not item.source:
        return item.content
    try:
        if is_module_file(item.source):
            with tree.open_module(item.source) as file:
                return file.raw()
        return tree.files.read(item.source)
    except OSError as error:
        raise NotFoundError(error.strerror or str(error), errno=error.errno, subject=item.source) from error


class _Placing:
    """Collects items by where they really lie, with what leads there."""

    def __init__(self, tree: Tree, root: str) -> None:
        self._files = tree.files
        self._root = root
        self._items: dict[str, ImageFile] = {}

    def items(self) -> list[ImageFile]:
        """Return the items, sorted by path."""
        return [self._items[path] for path in sorted(self._items)]

    def add(self, to: str, source: str = "", content: bytes = b"") -> None:
        """Add a file at a path below the root: its content, or the file that has it."""
        try:
            links, end = self._files.follow(to)
        except OSError as error:
            raise NotFoundError(error.strerror or str(error), errno=error.errno, subject=to) from error
        for where, target in links:
            self._put(ImageFile(self._below(where), _LINK, os.fsencode(target)))
        self._put(ImageFile(self._below(end), _FILE, content, source))

    def add_list(self, path: str) -> None:
        """Add a file of the tree, if it is there."""
        try:
            self._files.stat(path)
        except OSError:
            return
        self.add(path, path)

    def _below(self, path: str) -> str:
        if not path.startswith(f"{self._root}/"):
            raise NotFoundError("is not below the root, so it has no place in the image", subject=path)
        return path[len(self._root) + 1 :]

    def _put(self, item: ImageFile) -> None:
        self._items.setdefault(item.path, item)
        above = item.path.rpartition("/")[0]
        while above and above not in self._items:
            self._items[above] = ImageFile(above, DIRECTORY)
            above = above.rpartition("/")[0]
