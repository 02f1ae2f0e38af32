"""Kernel command lines in files that say nothing of the kernel: the Raspberry Pi's and rEFInd's."""

from __future__ import annotations

import re

from ukmod.kmod.bootfiles import BOOT_DIRECTORIES, text_of
from ukmod.kmod.config import Source
from ukmod.kmod.kernelargs import BootArguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kmod.host import Files

__all__ = ["boot_lines"]

_FIRMWARE = ("/boot/firmware", "/boot", "")
"""The places of the Raspberry Pi's boot partition; a root may be that partition itself."""
_REFIND = re.compile(r'\s*"(?:[^"]|"")*"\s+"((?:[^"]|"")*)"')
"""A line of refind_linux.conf: a title, and a command line in which two quotation marks are one."""


def boot_lines(files: Files, root: str) -> Iterator[tuple[str, BootArguments]]:
    """Yield each command line; the kernel that it is for has no name."""
    for boot in _FIRMWARE:
        path = f"{root}{boot}/cmdline.txt"
        if line := text_of(files, path).partition("\n")[0].strip():
            yield "", BootArguments(line, Source(path, 1))
    for boot in BOOT_DIRECTORIES:
        path = f"{root}{boot}/refind_linux.conf"
        for number, line in enumerate(text_of(files, path).splitlines(), 1):
            if found := _REFIND.match(line):
                yield "", BootArguments(found[1].replace('""', '"'), Source(path, number))
