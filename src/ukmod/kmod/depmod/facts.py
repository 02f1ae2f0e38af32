"""The facts that depmod needs from one module file."""

from __future__ import annotations

import errno
import os

from ukmod.errors import FormatError, LimitError
from ukmod.kmod.elf import Elf
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.symbols import find_exports, needed_names, needed_symbols

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.elf import ByteSource

    Texts = tuple[str, ...]
    PackedFacts = tuple[Texts, Texts, Texts, Texts, Texts, Texts, int, tuple[int, ...]]

__all__ = ["Facts", "facts_of", "read_facts"]

_SMALL = 1 << 16
"""Files up to this size are read whole: that is faster than the ten reads that larger ones take."""


class Facts:
    """One module's part in the whole. There are thousands, so it is a plain class; nobody changes one.

    ``exports`` and ``needs`` are symbols, ``weak`` those of the needed that may be missing; ``crcs`` are the
    CRCs of both, one after the other, if they were asked for. ``aliases``, ``softdeps`` and ``weakdeps`` are
    as in the module. ``failure`` is why the module could not be read, an error number or 0: such a module is
    listed without dependencies.
    """

    __slots__ = ("aliases", "crcs", "exports", "failure", "needs", "softdeps", "weak", "weakdeps")

    def __init__(
        self,
        exports: Texts = (),
        needs: Texts = (),
        weak: Texts = (),
        aliases: Texts = (),
        softdeps: Texts = (),
        weakdeps: Texts = (),
        failure: int = 0,
        crcs: tuple[int, ...] = (),
    ) -> None:
        self.exports = exports
        self.needs = needs
        self.weak = weak
        self.aliases = aliases
        self.softdeps = softdeps
        self.weakdeps = weakdeps
        self.failure = failure
        self.crcs = crcs

    def pack(self) -> PackedFacts:
        """Return what ``Facts(*packed)`` takes: nothing that marshal does not know."""
        texts = (self.exports, self.needs, self.weak, self.aliases, self.softdeps, self.weakdeps)
        return (*texts, self.failure, self.crcs)


def read_facts(path: str, *, crcs: bool = False) -> Facts:
    """Read a module file. ``failure`` tells what went wrong with it.

    Raises MissingExtraError alone, for a module compressed with zstd if this Python cannot unpack it: an
    index without such modules would be of no use.
    """
    try:
        with ModuleFile(path) as file:
            return facts_of(file, crcs=crcs)
    except OSError as error:
        return Facts(failure=error.errno or errno.EIO)


def facts_of(file: ModuleFile, *, crcs: bool = False) -> Facts:
    """Return the facts of a module file that is open or has been read; see :func:`read_facts`."""
    try:
        if file.compression or file.was_read:
            return _facts(file.elf(), crcs=crcs)
        return _facts(Elf(_source(file.fileno()), file.path), crcs=crcs)
    except (FormatError, LimitError) as error:
        return Facts(failure=error.errno)


def _facts(elf: Elf, *, crcs: bool) -> Facts:
    needs: list[str] = []
    weak: set[str] = set()
    needed_crcs: list[int] = []
    exports = find_exports(elf, crcs=crcs)
    try:
        needs, weak = needed_names(elf)
        if crcs:
            needed_crcs = [crc for _name, _weak, crc in needed_symbols(elf)]
    except FormatError:
        pass  # kmod says nothing of this either: without a symbol table nothing is needed
    aliases, softdeps, weakdeps = elf.modinfo_texts((b"alias=", b"softdep=", b"weakdep="))
    return Facts(
        exports=tuple([name for name, _crc in exports]),
        needs=tuple(needs),
        weak=tuple(sorted(weak)),
        aliases=aliases,
        softdeps=softdeps,
        weakdeps=weakdeps,
        crcs=(*[crc for _name, crc in exports], *needed_crcs) if crcs else (),
    )


def _source(fd: int) -> ByteSource:
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0) if size <= _SMALL else _Window(fd, size)


class _Window:
    """A file, read where it is sliced: depmod needs a tenth of a module."""

    __slots__ = ("_fd", "_size")

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> bytes:
        return os.pread(self._fd, span.stop - span.start, span.start)
