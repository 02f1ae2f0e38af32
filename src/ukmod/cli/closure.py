"""``ukmod closure``: the files that a set of modules needs, for an initramfs say."""

from __future__ import annotations

import os
import sys

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.cli.terminal import escape, near, write
from ukmod.kmod.closures import closure
from ukmod.kmod.context import Context
from ukmod.kmod.firmware import firmware_directories
from ukmod.kmod.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.closures import Closure

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Print the closure of the modules named; 1 if something required is missing and that is an error."""
    arguments = command_lines.closure().parse_args(argv)
    tree = Tree.open(arguments.dirname, arguments.set_version, arguments.moduledir)
    found = closure(
        Context.open(tree, config_paths=arguments.config or None),
        arguments.name,
        weakdeps=arguments.weakdeps,
        firmware_directories=()
        if arguments.no_firmware
        else firmware_directories(os.path.abspath(arguments.dirname), tree.release),
    )
    if arguments.json:
        print_document("closure", _content(found))
    else:
        write("".join(f"{path}\n" for path in found.files))
    for missing in found.missing:
        level = "error" if missing.is_fault and arguments.on_missing == "error" else "warning"
        hint = near(missing.name.replace("-", "_"), tree.module_names()) if missing.kind == "module" else ""
        sys.stderr.write(escape(f"ukmod closure: {level}: {missing}{hint}") + "\n")
    return int(arguments.on_missing == "error" and any(missing.is_fault for missing in found.missing))


def _content(found: Closure) -> dict[str, object]:
    return {
        "modules": [
            {"module": one.module, "path": one.path, "reason": one.reason, "of": one.of}
            for one in found.modules
        ],
        "firmware": [{"path": one.path, "module": one.module} for one in found.firmware],
        "missing": [
            {"kind": one.kind, "name": one.name, "needed_by": one.needed_by, "why": one.why}
            for one in found.missing
        ],
    }
