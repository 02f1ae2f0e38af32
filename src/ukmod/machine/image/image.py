"""A kernel image as a distribution installs it: a bzImage, or a vmlinux as it was linked."""

from __future__ import annotations

import hashlib
import mmap
import os
from functools import cached_property

from ukmod.errors import FormatError, NotFoundError
from ukmod.kmod.elf import STB_GLOBAL, STT_FUNC, STT_NOTYPE, STT_OBJECT, Section
from ukmod.machine.image.cache import Cache, default_directory
from ukmod.machine.image.kallsyms import read_kallsyms
from ukmod.machine.image.ksymtab import Export, read_exports
from ukmod.machine.image.payload import LIMIT, is_packed, unpack
from ukmod.machine.image.symbols import Symbol, SymbolTable
from ukmod.machine.image.vmlinux import Segment, Vmlinux

__all__ = ["KernelImage"]

_HEAD = 1024
_DIGEST = 32
_CACHE_VERSION = 1
"""Changed with what the cache's entries mean."""


class KernelImage:
    """A kernel image and what it says of itself; everything but its unpacking is done when it is asked for.

    A packed image is unpacked once and then mapped from ``cache`` (a directory, None for the user's own, ""
    for none). ``limit`` is the most bytes it may unpack to. Raises NotFoundError if it cannot be read,
    FormatError if it is no x86-64 kernel, and LimitError.
    """

    def __init__(self, path: str, *, cache: str | None = None, limit: int = LIMIT) -> None:
        self.path = path
        self._cache: Cache | None = None
        try:
            with open(path, "rb") as file:
                head = file.read(_HEAD)
                if is_packed(head):
                    packed = head + file.read(LIMIT)
                    data = self._unpacked(packed, cache, limit)
                elif head:
                    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                else:
                    raise FormatError("it is empty", path=path, offset=0)
        except OSError as error:
            raise NotFoundError(f"cannot read: {error.strerror}", errno=error.errno, subject=path) from error
        self.vmlinux = Vmlinux(data, path)

    def _unpacked(self, packed: bytes, cache: str | None, limit: int) -> bytes | mmap.mmap:
        directory = default_directory() if cache is None else cache
        if not directory:
            return unpack(packed, path=self.path, limit=limit)
        digest = hashlib.sha256(packed).hexdigest()
        self._cache = Cache(os.path.join(directory, "images", f"{digest}-{_CACHE_VERSION}"))
        kept = self._cache.get("vmlinux")
        if kept is not None:
            return kept
        data = unpack(packed, path=self.path, limit=limit)
        Vmlinux(data, self.path)  # what is none is not worth keeping
        self._cache.put("vmlinux", data)
        return data

    # Memory

    @property
    def data(self) -> bytes | mmap.mmap:
        """The vmlinux; segments' and sections' offsets are into this."""
        return self.vmlinux.data

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What to map where."""
        return self.vmlinux.segments

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections with their addresses."""
        return self.vmlinux.sections

    def section(self, name: str) -> Section | None:
        """Return the first section of a name."""
        return self.vmlinux.section(name)

    def read(self, address: int, size: int) -> bytes:
        """Return what is at an address before the kernel has run; FormatError outside of it."""
        return self.vmlinux.read(address, size)

    # What it says of itself

    @cached_property
    def banner(self) -> str:
        """``linux_banner`` without the newline: "Linux version ..."."""
        return self.vmlinux.banner()

    @property
    def release(self) -> str:
        """What ``uname -r`` prints."""
        return self.banner.split(" ")[2]

    @cached_property
    def vermagic(self) -> str:
        """What modules must have for their vermagic; "" if it is not found."""
        return self.vmlinux.vermagic(self.release)

    @property
    def btf(self) -> bytes:
        """The raw BTF; FormatError for a kernel built without CONFIG_DEBUG_INFO_BTF."""
        content = self.vmlinux.content(".BTF")
        if not content:
            raise FormatError("has no BTF: it was built without CONFIG_DEBUG_INFO_BTF", path=self.path)
        return content

    @cached_property
    def exports(self) -> dict[str, Export]:
        """The exported symbols by name."""
        return read_exports(self.vmlinux)

    @cached_property
    def symbols(self) -> SymbolTable:
        """All symbols: those of kallsyms, or of the ELF file in a kernel without."""
        kept = None if self._cache is None else self._cache.get("symbols")
        if kept is not None:
            try:
                return SymbolTable.from_bytes(kept[:-_DIGEST])
            except ValueError:
                pass  # another machine's, on a home directory they share
        table = SymbolTable.of(read_kallsyms(self.vmlinux) or _linked_symbols(self.vmlinux))
        if self._cache is not None:
            self._cache.put("symbols", table.to_bytes())
        return table


def _linked_symbols(vmlinux: Vmlinux) -> list[Symbol]:
    """The symbols of the ELF file, with such letters as nm(1) gives."""
    letters = {STT_FUNC: "t", STT_OBJECT: "d", STT_NOTYPE: "a"}
    found = []
    for symbol in vmlinux.elf.symbols:
        letter = letters.get(symbol.type)
        if letter is not None and symbol.name and symbol.shndx:
            is_global = symbol.bind == STB_GLOBAL
            found.append(Symbol(symbol.name, letter.upper() if is_global else letter, symbol.value))
    return found
