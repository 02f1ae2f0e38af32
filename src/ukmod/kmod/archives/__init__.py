"""Archives as roots: what is in an initramfs or a package, read in place; nothing is unpacked on disk.

:func:`open_archive` tells the kinds apart by their first bytes. Each becomes an :class:`ArchiveFiles`, a
:class:`ukmod.kmod.host.Files` in memory: so whatever works on a root works on an archive.
"""

from __future__ import annotations

from ukmod.errors import NotFoundError
from ukmod.kmod.archives.containers import entries_of
from ukmod.kmod.archives.files import ArchiveFiles
from ukmod.kmod.regular import MODULE_LIMIT, read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.host import Files

__all__ = ["ArchiveFiles", "open_archive"]


def open_archive(path: str, above: Files | None = None) -> ArchiveFiles:
    """Return the files in an archive, below the archive's own path.

    above: the files that it is one of; this machine's by default.

    It is a cpio archive (newc), or several one after another, each packed or not; a tar archive; a unified
    kernel image; a .deb or a .rpm; a squashfs, whose files are unpacked when they are read.

    Raises FormatError, with the offset, if it is damaged or of another kind; LimitError if it unpacks to more
    than 1 GiB or has too many files; MissingExtraError for zstd, if this Python cannot unpack it;
    NotFoundError if it cannot be read.
    """
    try:
        data = read_regular(path, MODULE_LIMIT) if above is None else _raw(path, above)
    except OSError as error:
        raise NotFoundError(error.strerror or str(error), errno=error.errno, subject=path) from error
    return ArchiveFiles(path, entries_of(memoryview(data), path))


def _raw(path: str, files: Files) -> bytes:
    with files.open_module(path) as file:
        return file.raw()
