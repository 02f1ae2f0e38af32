"""``ukmod closure``: the files that modules need, as a list, a manifest, an archive or a copy."""

from __future__ import annotations

import os
import sys

from ukmod.cli import command_lines
from ukmod.cli.closure_report import as_object, as_object_of_items, chain_lines, missing_lines, mtree_lines
from ukmod.cli.document import print_document
from ukmod.cli.output import write_bytes
from ukmod.cli.terminal import write_lines
from ukmod.errors import NotFoundError, UsageError
from ukmod.kmod.closures import closure
from ukmod.kmod.context import Context
from ukmod.kmod.cpio import newc
from ukmod.kmod.devices import read_devices
from ukmod.kmod.firmware import firmware_directories
from ukmod.kmod.installing import install
from ukmod.kmod.loaded import listed_modules
from ukmod.kmod.payload import entry_of, manifest, payload
from ukmod.kmod.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from ukmod.kmod.closures import Closure
    from ukmod.kmod.payload import ImageFile

__all__ = ["main"]

_LOADED = "/proc/modules"


def main(argv: Sequence[str]) -> int:
    """Print the closure of the modules named; 1 if something required is missing and that is an error."""
    options = command_lines.closure().parse_args(argv)
    if not (options.name or options.host or options.loaded or options.modalias):
        raise UsageError("name modules, or say with --host, --loaded or --modalias where they are named")
    if options.format == "cpio" and (options.json or (options.output is None and sys.stdout.isatty())):
        raise UsageError("an archive is for a file: name it with --output, or redirect the output")
    mtime = _source_date_epoch()
    tree = Tree.open(options.dirname, options.set_version, options.moduledir)
    found = _closure(tree, options)
    write_lines(
        missing_lines(found.missing, tree, on_missing=options.on_missing, quiet=options.quiet), sys.stderr
    )
    is_short = options.on_missing == "error" and any(missing.is_fault for missing in found.missing)
    if options.why is not None:
        return _show_chain(found, options) or int(is_short)
    if is_short and (options.format == "cpio" or options.copy is not None):
        return 1
    root = os.path.abspath(options.dirname)
    if options.copy is not None:
        _copy(found, tree, root, options, mtime)
        return 0
    if options.format == "list":
        _print(found, None, tree, options, 0)
        return int(is_short)
    items = payload(found, tree, root, indexes=options.indexes, lists=options.indexes)
    if options.format == "cpio":
        write_bytes(newc((entry_of(item, tree) for item in items), mtime or 0), options.output)
    else:
        _print(found, items, tree, options, mtime or 0)
    return int(is_short)


def _closure(tree: Tree, options: Namespace) -> Closure:
    loaded = [*([_LOADED] if options.host else []), *options.loaded]
    return closure(
        Context.open(tree, config_paths=options.config or None),
        options.name,
        weakdeps=options.weakdeps,
        firmware_directories=()
        if options.no_firmware
        else firmware_directories(os.path.abspath(options.dirname), tree.release),
        exclude=options.exclude,
        loaded=[name for path in loaded for name in listed_modules(path)],
        devices=[device for path in options.modalias for device in read_devices(path)],
    )


def _source_date_epoch() -> int | None:
    """The time of files that are written, if the environment says one (reproducible-builds.org)."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isdecimal():
        raise UsageError("is not a number of seconds", subject=f"SOURCE_DATE_EPOCH={text}")
    return int(text)


def _show_chain(found: Closure, options: Namespace) -> int:
    chain = found.chain(options.why)
    if options.json:
        print_document("closure", {**as_object(found), "why": [member.module for member in chain]})
    elif chain:
        write_lines(chain_lines(chain))
    else:
        write_lines([f"ukmod closure: {options.why} is not needed by any of them"], sys.stderr)
    return int(not chain)


def _copy(found: Closure, tree: Tree, root: str, options: Namespace, mtime: int | None) -> None:
    """Copy the files below another root, and have depmod index all modules that are there then."""
    from ukmod.kmod.depmod.library import depmod

    to = os.path.abspath(options.copy)
    if not os.path.isdir(to):
        raise NotFoundError("there is no such directory to copy to", subject=options.copy)
    install(payload(found, tree, root, indexes=False, lists=options.indexes), tree, to, mtime)
    if options.indexes and found.modules:
        moduledir = os.path.dirname(tree.dirname.removeprefix(root.rstrip("/")))
        depmod(to, tree.release, moduledir)


def _print(
    found: Closure, items: Sequence[ImageFile] | None, tree: Tree, options: Namespace, mtime: int
) -> None:
    rows = [] if items is None else list(manifest(items, tree))
    if options.json:
        files = {} if items is None else {"files": as_object_of_items(rows)}
        print_document("closure", {**as_object(found), **files})
        return
    lines = found.files if items is None else mtree_lines(rows, mtime)
    if options.output is None:
        write_lines(lines)
    else:
        write_bytes([os.fsencode(f"{line}\n") for line in lines], options.output)
