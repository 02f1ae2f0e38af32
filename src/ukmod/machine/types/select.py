"""Choosing the source of layouts: a given kernel, a shipped profile, a module's debugging information."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

from ukmod.errors import FormatError, LayoutError
from ukmod.kmod.elf import ET_REL, Elf
from ukmod.kmod.regular import read_regular
from ukmod.machine.types.btf import Btf, is_btf
from ukmod.machine.types.graph import Graph, Later, TypeSource
from ukmod.machine.types.profile import Profile, Stamp, parse_profile, read_profile
from ukmod.machine.types.types import HOW_TO_SUPPLY, Types

if TYPE_CHECKING:
    from ukmod.machine.image.image import KernelImage
    from ukmod.machine.types.dwarf import Dwarf

__all__ = ["SHIPPED_PROFILES", "find_profile", "matches", "read_file", "read_types", "types_for", "types_of"]

SHIPPED_PROFILES = os.path.normpath(os.path.join(os.path.dirname(__file__), "../../data/profiles"))
"""The directory of the profiles shipped with ukmod."""

_SUFFIXES = (".json", ".json.gz")
_BTF_LIMIT = 1 << 30


def types_for(
    modules: Elf | Iterable[Elf],
    *,
    btf: str | None = None,
    kernel: str | KernelImage | None = None,
    profiles_dir: str | None = None,
) -> Types:
    """Return the known types of these modules' kernel.

    ``btf`` is a BTF file, an ELF file with BTF or DWARF, or a profile. ``kernel`` is a vmlinuz or vmlinux; if
    it has no BTF, its types are in the DWARF of the vmlinux that it was made from (see find_linked). Without
    both, the profile in ``profiles_dir`` (None: ukmod's own) that matches the first module is used. Each
    module's own debugging information is added. Raises LayoutError, saying what to supply, if nothing is
    known, and FormatError for damaged files.
    """
    elves = [modules] if isinstance(modules, Elf) else list(modules)
    graphs: list[Graph] = [] if btf is None else [read_types(btf)]
    if kernel is not None:
        graphs += _of_kernel(kernel, needed=not graphs or isinstance(graphs[0], Profile))
    if not graphs and elves:
        profile = find_profile(elves[0], profiles_dir)
        graphs += [] if profile is None else [profile]
    base = next((graph for graph in graphs if isinstance(graph, Btf) or _is_btf_of(graph, kernel)), None)
    types = Types(map(TypeSource, graphs), kernel=base)
    for elf in elves:
        types.add(elf)
    if not types.sources:
        names = ", ".join(elf.path or "the module" for elf in elves)
        raise LayoutError(f"no types of its kernel are known: {HOW_TO_SUPPLY}", subject=names)
    return types


def read_types(path: str) -> Btf | Profile | Dwarf:
    """Read the types of a file: BTF, a profile, a kernel image, or an ELF file with BTF or DWARF."""
    return types_of(read_file(path), path)[0]


def types_of(data: bytes, path: str) -> tuple[Btf | Profile | Dwarf, KernelImage | None]:
    """Read the types in a file's bytes; returns them, and the kernel image if it is one."""
    if is_btf(data):
        return Btf(data, path=path), None
    if path.endswith(_SUFFIXES):
        return parse_profile(data, path), None
    if data.startswith(b"\x7fELF") and Elf(data, path).type == ET_REL:
        from ukmod.machine.types.dwarf import Dwarf

        elf = Elf(data, path)
        if Dwarf.is_in(elf):
            return Dwarf(elf), None
        raise LayoutError("has no debug information", subject=path)
    from ukmod.machine.image.image import KernelImage

    image = KernelImage(path)
    return kernel_types(image), image


def _of_kernel(kernel: str | KernelImage, *, needed: bool) -> list[Graph]:
    """The types of a kernel; if ``needed``, it must have some.

    They are needed if there is only a profile: that covers modules, but not all of an image's initialisation.
    """
    if isinstance(kernel, str):
        return [read_types(kernel)]
    return [Later(kernel.path, partial(_needed_types, kernel))] if needed or kernel.has_btf else []


def _is_btf_of(graph: Graph, kernel: str | KernelImage | None) -> TypeGuard[Later]:
    """True if the types are the BTF of this image, not yet read: only BTF is extended by that of modules."""
    return isinstance(graph, Later) and (kernel is None or isinstance(kernel, str) or kernel.has_btf)


def _needed_types(image: KernelImage) -> Btf | Dwarf:
    if image.has_btf:
        return kernel_types(image)
    from ukmod.machine.image.find import find_linked  # few kernels have no BTF

    linked = find_linked(image)
    if linked is None:
        text = (
            "has no BTF (CONFIG_DEBUG_INFO_BTF): name a file that has it with --btf, or the kernel's vmlinux "
            "with debugging information"
        )
        raise FormatError(text, path=image.path)
    return kernel_types(linked)


def kernel_types(image: KernelImage) -> Btf | Dwarf:
    """Return the types of a kernel image: those of its BTF, or else of its DWARF.

    Raises FormatError if it has neither.
    """
    if image.has_btf or not image.has_dwarf:
        return Btf(image.btf, path=image.path)
    from ukmod.machine.types.dwarf import Dwarf

    return Dwarf(image.vmlinux.elf)


def read_file(path: str) -> bytes:
    """Read a file; LayoutError if that fails."""
    try:
        return read_regular(path, _BTF_LIMIT)
    except OSError as error:
        raise LayoutError(f"cannot read: {error.strerror}", errno=error.errno, subject=path) from error


def find_profile(module: Elf, directory: str | None = None) -> Profile | None:
    """Return the first profile in a directory that matches a module, or None."""
    directory = SHIPPED_PROFILES if directory is None else directory
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(_SUFFIXES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LayoutError(f"cannot read: {error.strerror}", errno=error.errno, subject=directory) from error
    # The profile named after the module's release is the most likely one.
    release = _vermagic(module).partition(" ")[0]
    names.sort(key=lambda name: name.removesuffix(".gz").removesuffix(".json") != release)
    profiles = (read_profile(os.path.join(directory, name)) for name in names)
    return next((profile for profile in profiles if matches(profile.stamp, module)), None)


def matches(stamp: Stamp, module: Elf) -> bool:
    """True if a profile describes the kernel a module was built for.

    The vermagic alone is not enough: a reconfigured kernel may keep it, but hardly the size of struct module.
    """
    section = module.section(".gnu.linkonce.this_module")
    size = None if section is None else section.size
    return stamp.vermagic == _vermagic(module) and stamp.module_size == size


def _vermagic(module: Elf) -> str:
    return next((value for key, value in module.modinfo() if key == "vermagic"), "")
