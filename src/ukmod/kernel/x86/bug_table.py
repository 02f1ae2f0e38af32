"""__bug_table: the entries of BUG() and WARN() in the image and in modules, include/asm-generic/bug.h."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.machine.types import Types

BUGFLAG_WARNING: Final = 1 << 0
BUGFLAG_ONCE: Final = 1 << 1
BUGFLAG_DONE: Final = 1 << 2
BUGFLAG_NO_CUT_HERE: Final = 1 << 3
BUGFLAG_ARGS: Final = 1 << 4
_SUFFIXES: Final = ("", ".part.0", ".isra.0", ".cold", "_noprof")
"""The ends of the names that the compiler gives parts of a function, and v6.10 functions that allocate."""


@record
class BugLayout:
    """The size of a struct bug_entry and the offsets of its members in bytes. Pointers are relative."""

    size: int = 12
    address: int = 0
    file: int = 4
    line: int = 8
    flags: int = 10
    format: int | None = None

    def addresses(self, table: bytes, start: int) -> Iterator[tuple[int, int]]:
        """The address of each entry of a table at ``start``, and of the instruction that it is for."""
        for at in range(0, len(table) - self.size + 1, self.size):
            place = at + self.address
            yield start + at, start + place + int.from_bytes(table[place : place + 4], "little", signed=True)


def bug_layout(types: Types) -> BugLayout:
    """The layout of struct bug_entry; that of v6.1 if no type is known."""
    if not types.has("bug_entry", "file_disp"):
        return BugLayout()
    address, file, line, flags = (
        types.offset("bug_entry", name) for name in ("bug_addr_disp", "file_disp", "line", "flags")
    )
    text = types.offset("bug_entry", "format_disp") if types.has("bug_entry", "format_disp") else None
    return BugLayout(types.sizeof("bug_entry"), address, file, line, flags, text)


@record
class BugEntry:
    """struct bug_entry, with its relative addresses made absolute."""

    flags_at: int
    """The address of ``flags``."""
    file: int
    line: int
    flags: int
    format: int
    """The address of WARN()'s format; 0 if it has none."""


def bug_entry(k: Core, layout: BugLayout, at: int) -> BugEntry:
    """The entry at an address, decoded."""

    def pointed(offset: int) -> int:
        place = at + offset
        target = k.memory.s32(place)
        return place + target if target else 0

    return BugEntry(
        at + layout.flags,
        pointed(layout.file),
        k.memory.u16(at + layout.line),
        k.memory.u16(at + layout.flags),
        pointed(layout.format) if layout.format is not None else 0,
    )


def placed(k: Core, site: Site, *, warning: bool) -> tuple[Site, int]:
    """A place of v6.1's source in the source of this kernel, and the address of its instruction.

    The image's entries of the same file, function and kind tell its line, if they are as many as in v6.1. It
    is left as it is, and the address is 0, if there is no image, or if they are not.
    """
    for function in (site.function, *site.others):
        lines: dict[int, int] = {}
        for rip, entry in _entries_in(k, function):
            if bool(entry.flags & BUGFLAG_WARNING) is warning and _file(k, entry) == site.file:
                lines.setdefault(entry.line, rip)
        if site.line in lines:
            return replace(site, function=function), lines[site.line]
        if len(lines) == site.of:
            line = sorted(lines)[site.nth]
            return replace(site, line=line, function=function), lines[line]
    return site, 0


def _entries_in(k: Core, function: str) -> Iterator[tuple[int, BugEntry]]:
    """The image's entries in a function and its parts, by the address of their instructions."""
    if k.image is None:
        return
    layout = bug_layout(k.types)
    for name in (f"{function}{suffix}" for suffix in _SUFFIXES):
        if (start := k.image.get(name)) is not None:
            end = start + k.image.symbols.size_at(start)
            for rip, at in k.image.bugs.items():
                if start <= rip < end:
                    yield rip, bug_entry(k, layout, at)


def _file(k: Core, entry: BugEntry) -> str:
    return k.memory.cstring(entry.file, 4096).decode("utf-8", "replace") if entry.file else ""
