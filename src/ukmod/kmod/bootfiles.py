"""The files that boot loaders read: where their partitions are, and how a file that is not there is read."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.host import Files

__all__ = ["BOOT_DIRECTORIES", "names_in", "text_of"]

BOOT_DIRECTORIES = ("/boot", "/efi", "/boot/efi")
"""The places of the boot partition, and of the EFI system partition."""
_LIMIT = 1 << 22
"""Bytes of a text that are looked at."""


def text_of(files: Files, path: str) -> str:
    """Return the text of a file; it is empty if the file cannot be read."""
    try:
        return os.fsdecode(files.read(path)[:_LIMIT])
    except OSError:
        return ""


def names_in(files: Files, directory: str) -> list[str]:
    """Return the names in a directory, sorted; none if it cannot be read."""
    try:
        return sorted(files.listdir(directory))
    except OSError:
        return []
