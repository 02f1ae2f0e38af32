"""Which packages a kernel of Debian's or Ubuntu's consists of, by the names that apt knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from ukmod.errors import NotFoundError

__all__ = ["headers_of", "packages_of", "releases"]

_IMAGE = re.compile(r"linux-(?:image|binary)-(?:unsigned-)?([0-9][a-z0-9.+~_-]*?)(?:-unsigned)?")
"""With the characters of a package's name, Debian Policy 5.6.7: a release becomes the name of a directory."""
_LEFT_OUT = ("-dbg", "-dbgsym", "-template", "-extra")
_IMAGES = (
    "linux-binary-{}",
    "linux-binary-unsigned-{}",
    "linux-image-{}-unsigned",
    "linux-image-unsigned-{}",
    "linux-image-{}",
)
"""The packages that an image may be in, in the order of preference: those before the last one hold it
themselves, where the last one may only depend on them.
"""
_MODULES = ("linux-modules-{}", "linux-modules-extra-{}")
_OF_HEADERS = ("linux-headers-", "linux-kbuild-")


def releases(names: Iterable[str]) -> set[str]:
    """The releases of the kernels that have packages of their own."""
    found = (_IMAGE.fullmatch(name) for name in names if not name.endswith(_LEFT_OUT))
    return {match[1] for match in found if match is not None}


def packages_of(release: str, names: Collection[str]) -> list[str]:
    """The packages with a kernel's image and its modules: one, or one with each."""
    image = next(name for name in (place.format(release) for place in _IMAGES) if name in names)
    return [image, *(name for name in (place.format(release) for place in _MODULES) if name in names)]


def headers_of(release: str, names: Collection[str], depends: Callable[[str], Iterable[str]]) -> list[str]:
    """The packages with a kernel's headers and the programs of its kbuild.

    depends: returns the packages that a package depends on. Raises NotFoundError if there are none.
    """
    first = f"linux-headers-{release}"
    if first not in names:
        raise NotFoundError("there are no headers of this kernel", subject=first)
    found = [first]
    for package in found:
        for name in depends(package):
            if name.startswith(_OF_HEADERS) and name not in found:
                found.append(name)
    return found
