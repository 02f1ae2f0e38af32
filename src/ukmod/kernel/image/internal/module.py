"""Functions of an image through which programs load and unload modules: they end in Python's loader.

The image's system calls check permissions and flags, and read, copy and unpack the file. Its load_module()
gets what they have read.
"""

from __future__ import annotations

from errno import EFAULT, ENOENT, ENOEXEC
from functools import partial
from typing import TYPE_CHECKING

from ukmod.errors import LoadError, MachineError, UkmodError
from ukmod.kernel.export import export
from ukmod.kernel.kern_levels import KERN_ERR
from ukmod.kernel.lib.err import MAX_ERRNO
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.module.main import MODULE_NAME_LEN
from ukmod.kernel.module.unload import delete_module
from ukmod.kernel.syscalls import finit_module
from ukmod.kmod.elf import ELFMAG
from ukmod.kmod.host import INIT_COMPRESSED_FILE
from ukmod.kmod.modfile import ModuleFile
from ukmod.machine.abi import Int, Long, Ptr

if TYPE_CHECKING:
    from collections.abc import Callable

    from ukmod.kernel.core import Core

_NO_LIMIT = (1 << 63) - 1


@export()
def load_module(k: Core, info: Ptr, uargs: Ptr, flags: Int) -> Int:
    """int load_module(struct load_info *info, const char __user *uargs, int flags)."""
    content = _taken(k, info, flags)
    return _errno_of(lambda: _load(k, content, partial(_strndup_user, k, uargs, _NO_LIMIT), flags))


def _taken(k: Core, info: int, flags: int) -> bytes:
    """The file that a struct load_info holds, which is freed: free_copy()."""
    header, size = (k.memory.u64(info + k.types.offset("load_info", member)) for member in ("hdr", "len"))
    content = k.memory.read(header, size)
    if flags & INIT_COMPRESSED_FILE and k.image is not None:
        k.cpu.call(k.image.address("module_decompress_cleanup"), info)
    else:
        k.vmalloc.free(header)
    return content


def _load(k: Core, content: bytes, arguments: Callable[[], str], flags: int) -> None:
    if not content.startswith(ELFMAG):  # a ModuleFile would unpack it, which only flags ask the kernel for
        k.printk(f"Invalid ELF header magic: != {ELFMAG.decode()}\n", KERN_ERR)
        raise LoadError("is not an ELF file", errno=ENOEXEC)
    finit_module(k, ModuleFile.of(content, ""), arguments, flags)


@export("__x64_sys_delete_module")
def sys_delete_module(k: Core, regs: Ptr) -> Long:
    """``long __x64_sys_delete_module(const struct pt_regs *regs)``."""
    return _delete_module(k, regs, "di", "si")


@export("__ia32_sys_delete_module")
def ia32_sys_delete_module(k: Core, regs: Ptr) -> Long:
    """``long __ia32_sys_delete_module(const struct pt_regs *regs)``: by INT 0x80."""
    return _delete_module(k, regs, "bx", "cx")


def _delete_module(k: Core, regs: int, *arguments: str) -> int:
    name, flags = (k.memory.u64(regs + k.types.offset("pt_regs", member)) for member in arguments)
    return _errno_of(lambda: _delete(k, name, flags & 0xFFFF_FFFF))


def _delete(k: Core, name: int, flags: int) -> None:
    k.modules.check_permission("delete_module")
    delete_module(k, _module_name(k, name), flags)


def _module_name(k: Core, address: int) -> str:
    """The name in user memory. Raises LoadError: EFAULT, or ENOENT if it is empty or too long for a name."""
    buffer = k.slab.kernel_object(MODULE_NAME_LEN)
    try:
        length = signed(k.cpu.call(_address(k, "strncpy_from_user"), buffer, address, MODULE_NAME_LEN), 8)
        if length < 0:
            raise LoadError("its address cannot be read", errno=EFAULT, subject="delete_module")
        if length in (0, MODULE_NAME_LEN):
            raise LoadError("no module has such a name", errno=ENOENT, subject="delete_module")
        return k.memory.read(buffer, length).decode("utf-8", "surrogateescape")
    finally:
        k.slab.kfree(buffer)


def _strndup_user(k: Core, address: int, limit: int) -> str:
    """strndup_user(). Raises LoadError."""
    copy = k.cpu.call(_address(k, "strndup_user"), address, limit)
    if copy >= (1 << 64) - MAX_ERRNO:
        raise LoadError("its parameters cannot be read", errno=(1 << 64) - copy)
    text = k.memory.cstring(copy, limit).decode("utf-8", "surrogateescape")
    k.slab.kfree(copy)
    return text


def _address(k: Core, name: str) -> int:
    assert k.image is not None
    return k.image.address(name)


def _errno_of(work: Callable[[], object]) -> int:
    """0, or the negative errno of the error that ``work`` raises."""
    try:
        work()
    except MachineError:
        raise
    except UkmodError as error:
        return -error.errno
    return 0
