"""Unified kernel images (UAPI.5), and the command lines that their boot stub makes of them and of addons."""

from __future__ import annotations

import os
import struct

from ukmod.errors import UkmodError
from ukmod.kmod.bootfiles import BOOT_DIRECTORIES, names_in
from ukmod.kmod.config import Source
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.kernelargs import BootArguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kmod.elf import ByteSource
    from ukmod.kmod.host import Files

__all__ = ["unified_image", "unified_images"]

_TEXTS = frozenset((".cmdline", ".uname", ".profile"))
_LONGEST = 1 << 16
_HEAD = 1 << 12
"""Bytes at the beginning of a PE file in which all its headers are."""


def unified_images(files: Files, root: str) -> Iterator[tuple[str, BootArguments]]:
    """Yield the release of each image below a root, with each command line; the root may be one itself."""
    if root and (image := unified_image(DirectoryFiles(), f"{root}/boot", root)) is not None:
        for text in image[1]:
            yield image[0], BootArguments(text, Source(root))
    for boot in BOOT_DIRECTORIES:
        directory = f"{root}{boot}/EFI/Linux"
        for name in names_in(files, directory):
            path = f"{directory}/{name}"
            if (
                name.lower().endswith(".efi")
                and (image := unified_image(files, root + boot, path)) is not None
            ):
                for text in image[1]:
                    yield image[0] or name, BootArguments(text, Source(path))


def unified_image(files: Files, boot: str, path: str) -> tuple[str, list[str]] | None:
    """Return the release of an image, and the command line of each of its profiles; None if it is not one.

    ``boot`` is the partition's place. Addons, the image's own and those for all images, add to the line.
    """
    sections = _sections(files, path)
    if not sections:
        return None
    release = _value(sections, ".uname")
    starts = [at for at, (name, _) in enumerate(sections) if name == ".profile"]
    common = sections[: starts[0]] if starts else sections
    parts = [sections[start:end] for start, end in zip(starts, [*starts[1:], None], strict=False)]
    lines = [_value([*part, *common], ".cmdline") for part in parts or [[]]]
    added = [
        _value(addon, ".cmdline")
        for directory in (f"{path}.extra.d", f"{boot}/loader/addons")
        for name in names_in(files, directory)
        if name.endswith(".addon.efi")
        and _value(addon := _sections(files, f"{directory}/{name}"), ".uname") in {"", release}
    ]
    return release, [" ".join([one for one in (line, *added) if one]) for line in lines]


def _value(sections: list[tuple[str, str]], wanted: str) -> str:
    """Return the first section of a name, without the blanks around it; an empty text if it is not there."""
    return next((text.strip(" \n\t\r") for name, text in sections if name == wanted), "")


def _sections(files: Files, path: str) -> list[tuple[str, str]]:
    """Return the text sections of a PE file that a boot stub reads, in order; none if it is no such file."""
    try:
        with files.open_module(path) as file:
            return list(_texts(file.source()))
    except (OSError, UkmodError, struct.error):
        return []


def _texts(image: ByteSource) -> Iterator[tuple[str, str]]:
    head = image[0:_HEAD]
    at = int.from_bytes(head[0x3C:0x40], "little")
    if head[:2] != b"MZ" or head[at : at + 4] != b"PE\0\0":
        return
    count = int.from_bytes(head[at + 6 : at + 8], "little")
    table = at + 24 + int.from_bytes(head[at + 20 : at + 22], "little")
    for start in range(table, table + 40 * count, 40):
        entry = head[start : start + 40]
        name = entry[:8].rstrip(b"\0").decode("ascii", "replace")
        if name in _TEXTS:
            virtual, _, size, offset = struct.unpack_from("<4I", entry, 8)
            data = image[offset : offset + min(virtual, size, _LONGEST)]
            yield name, os.fsdecode(data).partition("\0")[0]
