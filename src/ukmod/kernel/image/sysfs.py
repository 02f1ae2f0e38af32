"""/sys/module/NAME, which the image's own mod_sysfs_setup() makes: kernel/module/sysfs.c.

Programs find there what lsmod(8) and rmmod(8) look for. Drivers link to it.
"""

from __future__ import annotations

import struct
from errno import ENOMEM
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError, LoadError
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.module.kallsyms import E_SHNUM, SHDR
from ukmod.kmod.elf import SHF_ALLOC, SHT_NOTE, SHT_PROGBITS

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.module.layout import ModuleLayout
    from ukmod.kernel.module.main import Module

_EHDR_SIZE: Final = 64
"""The size of an Elf64_Ehdr in bytes."""


def mod_sysfs_setup(k: Core, module: Module) -> None:
    """Make its directory, with its parameters, attributes, users and sections. Raises LoadError."""
    image = k.image
    if image is None or not _is_there(k, image):
        return
    try:
        info = _load_info(k, module.layout)
    except LimitError as error:
        raise LoadError(error.message, errno=ENOMEM, subject=module.name) from error
    setup = image.address("mod_sysfs_setup")
    with k.slab.as_kernel():
        result = signed(k.cpu.call(setup, module.address, info, module.params, module.param_count), 4)
    k.slab.kfree(info)
    if result < 0:
        raise LoadError("it cannot be entered into /sys/module", errno=-result, subject=module.name)


def mod_sysfs_teardown(k: Core, module: Module) -> None:
    """Remove its directory, and wait for everyone that has a file of it open."""
    image = k.image
    kset = k.types.offset("module", "mkobj.kobj.kset") if image is not None else 0
    if image is not None and k.memory.u64(module.address + kset):
        with k.slab.as_kernel():
            k.cpu.call(image.address("mod_sysfs_teardown"), module.address)


def _is_there(k: Core, image: MappedImage) -> bool:
    """True if the image has /sys/module."""
    kset = image.get("module_kset")
    return kset is not None and bool(k.memory.u64(kset))


def _load_info(k: Core, layout: ModuleLayout) -> int:
    """A struct load_info of the sections that are in memory, in one object, which the caller frees."""
    headers, names = SHDR.pack(*[0] * 10), b"\0"
    for name, (address, size) in layout.sections.items():
        kind = SHT_NOTE if name in layout.notes else SHT_PROGBITS
        headers += SHDR.pack(len(names), kind, SHF_ALLOC, address, 0, size, 0, 0, 0, 0)
        names += name.encode("utf-8", "surrogateescape") + b"\0"
    header = bytearray(_EHDR_SIZE)
    struct.pack_into("<H", header, E_SHNUM, len(headers) // SHDR.size)
    size = k.types.sizeof("load_info")
    info = k.slab.kernel_object(size + len(header) + len(headers) + len(names))
    k.memory.write(info, bytes(size) + header + headers + names)
    places = {"hdr": 0, "sechdrs": len(header), "secstrings": len(header) + len(headers)}
    for member, at in places.items():
        k.memory.set_u64(info + k.types.offset("load_info", member), info + size + at)
    return info
