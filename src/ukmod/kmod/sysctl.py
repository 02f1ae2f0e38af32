"""kernel.modules_disabled in sysctl.d: from the moment it is applied, the kernel loads no module any more."""

from __future__ import annotations

import os

from ukmod.kmod.config import Source, logical_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.kmod.host import Files

__all__ = ["modules_disabled"]

_DIRECTORIES = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
)
_KEYS = frozenset(("kernel.modules_disabled", "kernel/modules_disabled"))


def modules_disabled(files: Files, root: str) -> Source | None:
    """Return the line of sysctl.d(5) that turns off the loading of modules, below a root; None without one.

    The last line for a key counts, in the order of the files' names; /etc/sysctl.conf comes last.
    """
    chosen: dict[str, str] = {}
    for directory in _DIRECTORIES:
        try:
            names = files.listdir(root + directory)
        except OSError:
            continue
        for name in names:
            if name.endswith(".conf"):
                chosen.setdefault(name, f"{root}{directory}/{name}")
    paths = [path for _name, path in sorted(chosen.items())]
    found: Source | None = None
    for path in [*paths, f"{root}/etc/sysctl.conf"]:
        try:
            text = os.fsdecode(files.read(path))
        except OSError:
            continue
        for number, line in logical_lines(text):
            key, equals, value = line.partition("=")
            if equals and key.strip().removeprefix("-").strip() in _KEYS:
                found = Source(path, number) if value.strip() == "1" else None
    return found
