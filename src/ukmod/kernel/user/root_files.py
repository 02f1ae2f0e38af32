"""The files of a root, which are made when they are first used.

A directory, or a file with content, begins as an inode that the VFS asks Python about: its ``i_op`` has a
permission() of ours. The VFS asks before anything looks into a directory or opens a file, without a lock, and
may sleep: then a process of the machine makes what is in it, and the inode has its own operations again. So a
root costs what is used of it.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Hashable, Iterable
from errno import ECHILD, EIO, ENOENT, ENOMEM, ENOSPC
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError, UkmodError
from ukmod.kernel import uapi as c
from ukmod.kernel.lib.err import is_err
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.sighand import SIG_IGN
from ukmod.kernel.user.dentry import children, inode_of, name_of
from ukmod.kernel.user.file import UserFile
from ukmod.kernel.user.put import fill
from ukmod.kernel.user.root_inode import as_it_began
from ukmod.kmod.archives import open_archive
from ukmod.kmod.archives.directories import entries_in
from ukmod.kmod.cpio import ArchiveEntry
from ukmod.machine.abi import Int, Ptr, bind
from ukmod.machine.memory import page_align
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.user.process import UserProcess

MAY_ACCESS, MAY_NOT_BLOCK = 0x10, 0x80
"""include/linux/fs.h: access(2) asks, which opens nothing; the path walk holds RCU's lock."""
_FAST: Final = 0x1 | 0x80
"""IOP_FASTPERM and IOP_FASTPERM_MAY_EXEC, include/linux/fs.h: the inode has no permission() to be asked."""
_O_LARGEFILE: Final = 0o100000
"""include/uapi/asm-generic/fcntl.h"""
_AT_EMPTY_PATH: Final = 0x1000
_PERMISSION_PARAMETERS: Final = 2
"""Of permission(struct inode *, int), which has the mount's user namespace first since v5.12."""
_BLOCK_OF_STAT: Final = 512
_PATH: Final = struct.Struct("<QQ")
"""struct path: mnt and dentry."""

EntriesIn = Callable[[str], Iterable[ArchiveEntry]]
"""The entries of a directory of a root. All are named by their paths below it. Raises OSError."""


@record
class _Unmade:
    """A directory, or a file, that is yet to be filled, and what its inode had."""

    entry: ArchiveEntry
    operations: int
    flags: int


class RootFiles:
    """The files of a root that are not made yet, by their inodes."""

    def __init__(
        self, k: Core, image: MappedImage, entries_in: EntriesIn, start: Callable[[], UserProcess]
    ) -> None:
        """``start`` starts a process of root's, in which files are made."""
        self._k = k
        self._image = image
        self._entries_in = entries_in
        self._start = start
        self._maker = self._started()
        self._unmade: dict[int, _Unmade] = {}
        self._first: dict[Hashable, tuple[int, tuple[int, ...]]] = {}
        """The inode of the first of several hard links, and what tells it from another at that address."""
        self._tables: dict[int, int] = {}
        """By the address of a struct inode_operations: its copy that has functions of ours."""
        permission = k.types.prototype("generic_permission")
        self._has_namespace = permission is not None and len(permission.parameters) > _PERMISSION_PARAMETERS
        permission_at = k.cpu.stubs.add_function(bind(self._permission, k.memory))
        getattr_at = k.cpu.stubs.add_function(bind(self._getattr, k.memory))
        self._functions = {"permission": permission_at, "getattr": getattr_at}
        """The addresses of our functions, by the member of struct inode_operations."""
        self._path = k.slab.kernel_object(16)
        """A struct path."""
        task = self._maker.task.address
        fs = k.memory.u64(task + k.types.offset("task_struct", "fs"))
        root = fs + k.types.offset("fs_struct", "root")
        self._mount = k.memory.u64(root + k.types.offset("path", "mnt"))
        self._top = k.memory.u64(root + k.types.offset("path", "dentry"))

    def _started(self) -> UserProcess:
        """A new process that makes files; as a thread of the kernel, it ignores all signals."""
        maker = self._start()
        self._k.sighands.fill(maker.task, SIG_IGN)
        return maker

    def make_top(self) -> None:
        """Make what lies in the root directory itself. Raises OSError, and LimitError."""
        self._maker.run(lambda: self._for_kernel(lambda: self._make(self._top, self._entries_in(""))))

    def has_files(self, inode: int) -> bool:
        """True if it is a directory in which there are files yet to be made."""
        unmade = self._unmade_at(inode)
        if unmade is None:
            return False
        try:
            return any(True for _ in self._entries_in(unmade.entry.path))
        except OSError:
            return True  # it cannot be read: then it is not to be removed either

    # -- what the VFS asks ------------------------------------------------------------------------------

    def _permission(self, first: Ptr, second: Ptr, third: Int) -> Int:
        """int permission([struct mnt_idmap *,] struct inode *, int mask), of struct inode_operations."""
        k = self._k
        arguments = (first, second, third) if self._has_namespace else (first, second)
        inode, mask = arguments[-2:]
        if k.sched.current is self._maker.task:
            return 0
        result = signed(k.cpu.call(self._image.address("generic_permission"), *arguments), 4)
        if result or mask & MAY_ACCESS or self._unmade_at(inode) is None:
            return result
        if mask & MAY_NOT_BLOCK:
            return -ECHILD
        return self._use(inode)

    def _getattr(self, first: Ptr, second: Ptr, third: Ptr, fourth: Int, fifth: Int) -> Int:
        """int getattr([struct mnt_idmap *,] const struct path *, struct kstat *, u32, unsigned int).

        A directory's size and links count what is in it. A file has all its blocks.
        """
        k = self._k
        every = (first, second, third, fourth, fifth)
        path, status, mask, flags = every[1:] if self._has_namespace else every[:4]
        inode = inode_of(k, k.memory.u64(path + k.types.offset("path", "dentry")))
        unmade = self._unmade_at(inode)
        if unmade is not None and stat.S_ISDIR(unmade.entry.mode) and k.sched.current is not self._maker.task:
            self._use(inode)  # an error is for those that look into it
            unmade = self._unmade_at(inode)
        if unmade is not None:
            self._set_operations(inode, unmade.operations)
        result = signed(k.cpu.call(self._image.address("vfs_getattr_nosec"), path, status, mask, flags), 4)
        if unmade is not None:
            self._set_operations(inode, self._table(unmade.operations))
            if stat.S_ISREG(unmade.entry.mode):
                blocks = page_align(len(unmade.entry.content)) // _BLOCK_OF_STAT
                k.memory.set_u64(status + k.types.offset("kstat", "blocks"), blocks)
        return result

    def _use(self, inode: int) -> int:
        """Have an inode filled while the current task sleeps: 0, or a negative errno."""
        k = self._k
        lock = inode + k.types.offset("inode", "i_rwsem")
        is_locked = self._holds(lock)
        if is_locked:  # code of the kernel that looks into a directory without having walked there
            k.cpu.call(self._image.address("up_write"), lock)
        try:
            if self._maker.ended:
                self._maker = self._started()
            self._maker.serve(lambda: self._for_kernel(lambda: self._fill(inode)))
        except (OSError, UkmodError) as error:
            place = ascii(f"/{self._unmade[inode].entry.path}") if inode in self._unmade else "a file"
            why = error.message if isinstance(error, UkmodError) else error.strerror
            k.printk(f"ukmod: {place} of the root: {why}\n", 3)
            return -(error.errno or EIO)
        finally:
            if is_locked:
                k.cpu.call(self._image.address("down_write"), lock)
        return 0

    def _holds(self, lock: int) -> bool:
        """True if the current task holds a struct rw_semaphore for writing."""
        k = self._k
        if k.types.has("rw_semaphore", "owner"):
            owner = k.memory.u64(lock + k.types.offset("rw_semaphore", "owner"))
        else:  # with PREEMPT_RT, whose lowest bit says that others wait
            owner = k.memory.u64(lock + k.types.offset("rw_semaphore", "rwbase.rtmutex.owner")) & ~1
        return owner == k.sched.task().address

    # -- in the process that makes files ----------------------------------------------------------------

    def _for_kernel(self, work: Callable[[], None]) -> None:
        """Run ``work``; what it allocates belongs to the kernel itself."""
        with self._k.slab.as_kernel():
            work()

    def _fill(self, inode: int) -> None:
        """Make what lies in a directory, or a file's content. Raises OSError, and LimitError."""
        unmade = self._unmade_at(inode)
        if unmade is None:
            return  # another task was first
        with as_it_began(self._k, inode, self._mount):
            if stat.S_ISDIR(unmade.entry.mode):
                self._fill_directory(inode, unmade.entry.path)
            else:
                self._fill_file(inode, unmade.entry)
        del self._unmade[inode]
        self._set_operations(inode, unmade.operations)
        self._set_flags(inode, unmade.flags)

    def _fill_directory(self, inode: int, inside: str) -> None:
        """Make what lies in a directory, which is the process's current one meanwhile."""
        if not (there := list(self._entries_in(inside))):
            return
        maker, k = self._maker, self._k
        with UserFile(maker, self._open(inode, c.O_DIRECTORY), inside) as directory:
            maker.syscall("fchdir", directory.fileno())
        dentry = k.cpu.call(self._image.address("d_find_any_alias"), inode)
        try:
            self._make(dentry, there)
        finally:  # whoever removes the directory finds nobody in it
            k.cpu.call(self._image.address("dput"), dentry)
            maker.syscall("chdir", "/")

    def _fill_file(self, inode: int, entry: ArchiveEntry) -> None:
        content = bytes(entry.content)
        with UserFile(self._maker, self._open(inode, c.O_WRONLY), entry.path, access=c.O_WRONLY) as file:
            self._set_size(inode, 0)
            try:
                file.write_all(content)
            except OSError:
                file.truncate(0)
                self._set_size(inode, len(entry.content))
                raise

    def _make(self, dentry: int, entries: Iterable[ArchiveEntry]) -> None:
        """Make these files in the directory ``dentry``, which is the current one of the process."""
        k = self._k
        named = [(os.path.basename(entry.path), entry) for entry in entries]
        new = {name: entry for name, entry in named if not self._is_linked(name, entry)}
        fill(self._maker, (_begun(replace(entry, path=name)) for name, entry in new.items()), "")
        if any(_is_later(entry) or _has_links(entry) for entry in new.values()):
            for child in children(k, dentry):
                if (entry := new.get(os.fsdecode(name_of(k, child)))) is not None:
                    self._made(inode_of(k, child), entry)

    def _made(self, inode: int, entry: ArchiveEntry) -> None:
        """Remember what an inode is to have in it, or that others are links to it."""
        k = self._k
        if _has_links(entry) and self._first_of(entry) is None:
            self._first[entry.file] = inode, self._identity(inode)
        if not _is_later(entry) or self._unmade_at(inode) is not None:
            return
        operations = k.memory.u64(inode + k.types.offset("inode", "i_op"))
        flags = k.memory.u16(inode + k.types.offset("inode", "i_opflags"))
        self._unmade[inode] = _Unmade(entry, operations, flags)
        self._set_operations(inode, self._table(operations))
        self._set_flags(inode, flags & ~_FAST)
        if stat.S_ISREG(entry.mode):
            self._set_size(inode, len(entry.content))

    def _is_linked(self, name: str, entry: ArchiveEntry) -> bool:
        """Make a further link to a file, if that is still there; False if it is not."""
        if not _has_links(entry) or (first := self._first_of(entry)) is None:
            return False
        try:
            with UserFile(self._maker, self._open(first, c.O_PATH), entry.path) as file:
                target = file.fileno(), "", c.AT_FDCWD, name, _AT_EMPTY_PATH
                self._maker.syscall("linkat", *target)
        except OSError:
            del self._first[entry.file]
            return False
        return True

    def _first_of(self, entry: ArchiveEntry) -> int | None:
        """The inode of a file that has several links; None if none is made, or all are removed since."""
        inode, identity = self._first.get(entry.file, (0, ()))
        return inode if inode and self._identity(inode) == identity else None

    def _identity(self, inode: int) -> tuple[int, ...]:
        """Its number and file system, and that it has links: a file in memory is there until it has none."""
        memory, offset = self._k.memory, self._k.types.offset
        number, system = (memory.u64(inode + offset("inode", name)) for name in ("i_ino", "i_sb"))
        return number, system, memory.u32(inode + offset("inode", "i_nlink")) > 0

    def _open(self, inode: int, flags: int) -> int:
        """Open an inode, wherever its file lies; returns the descriptor. Raises OSError."""
        k, call = self._k, self._image.address
        dentry = k.cpu.call(call("d_find_any_alias"), inode)
        if not dentry:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
        k.memory.write(self._path, _PATH.pack(self._mount, dentry))
        credentials = k.memory.u64(k.sched.task().address + k.types.offset("task_struct", "cred"))
        function, unnoticed = _opener(self._image)
        file = k.cpu.call(function, self._path, flags | _O_LARGEFILE | unnoticed, credentials)
        k.cpu.call(call("dput"), dentry)
        if is_err(file):
            error = (1 << 64) - file
            raise OSError(error, os.strerror(error))
        descriptor = signed(k.cpu.call(call("get_unused_fd_flags"), c.O_CLOEXEC), 4)
        if descriptor < 0:
            k.cpu.call(call("fput"), file)
            raise OSError(-descriptor, os.strerror(-descriptor))
        k.cpu.call(call("fd_install"), descriptor, file)
        return descriptor

    # -- the inodes -------------------------------------------------------------------------------------

    def _unmade_at(self, inode: int) -> _Unmade | None:
        """The content that an inode is yet to have; None if it has it, or is another at that address."""
        unmade = self._unmade.get(inode)
        if unmade is None:
            return None
        operations = self._k.memory.u64(inode + self._k.types.offset("inode", "i_op"))
        if operations != self._table(unmade.operations):
            del self._unmade[inode]
            return None
        return unmade

    def _set_operations(self, inode: int, operations: int) -> None:
        self._k.memory.set_u64(inode + self._k.types.offset("inode", "i_op"), operations)

    def _set_size(self, inode: int, size: int) -> None:
        self._k.memory.set_u64(inode + self._k.types.offset("inode", "i_size"), size)

    def _set_flags(self, inode: int, flags: int) -> None:
        self._k.memory.set_u16(inode + self._k.types.offset("inode", "i_opflags"), flags)

    def _table(self, operations: int) -> int:
        """A struct inode_operations like that at ``operations``, with our functions."""
        if operations not in self._tables:
            k = self._k
            table = k.slab.kernel_object(size := k.types.sizeof("inode_operations"))
            k.memory.write(table, k.memory.read(operations, size))
            for name, function in self._functions.items():
                k.memory.set_u64(table + k.types.offset("inode_operations", name), function)
            self._tables[operations] = table
        return self._tables[operations]


def fill_root(k: Core, image: MappedImage, start: Callable[[], UserProcess], path: str) -> RootFiles:
    """Give the machine the files below a directory, or in an archive, as its root.

    ``start`` starts a process of root's. Raises NotFoundError if there is no such file, FormatError if it is
    no archive, LimitError if it has too many files, or more than the machine's memory is enough for.
    """
    below = partial(entries_in, path) if os.path.isdir(path) else open_archive(path).entries_in
    files = RootFiles(k, image, below, start)
    try:
        files.make_top()
    except OSError as error:
        if error.errno not in (ENOSPC, ENOMEM):
            raise
        text = "does not fit into the machine, half of whose memory files may take: give it more"
        raise LimitError(text, errno=error.errno, subject=path) from error
    return files


def _opener(image: MappedImage) -> tuple[int, int]:
    """The function that opens a file, and a flag for it, so that no watcher hears of what is done with it.

    The flag is FMODE_NONOTIFY. It moved as file_set_fsnotify_mode() came, in v6.14; later a function sets it.
    """
    if (function := image.get("dentry_open_nonotify")) is not None:
        return function, 0
    has_moved = image.get("file_set_fsnotify_mode") is not None
    return image.address("dentry_open"), 1 << (25 if has_moved else 26)


def _is_later(entry: ArchiveEntry) -> bool:
    """True if there may be something in it that can be made later."""
    return stat.S_ISDIR(entry.mode) or (stat.S_ISREG(entry.mode) and len(entry.content) > 0)


def _has_links(entry: ArchiveEntry) -> bool:
    """True if it is one of several hard links of a file."""
    return stat.S_ISREG(entry.mode) and entry.file is not None


def _begun(entry: ArchiveEntry) -> ArchiveEntry:
    """The entry without what is made later."""
    return replace(entry, content=b"") if stat.S_ISREG(entry.mode) else entry
