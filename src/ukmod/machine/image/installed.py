"""The kernels whose images are on this machine: the system's own, and those that ``ukmod kernel fetch`` got.

A fetched kernel is a directory of the user's cache, laid out like a root: boot/vmlinuz-RELEASE and
lib/modules/RELEASE, or all of it in usr/lib/modules/RELEASE. A kernel from elsewhere may be unpacked there,
too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress

from ukmod.errors import NotFoundError
from ukmod.machine.image.cache import default_directory
from ukmod.machine.image.find import PLACES
from ukmod.machine.image.releases import chosen, is_word, order
from ukmod.record import record

__all__ = [
    "Installed",
    "fetched_roots",
    "headers_store",
    "image_at",
    "installed",
    "kernel_named",
    "modules_below",
    "modules_of",
    "store",
]

_MODULES = ("lib/modules", "usr/lib/modules")
_IMAGE = re.compile(r"vmlinu[xz]-(\d.*)")


@record
class Installed:
    """A kernel on this machine.

    modules: its module tree; empty if there is none beside it.
    headers: what modules are built with, KDIR of a module's Makefile; empty if there are none.
    """

    release: str
    image: str
    root: str
    modules: str = ""
    headers: str = ""


def store() -> str:
    """The directory of fetched kernels, each below its release."""
    return os.path.join(default_directory(), "kernels")


def headers_store() -> str:
    """The directory of the fetched headers, each below its release."""
    return os.path.join(default_directory(), "headers")


def fetched_roots() -> tuple[str, ...]:
    """The roots of the fetched kernels. A name with a leading dot is a fetch that is not complete."""
    with suppress(OSError):
        return tuple(
            os.path.join(store(), name) for name in sorted(os.listdir(store())) if not name.startswith(".")
        )
    return ()


def installed(roots: Iterable[str] | None = None) -> list[Installed]:
    """The kernels below these roots, the newest first; by default the system's and the fetched ones."""
    found: dict[str, Installed] = {}
    for root in ("/", *fetched_roots()) if roots is None else roots:
        for release in _releases(root):
            image = next(filter(os.path.isfile, _images(root, release)), None)
            if image is not None:
                one = Installed(release, image, root, modules_below(root, release), _headers(root, release))
                found.setdefault(release, one)
    return sorted(found.values(), key=lambda one: order(one.release), reverse=True)


def _releases(root: str) -> set[str]:
    """The releases that a root may have an image of, by the names in it."""
    found: set[str] = set()
    for directory in _MODULES:
        with suppress(OSError):
            found.update(os.listdir(os.path.join(root, directory)))
    with suppress(OSError):
        names = os.listdir(os.path.join(root, "boot"))
        found.update(match[1] for name in names if (match := _IMAGE.fullmatch(name)) is not None)
    return found


def _images(root: str, release: str) -> list[str]:
    return [os.path.join(root, place.format(release=release)) for place in PLACES]


def modules_below(root: str, release: str) -> str:
    """The directory of a release's modules; empty if there is none below the root."""
    places = (os.path.join(root, directory, release) for directory in reversed(_MODULES))
    return next((place for place in places if os.path.isdir(os.path.join(place, "kernel"))), "")


def modules_of(kernel: str) -> str:
    """The module tree of a kernel, named by its release or by its image's path; empty if it has none.

    A file has one if it lies in a root as an image does. Raises NotFoundError for a release that is not here.
    """
    if is_word(kernel) and not os.path.exists(kernel):
        return kernel_named(kernel).modules
    path = os.path.abspath(kernel)
    for place in PLACES:
        tail = re.escape(place).replace(r"\{release\}", "(?P<release>[^/]+)")
        found = re.fullmatch(f"(?P<root>.*/){tail}", path)
        if found and (modules := modules_below(found["root"], found["release"])):
            return modules
    return ""


def _headers(root: str, release: str) -> str:
    """Where a module for this kernel is built: by Debian's and Ubuntu's names, or by the modules' link."""
    below = (root, os.path.join(headers_store(), release))
    places = [os.path.join(at, "usr/src", f"linux-headers-{release}") for at in below]
    places += [os.path.join(root, directory, release, "build") for directory in _MODULES]
    return next((place for place in places if os.path.isfile(os.path.join(place, "Makefile"))), "")


def kernel_named(word: str, known: Iterable[Installed] | None = None) -> Installed:
    """The kernel that a word means: a release, or its beginning, perhaps with a flavour, as in "6.12-rt".

    Raises NotFoundError if there is no such kernel on this machine.
    """
    kernels = {one.release: one for one in (installed() if known is None else known)}
    release = chosen(word, kernels)
    if release is None:
        here = f"here are {', '.join(kernels)}" if kernels else "there are no kernels here"
        text = (
            f"there is no such kernel on this machine: ukmod kernel fetch {word} (or name an image); {here}"
        )
        raise NotFoundError(text, subject=word)
    return kernels[release]


def image_at(name: str) -> str:
    """The path of the image that is named: a file's own, or that of a kernel on this machine.

    Raises NotFoundError for a release that is not here.
    """
    return kernel_named(name).image if is_word(name) and not os.path.exists(name) else name
