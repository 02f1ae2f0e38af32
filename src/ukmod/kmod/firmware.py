"""Firmware files: where the kernel looks for what a module's ``firmware`` fields name."""

from __future__ import annotations

import re
import stat
from fnmatch import fnmatchcase

from ukmod.kmod.directory import DirectoryFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ukmod.kmod.host import Files

__all__ = ["firmware_directories", "firmware_files"]

# drivers/base/firmware_loader/main.c, fw_path[]
_DIRECTORIES = (
    "/lib/firmware/updates/{release}",
    "/lib/firmware/updates",
    "/lib/firmware/{release}",
    "/lib/firmware",
)
_SUFFIXES = ("", ".zst", ".xz")
_WILDCARD = re.compile(r"[*?[]")


def firmware_directories(root: str, release: str) -> tuple[str, ...]:
    """Return the directories the kernel of ``release`` looks in, in its order, below ``root``."""
    return tuple([root.rstrip("/") + directory.format(release=release) for directory in _DIRECTORIES])


def firmware_files(name: str, directories: Iterable[str], files: Files | None = None) -> list[str]:
    """Return the files that a ``firmware`` field names; none if nothing is installed.

    Of several with one name the kernel takes the first. A field may hold wildcards (since 6.14): then it
    names any number of files. One that leaves the directories (``../``) names nothing: so the kernel has it.
    ``files`` are those that the directories are in: this machine's, by default.
    """
    if ".." in name.split("/"):
        return []
    files = DirectoryFiles() if files is None else files
    if not _WILDCARD.search(name):
        paths = (f"{directory}/{name}{suffix}" for directory in directories for suffix in _SUFFIXES)
        return next(([path] for path in paths if _is_file(files, path)), [])
    found: dict[str, str] = {}
    for directory in directories:
        for suffix in _SUFFIXES:
            for field in sorted(_matching(files, directory, "", f"{name}{suffix}".split("/"))):
                found.setdefault(field.removesuffix(suffix), f"{directory}/{field}")
    return [path for path in found.values() if _is_file(files, path)]


def _matching(files: Files, directory: str, above: str, parts: Sequence[str]) -> Iterator[str]:
    """Yield the paths below a directory that match a pattern, part by part; none begins with a dot."""
    part, *rest = parts
    try:
        names = files.listdir(f"{directory}/{above}") if _WILDCARD.search(part) else [part]
    except OSError:
        return
    for name in names:
        if fnmatchcase(name, part) and (not name.startswith(".") or part.startswith(".")):
            if rest:
                yield from _matching(files, directory, f"{above}{name}/", rest)
            else:
                yield f"{above}{name}"


def _is_file(files: Files, path: str) -> bool:
    try:
        return stat.S_ISREG(files.stat(path).st_mode)
    except OSError:
        return False
