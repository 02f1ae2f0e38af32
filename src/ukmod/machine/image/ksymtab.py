"""A kernel's exports: ``__ksymtab`` and related sections (include/linux/export.h, kernel/module/)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from ukmod.errors import FormatError
from ukmod.kmod.elf import Section, string_at
from ukmod.kmod.linkage import KFLAGSTAB, KSYM_FLAG_GPL_ONLY
from ukmod.machine.image.symbols import LONGEST_NAME
from ukmod.machine.image.vmlinux import Vmlinux
from ukmod.machine.registers import MASK64

__all__ = ["KernelSymbol", "Ksymtab", "read_exports"]

_TABLES = (("__ksymtab", "__kcrctab", False), ("__ksymtab_gpl", "__kcrctab_gpl", True))
_STRINGS = "__ksymtab_strings"
_NAMESPACED, _PLAIN = 12, 8
"""Sizes of struct kernel_symbol: relative offsets of value, name and, since 5.4, namespace."""
_ADDRESS, _CRC = struct.Struct("<Q"), struct.Struct("<q")
_LONGEST_NAMESPACE = 64
_EXPORTS = 1 << 18
"""The maximum number of entries in a table; Debian's kernels have some 10,000."""


class KernelSymbol(NamedTuple):
    """An exported symbol. ``crc`` is None in a kernel without CONFIG_MODVERSIONS."""

    name: str
    address: int
    gpl: bool
    crc: int | None
    namespace: str


class Ksymtab(Mapping[str, KernelSymbol]):
    """The exports by name, in the order of the tables.

    They are kept in columns: a snapshot has 10,000 of them, and a run asks for some dozens.
    """

    def __init__(self, names: str, addresses: bytes, gpl: bytes, crcs: bytes, spaces: dict[int, str]) -> None:
        """``names``: joined by NULs; ``addresses``, ``crcs``: 8 bytes each, a CRC of -1 for none.

        gpl: a byte each. spaces: the namespaces, by the index of the export.
        """
        self._columns = names, addresses, gpl, crcs, spaces

    @classmethod
    def of(cls, exports: Iterable[KernelSymbol]) -> Ksymtab:
        """Make a table of exports whose names differ."""
        rows = list(exports)
        return cls(
            "\0".join(row.name for row in rows),
            b"".join(_ADDRESS.pack(row.address) for row in rows),
            bytes(row.gpl for row in rows),
            b"".join(_CRC.pack(-1 if row.crc is None else row.crc) for row in rows),
            {index: row.namespace for index, row in enumerate(rows) if row.namespace},
        )

    def __reduce__(self) -> tuple[object, ...]:
        return Ksymtab, self._columns

    @cached_property
    def _indexes(self) -> dict[str, int]:
        names, _, gpl, _, _ = self._columns
        return dict(zip(names.split("\0"), range(len(gpl)), strict=True)) if gpl else {}

    def __getitem__(self, name: str) -> KernelSymbol:
        index = self._indexes[name]
        _, addresses, gpl, crcs, spaces = self._columns
        (address,), (crc,) = _ADDRESS.unpack_from(addresses, 8 * index), _CRC.unpack_from(crcs, 8 * index)
        return KernelSymbol(name, address, bool(gpl[index]), None if crc < 0 else crc, spaces.get(index, ""))

    def __iter__(self) -> Iterator[str]:
        return iter(self._indexes)

    def __len__(self) -> int:
        return len(self._indexes)


def read_exports(vmlinux: Vmlinux) -> dict[str, KernelSymbol]:
    """Return the exports by name; none for a kernel without modules. FormatError for corrupt tables."""
    strings = vmlinux.section(_STRINGS)
    if strings is None:
        return {}
    text = vmlinux.elf.section_data(strings)
    exports: dict[str, KernelSymbol] = {}
    for table, crcs, gpl in _TABLES:
        section = vmlinux.section(table)
        if section is not None:
            flags = b"" if gpl else vmlinux.content(KFLAGSTAB)
            found = _read_table(vmlinux, section, vmlinux.content(crcs), (strings.addr, text), gpl)
            for index, export in enumerate(found):
                flagged = index < len(flags) and bool(flags[index] & KSYM_FLAG_GPL_ONLY)
                exports.setdefault(export.name, export._replace(gpl=True) if flagged else export)
    return exports


def _read_table(
    vmlinux: Vmlinux,
    section: Section,
    crcs: bytes,
    strings: tuple[int, bytes],
    gpl: bool,  # noqa: FBT001
) -> Iterator[KernelSymbol]:
    data = vmlinux.elf.section_data(section)
    size = _entry_size(data, crcs, section.addr, strings)
    count = len(data) // size
    if size not in (_PLAIN, _NAMESPACED) or len(data) % size or (crcs and len(crcs) != 4 * count):
        raise FormatError(
            f"{section.name} ends within an entry, or its CRCs do not match it in number",
            path=vmlinux.path,
            offset=section.offset,
        )
    if count > _EXPORTS:
        raise FormatError(
            f"{section.name} has {count} entries, more than {_EXPORTS}",
            path=vmlinux.path,
            offset=section.offset,
        )
    sums: list[int | None] = [*struct.unpack(f"<{count}I", crcs)] if crcs else [None] * count
    first, text = strings
    for index, crc in enumerate(sums):
        here = section.addr + index * size
        value, name = struct.unpack_from("<ii", data, index * size)
        name_at = here + 4 + name - first
        if not 0 <= name_at < len(text) or text.find(0, name_at, name_at + LONGEST_NAME) < 0:
            at = section.offset + index * size
            raise FormatError(f"{section.name}[{index}] has no name", path=vmlinux.path, offset=at)
        (space,) = struct.unpack_from("<i", data, index * size + 8) if size == _NAMESPACED else (0,)
        namespace = _namespace(vmlinux, here + 8 + space, strings) if space else ""
        yield KernelSymbol(_text(text, name_at), here + value & MASK64, gpl, crc, namespace)


def _entry_size(data: bytes, crcs: bytes, address: int, strings: tuple[int, bytes]) -> int:
    """The size of an entry: from the number of CRCs, or else the size that gives the second entry a name."""
    if crcs:
        return len(data) // (len(crcs) // 4 or 1) or _NAMESPACED
    if len(data) >= 2 * _NAMESPACED:
        (name,) = struct.unpack_from("<i", data, _NAMESPACED + 4)
        if not 0 <= address + _NAMESPACED + 4 + name - strings[0] < len(strings[1]):
            return _PLAIN
    return _NAMESPACED if len(data) % _NAMESPACED == 0 else _PLAIN


def _namespace(vmlinux: Vmlinux, address: int, strings: tuple[int, bytes]) -> str:
    """A namespace is among the names, or in .rodata."""
    first, text = strings
    if 0 <= address - first < len(text):
        return _text(text, address - first)
    return _text(vmlinux.read(address, _LONGEST_NAMESPACE), 0)


def _text(table: bytes, at: int) -> str:
    return string_at(table, at).decode("utf-8", "replace")
