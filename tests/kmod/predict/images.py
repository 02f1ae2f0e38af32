"""Images with the scenarios' modules, a shell and a few programs, for one configuration after the other."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.kmod.predict.scenarios import BUILTIN, MODULES

from ukmod.kmod import depmod

RELEASE = "4.4.4"
_PLACES = ("etc", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d")
_PROGRAMS = ("bin/sh", "bin/true", "bin/false", "bin/echo", "bin/grep", "bin/nice", "bin/env", "bin/taskset")
_FILES = ("bin/rm", "bin/mv", "bin/cp", "bin/ln", "bin/tee", "bin/touch", "bin/sed", "sbin/sysctl")
_KMOD = ("sbin/modprobe", "sbin/insmod", "sbin/rmmod")


def make(root: Path) -> Path:
    """Fill a root with modules, indexed, and with programs; return it."""
    tree = root / "usr/lib/modules" / RELEASE
    (tree / "kernel").mkdir(parents=True)
    for name, data in MODULES.items():
        (tree / f"kernel/{name}.ko").write_bytes(data)
    (tree / "modules.order").write_text("".join(f"kernel/{name}.ko\n" for name in MODULES))
    (tree / "modules.builtin").write_text("".join(f"kernel/{name}.ko\n" for name in BUILTIN))
    (root / "lib").symlink_to("usr/lib")
    for program in (*_PROGRAMS, *_FILES, *_KMOD):
        (root / program).parent.mkdir(exist_ok=True)
        (root / program).touch()
    depmod(root, RELEASE)
    return root


def configure(root: Path, files: Mapping[str, str]) -> None:
    """Make these the only files of the configuration: paths below the root, and texts or "-> TARGET"."""
    for place in _PLACES:
        shutil.rmtree(root / place, ignore_errors=True)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
