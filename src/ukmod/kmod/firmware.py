"""Firmware files: where the kernel looks for what a module's ``firmware`` fields name."""

from __future__ import annotations

import glob
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


def firmware_files(name: str, directories: Iterable[str]) -> list[str]:
    """Return the files that a ``firmware`` field names; none if nothing is installed.

    Of several with one name the kernel takes the first. A field may hold wildcards (since 6.14): then it
    names any number of files. One that leaves the directories (``../``) names nothing: so the kernel has it.
    """
    if ".." in name.split("/"):
        return []
    if not _WILDCARD.search(name):
        return _first(f"{directory}/{name}{suffix}" for directory in directories for suffix in _SUFFIXES)
    found: dict[str, str] = {}
    for directory in directories:
        for suffix in _SUFFIXES:
            for path in sorted(glob.glob(f"{glob.escape(directory)}/{name}{suffix}")):
                found.setdefault(path[len(directory) :].removesuffix(suffix), path)
    return [path for path in found.values() if os.path.isfile(path)]


def _first(paths: Iterator[str]) -> list[str]:
    return next(([path] for path in paths if os.path.isfile(path)), [])
