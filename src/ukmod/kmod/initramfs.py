"""A kernel's initramfs below a root: found by its usual names, and opened as a system of its own.

Its modprobe reads the configuration inside of it. What that does not deny is loaded at boot, whatever the
root's configuration says.
"""

from __future__ import annotations

import os
import stat

from ukmod.errors import NotFoundError, UkmodError
from ukmod.kmod.archives import open_archive
from ukmod.kmod.bootfiles import BOOT_DIRECTORIES, names_in
from ukmod.kmod.objections import Inspector
from ukmod.kmod.overlay import OverlayFiles
from ukmod.kmod.system import System
from ukmod.kmod.tree import Tree
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.host import Files

__all__ = ["Initramfs", "initramfs_paths", "open_initramfs"]


@record
class Initramfs:
    """An initramfs. ``system`` and ``inspector`` are None if it cannot be used: then ``fault`` says why."""

    path: str
    system: System | None = None
    inspector: Inspector | None = None
    fault: str = ""


def initramfs_paths(files: Files, root: str, release: str) -> list[str]:
    """Return the paths of a release's initramfs files below a root, by the names that distributions use.

    They are Debian's, Fedora's, SUSE's and kernel-install's, and those of unified kernel images.
    """
    root = root.rstrip("/")
    paths = [f"{root}{boot}/{name}" for boot in BOOT_DIRECTORIES for name in _names(release)]
    for boot in BOOT_DIRECTORIES:
        paths += [f"{root}{boot}/{token}/{release}" for token in names_in(files, f"{root}{boot}")]
        images = names_in(files, f"{root}{boot}/EFI/Linux")
        paths += [f"{root}{boot}/EFI/Linux/{name}" for name in images if release in name]
    paths += [f"{root}{base}/modules/{release}" for base in ("/lib", "/usr/lib")]
    found: dict[str, str] = {}
    for path in paths:
        for one in _initrds(files, path):
            found.setdefault(files.real(one), one)
    return list(found.values())


def _names(release: str) -> tuple[str, ...]:
    return (f"initrd.img-{release}", f"initramfs-{release}.img", f"initrd-{release}", f"initrd-{release}.img")


def _initrds(files: Files, path: str) -> list[str]:
    """Return a path if it is a file; of a directory, the files in it whose names begin with initrd."""
    try:
        mode = files.stat(path).st_mode
    except OSError:
        return []
    if stat.S_ISREG(mode):
        return [path]
    return [f"{path}/{name}" for name in names_in(files, path) if name.startswith("initrd")]


def open_initramfs(path: str, system: System, inspector: Inspector) -> Initramfs | None:
    """Return a system's initramfs; None if it holds no modules for the system's kernel.

    It is booted as the system is, and its kernel is the same one.
    """
    release = system.tree.release
    try:
        real = os.path.abspath(system.tree.files.real(path))
        files = open_archive(real, system.tree.files_at(real))
    except (OSError, UkmodError) as error:
        return Initramfs(path, fault=str(error))
    try:
        tree = Tree.open(real, release, files=files)
        if not any(True for _ in tree.module_names()):
            return None
    except NotFoundError:
        return None
    except (OSError, UkmodError) as error:
        return Initramfs(path, fault=str(error))
    tree = _with_configuration(tree, real, system)
    own = System(tree, real, is_live=False, boots=system.boots)
    kernel = replace(inspector.kernel, firmware_directories=())
    return Initramfs(path, own, Inspector(tree, kernel))


def _with_configuration(tree: Tree, root: str, system: System) -> Tree:
    """Return the tree with the kernel's configuration beside it, as it is below the system's root."""
    name = f"/boot/config-{tree.release}"
    try:
        content = system.tree.files.read(system.root.rstrip("/") + name)
    except OSError:
        return tree
    return tree.through(OverlayFiles(tree.files, {root + name: content}))
