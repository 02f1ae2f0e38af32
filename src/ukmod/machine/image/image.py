"""A kernel image as distributions install it (a bzImage), or as the linker made it (a vmlinux)."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import sys
import time
from functools import cached_property
from io import BufferedReader

from ukmod.errors import FormatError, LimitError, NotFoundError
from ukmod.kmod.elf import STB_GLOBAL, STT_FUNC, STT_NOTYPE, STT_OBJECT, Section
from ukmod.kmod.regular import identity, open_regular
from ukmod.machine.image.cache import MAC_SIZE, Cache, default_directory
from ukmod.machine.image.ksymtab import Ksymtab, read_exports
from ukmod.machine.image.payload import LIMIT, PACKED_LIMIT, is_packed, unpack
from ukmod.machine.image.symbols import ImageSymbol, ImageSymbols
from ukmod.machine.image.vmlinux import Segment, Vmlinux, check_head

__all__ = ["KernelImage"]

_HEAD = 1024
_LARGEST = 1 << 31
"""The maximum size of a vmlinux in bytes; one with full debugging information has some 800 MB."""
_IMAGE = "image-"
_DIGESTS = 64
"""The number of images whose digests are remembered."""
_CACHE_VERSION = 6
"""Increased whenever the format of the cache's entries changes."""


def _opened(path: str) -> int:
    """Open a file for reading; raises OSError, and FormatError if it is not a regular one."""
    try:
        return open_regular(path, sys.maxsize)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise FormatError("not a kernel image: not a regular file", path=path) from error


def _checked_size(file: BufferedReader, limit: int, path: str) -> int:
    """Return the size of an open file in bytes; raises LimitError if it is larger than ``limit``."""
    size = os.fstat(file.fileno()).st_size
    if size > limit:
        raise LimitError(f"not a kernel image: larger than {limit >> 20:,} MiB", subject=path)
    return size


class KernelImage:
    """A kernel image and its properties, each read or computed on first use.

    A packed image is unpacked once and then mapped from ``cache`` (a directory; None for the user's own, ""
    for none). ``limit`` is the maximum size of the unpacked image in bytes. ``given`` are the file's bytes,
    for one that lies in an archive. Any property raises NotFoundError if the file cannot be read, FormatError
    if it is not an x86-64 kernel, and LimitError.
    """

    def __init__(
        self, path: str, *, cache: str | None = None, limit: int = LIMIT, given: bytes | None = None
    ) -> None:
        self.path = path
        self._given = given
        self._directory = default_directory() if cache is None else cache
        self._limit = limit

    @cached_property
    def _file(self) -> BufferedReader:
        """The file, opened only once: a file that replaces it meanwhile is another image."""
        try:
            return open(_opened(self.path), "rb")
        except OSError as error:
            text = f"cannot read: {error.strerror}"
            raise NotFoundError(text, errno=error.errno, subject=self.path) from error

    def __del__(self) -> None:
        if "_file" in vars(self):
            self._file.close()

    @cached_property
    def _content(self) -> bytes | mmap.mmap:
        if self._given is not None:
            return self._given
        file = self._file
        try:
            head = _read(file, _HEAD)
            if is_packed(head):
                return _read(file, _checked_size(file, PACKED_LIMIT, self.path))
            check_head(head, self.path)  # an empty file cannot be mapped
            return self._copy(file)
        except OSError as error:
            text = f"cannot read: {error.strerror}"
            raise NotFoundError(text, errno=error.errno, subject=self.path) from error

    def _copy(self, file: BufferedReader) -> mmap.mmap:
        """Read a vmlinux. Were it mapped, another process that truncates it would end this one by SIGBUS."""
        size = _checked_size(file, _LARGEST, self.path)
        content = mmap.mmap(-1, size)
        with memoryview(content) as view:
            at = 0
            while at < size and (count := _read_into(file, view[at:], at)):
                at += count
        if at < size:
            raise FormatError("was truncated while it was read", path=self.path, offset=at)
        return content

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the file in hexadecimal. It is remembered until the file changes."""
        if not self._directory or self._given is not None:
            return hashlib.sha256(self._content).hexdigest()
        digests = Cache(os.path.join(self._directory, "digests"))
        status = os.fstat(self._file.fileno())
        name, about = f"{_IMAGE}{status.st_dev}-{status.st_ino}", identity(status, time.time_ns())
        if (known := digests.recall(name, about)) is not None:
            return known.decode()
        digest = hashlib.sha256(self._content).hexdigest()
        digests.remember(name, about, digest.encode())
        digests.trim(_IMAGE, _DIGESTS)
        return digest

    @cached_property
    def cache(self) -> Cache | None:
        """The cache for this very image; None if nothing is to be cached."""
        if not self._directory:
            return None
        return Cache(os.path.join(self._directory, "images", f"{self.digest}-{_CACHE_VERSION}"))

    @cached_property
    def vmlinux(self) -> Vmlinux:
        """The kernel as it was linked."""
        packed = self._content
        if isinstance(packed, mmap.mmap) or not is_packed(packed[:_HEAD]):
            return Vmlinux(packed, self.path)
        kept = None if self.cache is None else self.cache.get("vmlinux")
        if kept is not None:
            return Vmlinux(kept, self.path)
        data = unpack(packed, path=self.path, limit=self._limit)
        vmlinux = Vmlinux(data, self.path)  # raises before anything else is cached
        if self.cache is not None:
            self.cache.put("vmlinux", data)
        return vmlinux

    def facts(self) -> dict[str, object]:
        """The facts about the image that take long to read, for ``recall``."""
        return {"banner": self.banner, "vermagic": self.vermagic, "exports": self.exports}

    def recall(self, facts: dict[str, object]) -> None:
        """Accept facts that this very image yielded earlier."""
        vars(self).update(facts)

    # Memory

    @property
    def data(self) -> bytes | mmap.mmap:
        """The bytes of the vmlinux; offsets of segments and sections refer to them."""
        return self.vmlinux.data

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments to map."""
        return self.vmlinux.segments

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections with their addresses."""
        return self.vmlinux.sections

    def section(self, name: str) -> Section | None:
        """Return the first section with this name."""
        return self.vmlinux.section(name)

    def read(self, address: int, size: int) -> bytes:
        """Return the initial bytes at an address; FormatError if it is outside the kernel."""
        return self.vmlinux.read(address, size)

    def has_text(self, text: str) -> bool:
        """True if the image contains this text, such as a message of code that may be configured out."""
        return self.data.find(text.encode()) >= 0

    # Properties

    @cached_property
    def banner(self) -> str:
        """``linux_banner`` without the newline: "Linux version ..."."""
        return self.vmlinux.banner()

    @property
    def release(self) -> str:
        """The output of ``uname -r``."""
        return self.banner.split(" ")[2]

    @cached_property
    def vermagic(self) -> str:
        """The vermagic that modules must have; "" if it is not found."""
        return self.vmlinux.vermagic(self.release)

    @property
    def has_btf(self) -> bool:
        """True if it was built with CONFIG_DEBUG_INFO_BTF."""
        section = self.vmlinux.section(".BTF")
        return section is not None and section.size > 0

    @property
    def has_dwarf(self) -> bool:
        """True for a vmlinux with its debugging information, which no packed image has."""
        section = self.vmlinux.section(".debug_info")
        return section is not None and section.size > 0

    @property
    def btf(self) -> bytes:
        """The raw BTF; FormatError for a kernel built without CONFIG_DEBUG_INFO_BTF."""
        content = self.vmlinux.content(".BTF")
        if not content:
            raise FormatError("has no BTF (CONFIG_DEBUG_INFO_BTF)", path=self.path)
        return content

    @cached_property
    def exports(self) -> Ksymtab:
        """The exported symbols by name."""
        return Ksymtab.of(read_exports(self.vmlinux).values())

    def address(self, name: str) -> int | None:
        """The address of a symbol, exported or not; a per-CPU symbol's offset; None if there is none."""
        export = self.exports.get(name)
        return export.address if export is not None else self.symbols.get(name)

    @cached_property
    def symbols(self) -> ImageSymbols:
        """All symbols, from kallsyms or else from the ELF file; FormatError if it has neither."""
        kept = None if self.cache is None else self.cache.get("symbols")
        if kept is not None:
            try:
                return ImageSymbols.from_bytes(memoryview(kept)[:-MAC_SIZE])
            except ValueError:
                pass  # written on another kind of machine that shares the home directory
        from ukmod.machine.image.kallsyms import read_kallsyms  # once for each image
        from ukmod.machine.image.variables import names_variables, symbols_beside, unnamed

        found = read_kallsyms(self.vmlinux) or _linked_symbols(self.vmlinux)
        if not found:
            text = "has no symbols (CONFIG_KALLSYMS): name its vmlinux, with a symbol table"
            raise FormatError(text, path=self.path)
        is_whole = names_variables(found)
        if not is_whole:
            found += unnamed(found, _linked_symbols(self.vmlinux) or symbols_beside(self, found))
        table = ImageSymbols.of(found)
        if self.cache is not None and (is_whole or names_variables(found)):
            self.cache.put("symbols", table.to_bytes())
        return table


def _read(file: BufferedReader, size: int) -> bytes:
    """The beginning of a file. Forks share the position in it, which therefore does not matter."""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, 0)
    file.seek(0)
    return file.read(size)


def _read_into(file: BufferedReader, view: memoryview, at: int) -> int:
    """Read the part of a file that begins at ``at``; returns the number of bytes. As ``_read``."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [view], at)
    file.seek(at)
    return file.readinto(view)


def _linked_symbols(vmlinux: Vmlinux) -> list[ImageSymbol]:
    """The symbols of the ELF file, with letters as in nm(1)."""
    letters = {STT_FUNC: "t", STT_OBJECT: "d", STT_NOTYPE: "a"}
    found = []
    for symbol in vmlinux.elf.symbols:
        letter = letters.get(symbol.type)
        if letter is not None and symbol.name and symbol.shndx:
            is_global = symbol.bind == STB_GLOBAL
            found.append(ImageSymbol(symbol.name, letter.upper() if is_global else letter, symbol.value))
    return found
