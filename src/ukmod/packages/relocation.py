"""Making what was unpacked elsewhere than in / work where it is.

Packages name absolute paths: links to /usr/src, and Makefiles that include others there.
"""

from __future__ import annotations

import os
import re

__all__ = ["relocate"]

_INCLUDE = re.compile(rb"(?m)^(include|(?:KERNEL_SRC|KBUILD_OUTPUT|srctree) *:?=) */usr/(\S+)$")
_LONGEST = 4096
"""The size of a Makefile that only includes another, at most."""


def relocate(root: str) -> None:
    """Point the absolute links below a root to what is below it, and so the headers' Makefiles."""
    for above, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(above, name)
            if os.path.islink(path):
                _relocate_link(root, path)
            elif name == "Makefile" and f"{os.sep}linux-headers-" in above and above.count("/usr/src/") == 1:
                _relocate_makefile(root, path)


def _relocate_link(root: str, link: str) -> None:
    target = os.readlink(link)
    own = root + target
    if os.path.isabs(target) and os.path.lexists(own):
        os.unlink(link)
        os.symlink(os.path.relpath(own, os.path.dirname(link)), link)  # noqa: PTH211 - paths are strings here


def _relocate_makefile(root: str, path: str) -> None:
    """Let a Makefile find what it includes from where it is itself."""
    if os.stat(path).st_size > _LONGEST:
        return
    with open(path, "rb") as file:
        text = file.read()
    up = os.path.relpath(os.path.join(root, "usr"), os.path.dirname(path)).encode()
    above = b"$(dir $(abspath $(lastword $(MAKEFILE_LIST))))" + up

    def moved(line: re.Match[bytes]) -> bytes:
        # Evaluated at once: after an include, the last Makefile is another.
        keyword = re.sub(rb" *:?=", b" :=", line[1])
        return keyword + b" " + above + b"/" + line[2]

    if (new := _INCLUDE.sub(moved, text)) != text:
        with open(path, "wb") as changed:
            changed.write(new)
