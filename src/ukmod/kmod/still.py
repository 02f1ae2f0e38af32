"""Files that are taken not to change while a question about all of them is answered."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from ukmod.kmod.host import Files, Followed
    from ukmod.kmod.modfile import ModuleFile
    from ukmod.kmod.paged import PagedFile

__all__ = ["StillFiles"]


class StillFiles:
    """``base``, asked for each path's status once: a :class:`ukmod.kmod.host.Files`.

    An audit plans for each module, and most need the same others: whether these are there would be looked up
    fifty thousand times, link by link.
    """

    __slots__ = ("_base", "_found")

    def __init__(self, base: Files) -> None:
        self._base = base
        self._found: dict[str, os.stat_result] = {}

    def stat(self, path: str) -> os.stat_result:
        """Return a file's status as it was when first asked for, symbolic links followed."""
        if path not in self._found:
            self._found[path] = self._base.stat(path)
        return self._found[path]

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        return self._base.read(path)

    def paged(self, path: str) -> bytes | PagedFile:
        """Return a file's content, or what reads a few places of it."""
        return self._base.paged(path)

    def listdir(self, path: str) -> list[str]:
        """Return a directory's entries."""
        return self._base.listdir(path)

    def real(self, path: str) -> str:
        """Return where a path lies on the machine this process runs on."""
        return self._base.real(path)

    def follow(self, path: str) -> Followed:
        """Return the links on the way that a path takes, and where it ends."""
        return self._base.follow(path)

    def open_module(self, path: str) -> ModuleFile:
        """Open a module's file. OSError as :class:`ukmod.kmod.modfile.ModuleFile` raises it."""
        return self._base.open_module(path)
