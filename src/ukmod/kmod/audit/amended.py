"""Systems with changes that are made in memory alone: more lines of modprobe.d, more kernel parameters."""

from __future__ import annotations

import os
import stat

from ukmod.kmod.config import config_files
from ukmod.kmod.kernelargs import kernel_arguments
from ukmod.kmod.overlay import OverlayFiles
from ukmod.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ukmod.kmod.kernelargs import BootArguments
    from ukmod.kmod.system import System

__all__ = ["lines_path", "with_arguments", "with_lines"]

_DIRECTORY = "/etc/modprobe.d"
_FILES = ("00-block.conf", "0-block.conf", "+block.conf", "!block.conf")
"""Names for a file that is read before all others, so that its lines count: one that sorts before them."""


def lines_path(system: System, config_paths: Sequence[str] | None) -> str:
    """Return the file for lines that are to count before all others."""
    files = system.tree.files
    directory = system.root.rstrip("/") + _DIRECTORY
    if config_paths:
        directory = next((path for path in config_paths if _is_directory(system, path)), "")
        if not directory:
            return config_paths[0]  # they are put before its own
    paths = list(config_paths or system.tree.config_paths)
    there = [os.path.basename(path) for path in config_files(system.tree.dirname, paths, files)]
    first = min(there, key=os.fsencode, default="~")
    name = next((name for name in _FILES if os.fsencode(name) < os.fsencode(first)), _FILES[-1])
    return f"{directory}/{name}"


def _is_directory(system: System, path: str) -> bool:
    try:
        return stat.S_ISDIR(system.tree.files.stat(path).st_mode)
    except OSError:
        return False


def with_lines(system: System, path: str, lines: Sequence[str], *, in_initramfs: bool = False) -> System:
    """Return a system with lines at the head of a file of modprobe.d, which may be a new one; in memory.

    ``in_initramfs``: those that it boots with have the lines, too, before all others.
    """
    if not lines:
        return system
    files = system.tree.files
    try:
        old = files.read(path)
    except OSError:
        old = b""
    text = "".join([f"{line}\n" for line in lines])
    overlay = OverlayFiles(files, {path: text.encode() + old})
    changed = replace(system, tree=system.tree.through(overlay))
    if not in_initramfs:
        return changed
    return _with_initramfs(changed, lambda own: with_lines(own, lines_path(own, None), lines))


def with_arguments(system: System, arguments: Sequence[str]) -> System:
    """Return a system whose kernel is given more parameters, whichever way it is booted; in memory."""
    if not arguments:
        return system
    boots = tuple([replace(boot, text=_extended(boot, arguments)) for boot in system.boots])
    return _with_initramfs(replace(system, boots=boots), lambda own: replace(own, boots=boots))


def _with_initramfs(system: System, change: Callable[[System], System]) -> System:
    """Return a system with a change to each initramfs that it boots with."""
    changed = [
        one if one.system is None else replace(one, system=change(one.system)) for one in system.initramfs
    ]
    return replace(system, initramfs=tuple(changed))


def _extended(boot: BootArguments, arguments: Sequence[str]) -> str:
    """Return a command line with more parameters; as the last module_blacklist= counts, it is extended."""
    text = boot.text
    for argument in arguments:
        name, _, value = argument.partition("=")
        before = [known for key, known in kernel_arguments(text) if key.replace("-", "_") == name and known]
        merged = f"{before[-1]},{value}" if before and name == "module_blacklist" else value
        head, ends, rest = f" {text} ".partition(" -- ")
        text = f"{head} {name}={merged}{ends}{rest}".strip()
    return text
