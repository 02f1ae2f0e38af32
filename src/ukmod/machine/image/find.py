"""Finding the image of the kernel that a module was built for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from ukmod.errors import NotFoundError, UkmodError
from ukmod.kmod.directory import DirectoryFiles
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kmod.tree import Tree
    from ukmod.machine.image.image import KernelImage

__all__ = ["LINKED_PLACES", "PLACES", "Search", "find_image", "find_linked", "image_in", "roots_of"]

PLACES = (
    "boot/vmlinuz-{release}",
    "lib/modules/{release}/vmlinuz",
    "usr/lib/modules/{release}/vmlinuz",
    "boot/vmlinux-{release}",
    "lib/modules/{release}/build/vmlinux",
    "usr/lib/debug/boot/vmlinux-{release}",
)
"""Paths below a root, in order: Debian's, Fedora's and Arch's; local builds; with debugging information."""

LINKED_PLACES = (
    "lib/modules/{release}/build/vmlinux",
    "usr/lib/modules/{release}/build/vmlinux",
    "usr/lib/debug/boot/vmlinux-{release}",
    "usr/lib/debug/lib/modules/{release}/vmlinux",
)
"""Where a kernel's vmlinux with debugging information is: local builds, Debian's and Fedora's packages."""

_SHOWN = 2


@record
class Search:
    """The result of a search: the image, if one was found, and why other files were rejected."""

    vermagic: str
    image: KernelImage | None
    refused: tuple[str, ...]
    """One line for each existing file that is not this kernel."""
    looked_at: tuple[str, ...]
    """Paths at which there is no file."""

    @property
    def path(self) -> str | None:
        """The image's path, if one was found."""
        return None if self.image is None else self.image.path

    def __str__(self) -> str:
        """A sentence that says what was found, or why nothing was."""
        release = _release(self.vermagic)
        if not release:
            return "no image was found: the module does not say which kernel it is for"
        if self.path is not None:
            return f"the image of kernel {release} is {self.path}"
        more = f" and {len(self.looked_at) - _SHOWN} more" if len(self.looked_at) > _SHOWN else ""
        where = "; ".join(self.refused) or f"looked for {', '.join(self.looked_at[:_SHOWN])}{more}"
        return f"no image of kernel {release} was found ({where})"


def image_in(tree: Tree | None, path: str) -> KernelImage:
    """The image at a path, which may lead into the archive that a tree is in.

    Raises NotFoundError if such a file of an archive cannot be read.
    """
    from ukmod.machine.image.image import KernelImage

    if tree is None or isinstance(files := tree.files_at(place := os.path.abspath(path)), DirectoryFiles):
        return KernelImage(path)
    try:
        with files.open_module(place) as file:
            return KernelImage(path, given=file.raw())
    except OSError as error:
        raise NotFoundError(f"cannot read: {error.strerror}", errno=error.errno, subject=path) from error


def find_image(vermagic: str, *roots: str, tree: Tree | None = None) -> Search:
    """Search below each root for the kernel with this vermagic, whose first word is its release.

    A root may be the archive that ``tree`` is in. The file name alone does not suffice: a rebuilt kernel may
    have the same one.
    """
    release = _release(vermagic)
    refused: list[str] = []
    missing: list[str] = []
    paths = (os.path.join(root, place.format(release=release)) for root in roots for place in PLACES)
    for path in dict.fromkeys(map(os.path.abspath, paths)) if release else ():
        try:
            (DirectoryFiles() if tree is None else tree.files_at(path)).stat(path)
        except OSError:
            missing.append(path)
            continue
        try:
            image = image_in(tree, path)
            found = image.vermagic
        except UkmodError as error:
            refused.append(str(error))
            continue
        if found.split() == vermagic.split():
            return Search(vermagic, image, tuple(refused), tuple(missing))
        refused.append(f'{path} has vermagic "{found.strip()}", the module "{vermagic.strip()}"')
    return Search(vermagic, None, tuple(refused), tuple(missing))


def find_linked(image: KernelImage) -> KernelImage | None:
    """The vmlinux with DWARF that an image was made from: itself, or one below the same root; None if absent.

    It has the image's banner, in which the time and number of the build are.
    """
    from ukmod.machine.image.image import KernelImage

    if image.has_dwarf:
        return image
    for root in roots_of(os.path.abspath(image.path), image.release):
        for path in (os.path.join(root, place.format(release=image.release)) for place in LINKED_PLACES):
            if os.path.exists(path):
                linked = KernelImage(path)
                with suppress(UkmodError):  # what is no kernel is not this one
                    if linked.banner == image.banner and linked.has_dwarf:
                        return linked
    return None


def roots_of(path: str, release: str) -> Iterator[str]:
    """The directory in which ``path`` is one of PLACES, if there is one, and this machine's root."""
    for place in PLACES:
        root = path.removesuffix("/" + place.format(release=release))
        if root != path:
            yield root or "/"
    yield "/"


def _release(vermagic: str) -> str:
    """The first word of a vermagic; empty if it cannot be part of a file name."""
    release = vermagic.partition(" ")[0]
    return "" if "/" in release or "\0" in release or release in (".", "..") else release
