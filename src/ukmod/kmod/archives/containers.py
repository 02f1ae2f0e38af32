"""Kinds of archives: tar, .deb, .rpm, squashfs, unified kernel images; any other counts as an initramfs."""

from __future__ import annotations

import os
import stat
import struct
from io import BytesIO

from ukmod.errors import FormatError, LimitError
from ukmod.kmod.archives.files import MOST_ENTRIES
from ukmod.kmod.archives.initramfs import UnpackingBudget, initramfs_entries
from ukmod.kmod.archives.packing import packing_of, unpack_part
from ukmod.kmod.archives.squashfs import MAGIC as SQUASHFS
from ukmod.kmod.archives.squashfs import squashfs_entries
from ukmod.kmod.compression import DEFAULT_LIMIT
from ukmod.kmod.cpio import ArchiveEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator

__all__ = ["entries_of"]

_AR = b"!<arch>\n"
_RPM = b"\xed\xab\xee\xdb"
_RPM_HEADER = b"\x8e\xad\xe8\x01"
_USTAR = slice(257, 262)
_IMAGES = ((b"sqsh", "a squashfs of big-endian machines"),)
_EROFS = slice(1024, 1028)
_EROFS_MAGIC = b"\xe2\xe1\xf5\xe0"
_MOST_MEMBERS = 64
"""Members of an ar archive; a Debian package has three."""
_LONGEST_RELEASE = 1 << 8
_MOST_SECTIONS = 96
"""Sections of a PE file, as Windows has it; a UKI has some ten."""


def entries_of(data: memoryview, path: str) -> Iterator[ArchiveEntry]:
    """Yield the files in an archive of any kind that we read; FormatError, LimitError if it is damaged."""
    head = bytes(data[:8])
    if head == _AR:
        return _deb(data, path)
    if head.startswith(_RPM):
        return _rpm(data, path)
    if head.startswith(b"MZ"):
        return _unified_image(data, path)
    if bytes(data[_USTAR]) == b"ustar":
        return _tar(data, path)
    if head.startswith(SQUASHFS):
        return squashfs_entries(data, path)
    for magic, name in (*_IMAGES, (_EROFS_MAGIC, "an erofs")):
        place = _EROFS if magic == _EROFS_MAGIC else slice(0, 4)
        if data[place] == magic:
            raise FormatError(f"is {name}: mount it, and name the directory", path=path)
    if packing_of(bytes(data[:16])):
        unpacked, _used = unpack_part(data, path, DEFAULT_LIMIT)
        if unpacked[_USTAR] == b"ustar":
            return _tar(memoryview(unpacked), path)
    return initramfs_entries(data, path)


def _tar(data: memoryview, path: str) -> Iterator[ArchiveEntry]:
    """The members of a tar archive; a member that is cut off, or sparse, is an error."""
    import tarfile

    try:
        with tarfile.open(fileobj=BytesIO(_whole(data)), mode="r:") as archive:
            files: dict[str, ArchiveEntry] = {}
            for number, member in enumerate(archive):
                if number >= MOST_ENTRIES:
                    raise LimitError(f"has more than {MOST_ENTRIES} entries", subject=path)
                if member.size < 0:  # tarfile would read the same member again and again
                    raise FormatError("a file of a negative size", path=path, offset=member.offset)
                end = member.offset_data + member.size
                if member.isreg() and (member.issparse() or end > len(data)):
                    raise FormatError("a file is cut off, or sparse", path=path, offset=member.offset)
                if member.islnk() and (one := files.get(member.linkname)) is not None:
                    entry = ArchiveEntry(member.name, one.mode, one.content, one.owner, file=one.file)
                else:
                    entry = _tar_entry(member, data[member.offset_data : end])
                if stat.S_ISREG(entry.mode):
                    files[member.name] = entry
                yield entry
            if any(data[archive.offset : archive.offset + tarfile.BLOCKSIZE]):
                raise FormatError("a tar header is damaged", path=path, offset=archive.offset)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise FormatError(f"a damaged tar archive: {error}", path=path) from error


def _tar_entry(member: tarfile.TarInfo, content: memoryview) -> ArchiveEntry:
    """The entry of a member that is not a link to an earlier one; of a link to nothing, an empty file."""
    mode, owner = member.mode & 0o7777, (member.uid, member.gid)
    if member.isreg():
        return ArchiveEntry(member.name, stat.S_IFREG | mode, content, owner, file=object())
    if member.issym():
        return ArchiveEntry(member.name, stat.S_IFLNK | 0o777, os.fsencode(member.linkname), owner)
    if member.isdir():
        return ArchiveEntry(member.name, stat.S_IFDIR | mode, b"", owner)
    if member.isdev():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK if member.isblk() else stat.S_IFIFO
        return ArchiveEntry(member.name, kind | mode, b"", owner, (member.devmajor, member.devminor))
    return ArchiveEntry(member.name, stat.S_IFREG | 0o644)


def _whole(data: memoryview) -> bytes:
    """The bytes of a view: without a copy if it shows all of an object."""
    return data.obj if isinstance(data.obj, bytes) and len(data.obj) == len(data) else bytes(data)


def _deb(data: memoryview, path: str) -> Iterator[ArchiveEntry]:
    """The files in the member data.tar of a Debian package: deb(5), ar(5)."""
    at = len(_AR)
    for _ in range(_MOST_MEMBERS):
        if at + 60 > len(data):
            break
        header = bytes(data[at : at + 60])
        digits = header[48:58].strip()
        if header[58:60] != b"`\n" or not digits.isdigit():
            raise FormatError("no header of an ar archive", path=path, offset=at)
        size = int(digits)
        member = data[at + 60 : at + 60 + size]
        if len(member) < size:
            raise FormatError(f"a member of {size} bytes is cut off", path=path, offset=at)
        if header[:16].startswith(b"data.tar"):
            if packing_of(bytes(member[:16])):
                member = memoryview(unpack_part(member, path, DEFAULT_LIMIT)[0])
            yield from _tar(member, path)
            return
        at += 60 + size + (size & 1)
    raise FormatError("is an ar archive without data.tar: no Debian package", path=path)


def _rpm(data: memoryview, path: str) -> Iterator[ArchiveEntry]:
    """The payload of an RPM package: after the lead, the signature and the header, a packed cpio archive."""
    at = 96
    for is_signature in (True, False):
        if data[at : at + 4] != _RPM_HEADER:
            raise FormatError("no header of an RPM package", path=path, offset=at)
        entries, size = _sizes(data, at, path)
        at += 16 + 16 * entries + size
        if is_signature:
            at = at + 7 & ~7
    if at >= len(data):
        raise FormatError("an RPM package without its payload", path=path, offset=len(data))
    return initramfs_entries(data[at:], path, at)


def _sizes(data: memoryview, at: int, path: str) -> tuple[int, int]:
    if at + 16 > len(data):
        raise FormatError("the header of an RPM package is cut off", path=path, offset=at)
    entries, size = struct.unpack(">II", data[at + 8 : at + 16])
    return entries, size


def _unified_image(data: memoryview, path: str) -> Iterator[ArchiveEntry]:
    """The initrds of a unified kernel image; its kernel is a file where boot loaders look.

    The specification is UAPI.5; PE sections are named .initrd, .ucode, .linux and .uname. What is booted with
    is read from the image itself: see :mod:`ukmod.kmod.unified`.
    """
    sections = list(_sections(data, path))
    if not any(name in (".initrd", ".linux") for name, _at, _content in sections):
        raise FormatError("is a PE file without .initrd or .linux: no unified kernel image", path=path)
    names = [content for name, _at, content in sections if name == ".uname"]
    release = bytes(names[0][:_LONGEST_RELEASE]).partition(b"\0")[0] if names else b""
    budget = UnpackingBudget()
    for name, at, content in sections:
        if name in (".ucode", ".initrd"):
            yield from initramfs_entries(content, path, at, budget)
    word = release.decode("utf-8", "surrogateescape").strip()
    for name, _at, content in sections:
        if name == ".linux" and word and "/" not in word:
            yield ArchiveEntry(f"boot/vmlinuz-{word}", stat.S_IFREG | 0o644, content)


def _sections(data: memoryview, path: str) -> Iterator[tuple[str, int, memoryview]]:
    """Yield the sections of a PE file: name, offset, content."""
    at = int.from_bytes(data[0x3C:0x40], "little")
    if bytes(data[at : at + 4]) != b"PE\0\0":
        raise FormatError("is neither an initramfs nor a unified kernel image", path=path, offset=at)
    count = int.from_bytes(data[at + 6 : at + 8], "little")
    table = at + 24 + int.from_bytes(data[at + 20 : at + 22], "little")
    if count > _MOST_SECTIONS:
        raise FormatError(f"a PE file of {count} sections", path=path, offset=at + 6)
    for start in range(table, table + 40 * count, 40):
        entry = bytes(data[start : start + 40])
        if len(entry) < 40:
            raise FormatError("the sections of a PE file are cut off", path=path, offset=start)
        virtual, _, size, offset = struct.unpack_from("<4I", entry, 8)
        size = min(virtual, size) if virtual else size
        if offset + size > len(data):
            raise FormatError("a section of a PE file is cut off", path=path, offset=start)
        yield entry[:8].rstrip(b"\0").decode("ascii", "replace"), offset, data[offset : offset + size]
