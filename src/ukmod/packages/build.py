"""Building a module from its source for a kernel, by its headers: ``make -C HEADERS M=COPY modules``.

Each kernel has a copy of the source, as kbuild writes beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from ukmod.errors import NotFoundError, UkmodError
from ukmod.kmod.names import is_module_file
from ukmod.machine.image.installed import Installed
from ukmod.record import record

__all__ = ["Building", "build", "building", "compiler"]

_MADE = ("*.o", "*.ko", "*.mod", "*.mod.c", ".*.cmd", ".*.d", "Module.symvers", "modules.order", ".git")
_COMPILER = re.compile(r"^CC\b.*?([\w-]*gcc-\d+|[\w-]*clang-\d+)\s*$", re.MULTILINE)
_SHOWN = 20
"""The lines of make's complaints to show, at most."""


@record
class Building:
    """The plan to build a source directory for a kernel."""

    release: str
    source: str
    copy: str
    command: tuple[str, ...]


def building(kernel: Installed, source: str, copy: str) -> Building:
    """The plan to build in a copy of the source. Raises NotFoundError without the kernel's headers."""
    if not kernel.headers:
        text = f"its headers are not on this machine: ukmod kernel fetch {kernel.release} --headers"
        raise NotFoundError(text, subject=kernel.release)
    jobs = f"-j{os.cpu_count() or 1}"
    command = ("make", "-s", jobs, "-C", kernel.headers, f"M={os.path.abspath(copy)}")
    return Building(kernel.release, source, copy, (*command, *compiler(kernel.headers), "modules"))


def compiler(headers: str) -> tuple[str, ...]:
    """The compiler for make: $CC, or gcc where the one that built the kernel is not installed."""
    if chosen := os.environ.get("CC"):
        return (f"CC={chosen}",)
    try:
        with open(os.path.join(headers, ".kernelvariables"), encoding="utf-8") as file:
            named = _COMPILER.search(file.read())
    except OSError:
        return ()
    return ("CC=gcc",) if named is not None and shutil.which(named[1]) is None else ()


def build(plan: Building) -> list[str]:
    """Carry the plan out; the modules that were built. Raises UkmodError with the compiler's complaints."""
    shutil.copytree(plan.source, plan.copy, ignore=shutil.ignore_patterns(*_MADE))
    try:
        done = subprocess.run(plan.command, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError as error:
        raise NotFoundError("is not installed, and modules are built by it", subject="make") from error
    if done.returncode:
        lines = done.stderr.replace(f"{os.path.abspath(plan.copy)}/", "").splitlines()
        said = [line for line in lines if not line.startswith("make")] or lines
        raise UkmodError("make failed:", subject=f"build for {plan.release}", details=said[:_SHOWN])
    found = [
        os.path.join(above, name)
        for above, _, names in os.walk(plan.copy)
        for name in names
        if is_module_file(name)
    ]
    return sorted(found)
