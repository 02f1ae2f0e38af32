"""The init functions of built-in modules, by the kernel's System.map.

Since Linux 5.10 each has a symbol that names its module (include/linux/init.h, ``__initcall_id``).
"""

from __future__ import annotations

import os
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ukmod.kmod.host import Files

__all__ = ["builtin_initcalls"]

_INITCALL = "__initcall__kmod_"


def builtin_initcalls(files: Files, paths: Iterable[str]) -> dict[str, str] | None:
    """Return the module of each built-in init function, by the first of the files that lists any.

    None if there is no such file.
    """
    for path in paths:
        with suppress(OSError):
            text = os.fsdecode(files.read(path))
            if found := dict(filter(None, map(_initcall, text.splitlines()))):
                return found
    return None


def _initcall(line: str) -> tuple[str, str] | None:
    """Return the function and the module of ``__initcall__kmod_MODULE__COUNTER_LINE_FUNCTIONLEVEL``."""
    symbol = line.rpartition(" ")[2]
    if not symbol.startswith(_INITCALL):
        return None
    module, _, rest = symbol.removeprefix(_INITCALL).rpartition("__")
    words = rest.split("_", 2)
    while module and not (len(words) == 3 and words[0].isdigit() and words[1].isdigit()):
        module, _, more = module.rpartition("__")
        rest = f"{more}__{rest}"
        words = rest.split("_", 2)
    if not module:
        return None
    function = words[2].removesuffix("s").rstrip("0123456789")
    for ending in ("early", "rootfs", "con"):
        function = function.removesuffix(ending) if words[2].endswith(ending) else function
    return function, module
