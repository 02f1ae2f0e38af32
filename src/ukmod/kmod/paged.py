"""Files of which a few places are read: the indexes, in which one name is looked up.

A file is read a page at a time, when something on that page is asked for. To read all indexes as a whole took
a tenth of a modprobe's time. A file that shrinks meanwhile is an error, where a mapped one would kill the
process with SIGBUS.
"""

from __future__ import annotations

import os
import stat

from ukmod.errors import FormatError
from ukmod.kmod.regular import TEXT_LIMIT, open_with_status, read_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import overload

__all__ = ["PagedFile", "open_paged"]

_PAGE = 1 << 13


def open_paged(path: str, name: str = "") -> bytes | PagedFile:
    """Open a regular file of at most TEXT_LIMIT bytes; of a small one this returns the content.

    ``name`` is what errors call it. Raises OSError as :func:`ukmod.kmod.regular.open_regular` does.
    """
    descriptor, status = open_with_status(path, TEXT_LIMIT)
    if stat.S_ISREG(status.st_mode) and status.st_size > _PAGE:
        return PagedFile(descriptor, status.st_size, name or path)
    try:
        return read_all(descriptor, TEXT_LIMIT, _PAGE + 1, path)
    finally:
        os.close(descriptor)


class PagedFile:
    """An open file's bytes, read as they are asked for: slices, single bytes and ``find``, as of bytes."""

    __slots__ = ("_descriptor", "_name", "_pages", "_size")

    def __init__(self, descriptor: int, size: int, name: str) -> None:
        """The descriptor becomes this object's own, which closes it at its end."""
        self._descriptor = descriptor
        self._size = size
        self._name = name
        self._pages: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._size

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, where: int, /) -> int: ...
        @overload
        def __getitem__(self, where: slice, /) -> bytes: ...

    def __getitem__(self, where: int | slice, /) -> int | bytes:
        """Return a byte, or the bytes of a slice. FormatError if the file is shorter than it was."""
        if isinstance(where, int):
            return self._page(where // _PAGE)[where % _PAGE]
        start, end, _step = where.indices(self._size)
        first, last = start // _PAGE, max(end - 1, start) // _PAGE
        if first == last:
            return self._page(first)[start % _PAGE : end - first * _PAGE] if start < end else b""
        pages = b"".join(self._page(number) for number in range(first, last + 1))
        return pages[start % _PAGE : end - first * _PAGE]

    def find(self, wanted: bytes, start: int) -> int:
        """Return where a byte is first found from ``start`` on, or -1."""
        for number in range(start // _PAGE, -(-self._size // _PAGE)):
            found = self._page(number).find(wanted, max(start - number * _PAGE, 0))
            if found >= 0:
                return number * _PAGE + found
        return -1

    def _page(self, number: int) -> bytes:
        page = self._pages.get(number)
        if page is None:
            start = number * _PAGE
            page = os.pread(self._descriptor, _PAGE, start)
            if len(page) < min(_PAGE, self._size - start):
                raise FormatError("the file is shorter than it was", path=self._name, offset=start)
            self._pages[number] = page
        return page

    def __del__(self) -> None:
        os.close(self._descriptor)
