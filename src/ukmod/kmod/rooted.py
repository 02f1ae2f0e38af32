"""The files of a root that is not this machine's: symbolic links are followed as if it were ``/``.

An image's links mean what they mean to the system in it: an absolute one begins at its root, and ``..`` at
the root stays there. The rules are those of openat2(2) with RESOLVE_IN_ROOT. Paths are spelled as this
machine sees them, with the root before them; any other path is this machine's own.
"""

from __future__ import annotations

import errno
import os

from ukmod.kmod.directory import DirectoryFiles, possible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ukmod.kmod.host import Files, Followed

__all__ = ["RootedFiles", "files_below", "resolve_in_root"]

MOST_LINKS = 40
"""Links in one path, as in the kernel (MAXSYMLINKS)."""

_NULL = "/dev/null"


def resolve_in_root(
    path: str,
    root: str,
    readlink: Callable[[str], str] = os.readlink,
    passed: list[tuple[str, str]] | None = None,
) -> str:
    """Follow all links of a path below a root, as after chroot(2).

    ``root`` has no slash at its end: it is empty for this machine's own. What does not exist is left as it is
    spelled. ``passed`` is given the links on the way: where each one is, and its target as it is written.
    Raises OSError with ELOOP for a path of more than 40 links.
    """
    current = root
    todo = path.removeprefix(root).split("/")[::-1]
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            current = current.rpartition("/")[0] if len(current) > len(root) else root
        elif part not in ("", "."):
            try:
                target = readlink(f"{current}/{part}")
            except OSError as error:
                current = f"{current}/{part}"
                if error.errno != errno.EINVAL:  # EINVAL: it is there, and is not a link
                    return "/".join([current, *todo[::-1]])
                continue
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if passed is not None:
                passed.append((f"{current}/{part}", target))
            current = root if target.startswith("/") else current
            todo += target.split("/")[::-1]
    return current or "/"


class RootedFiles(DirectoryFiles):
    """The files of this machine, of which those below ``root`` are seen as the system in it sees them.

    The root's /dev/null exists, as it will when that system runs: a link to it is how a file of modprobe.d is
    hidden.
    """

    __slots__ = ()

    def real(self, path: str) -> str:
        """Return where a path of this machine leads.

        OSError with ELOOP for one of too many links, ENOENT for what is no path.
        """
        if not possible(path).startswith(f"{self._root}/"):
            return path
        resolved = resolve_in_root(path, self._root)
        return _NULL if resolved == self._root + _NULL else resolved

    def follow(self, path: str) -> Followed:
        """Return the links on the way that a path takes, and where it ends.

        OSError as :meth:`real` raises it.
        """
        links: list[tuple[str, str]] = []
        inside = possible(path).startswith(f"{self._root}/")
        end = resolve_in_root(path, self._root if inside else "", passed=links)
        return links, end


def files_below(root: str) -> Files:
    """Return the files for what lies below an absolute root: for ``/`` those of this machine."""
    return RootedFiles(root) if root.rstrip("/") else DirectoryFiles()
