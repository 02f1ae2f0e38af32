"""What depmod wants to know of one module file."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import NamedTuple

from ukmod.errors import FormatError, LimitError, MissingExtraError
from ukmod.kmod.elf import Elf
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.symbols import exported_symbols, needed_symbols

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.elf import Source

__all__ = ["Facts", "read_facts"]


class Facts(NamedTuple):
    """One module's part in the whole.

    ``exports`` are (symbol, CRC), ``needs`` (symbol, weak, CRC); the texts are as in the module. ``failure``
    is why the module could not be read, an error number or 0: such a module is listed without dependencies.
    """

    exports: tuple[tuple[str, int], ...] = ()
    needs: tuple[tuple[str, bool, int], ...] = ()
    aliases: tuple[str, ...] = ()
    softdeps: tuple[str, ...] = ()
    weakdeps: tuple[str, ...] = ()
    failure: int = 0


def read_facts(path: str) -> Facts:
    """Read a module file. Never raises: ``failure`` tells what went wrong."""
    try:
        with ModuleFile(path) as file:
            if file.compression:
                return _facts(Elf(file.contents(), path))
            return _facts(Elf(_Window(file.fileno()), path))
    except OSError as error:
        return Facts(failure=error.errno or errno.EIO)
    except (FormatError, LimitError, MissingExtraError) as error:
        return Facts(failure=error.errno)


def _facts(elf: Elf) -> Facts:
    failure = 0
    exports: list[tuple[str, int]] = []
    needs: list[tuple[str, bool, int]] = []
    try:
        exports = exported_symbols(elf)
    except FormatError as error:
        if error.errno != errno.ENODATA:
            failure = error.errno
    # kmod says nothing of this either: without a symbol table nothing is needed.
    with suppress(FormatError):
        needs = needed_symbols(elf)
    values: dict[str, list[str]] = {"alias": [], "softdep": [], "weakdep": []}
    for key, value in elf.modinfo():
        if key in values:
            values[key].append(value)
    texts = (tuple(values["alias"]), tuple(values["softdep"]), tuple(values["weakdep"]))
    return Facts(tuple(exports), tuple(needs), *texts, failure)


class _Window:
    """A file, read where it is sliced: depmod needs a tenth of a module."""

    __slots__ = ("_fd", "_size")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> bytes:
        return os.pread(self._fd, span.stop - span.start, span.start)


if TYPE_CHECKING:
    _check: type[Source] = _Window
