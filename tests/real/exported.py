"""The variables that a kernel exports: as they are under QEMU, and as they are here once the image is up.

Modules read them without a call, so that nothing else shows that one was not set.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.real import debian, qemu

from ukmod.kernel.api import Kernel

__all__ = ["REASONS", "build", "under_qemu", "unset"]

SOURCE = Path(__file__).with_suffix(".c")
REASONS = {
    "alternatives_patched": "no code is patched for a better CPU",
    "cad_pid": "nobody presses Ctrl-Alt-Del",
    "console_drivers": "the log is Python's, and needs no console",
    "console_list": "the same, by its name since v6.2",
    "console_set_on_cmdline": "the guest's command line names its console",
    "isa_dma_bridge_buggy": "there is no such bridge",
    "mem_section": "struct pages are mapped when they are used",
    "movable_zone": "there is one zone for all memory",
    "panic_timeout": "the guest's command line has panic=-1",
    "pcpu_base_addr": "per-CPU memory is Python's",
    "pm_power_off": "there is no ACPI",
    "pm_power_off_prepare": "the same",
}
"""Why a variable that a real kernel has set is 0 here."""


def build(directory: Path) -> Path:
    """Compile the program that shows them."""
    program = directory / "exported"
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-static", "-o", program, SOURCE], check=True)
    return program


def under_qemu(kernel: debian.Debian, program: Path, cache: Path) -> dict[str, int]:
    """The first eight bytes of each, by name, of the real kernel."""
    said = qemu.boot(kernel, [], cache, programs=[program]).run("exported\n").text
    words = [line.split() for line in said.splitlines()]
    return {line[0]: int(line[1], 16) for line in words if len(line) == 2}


def unset(k: Kernel, real: dict[str, int]) -> set[str]:
    """The variables of at most eight bytes that are 0 in the emulated kernel only."""
    memory, image = k.core.memory, k.core.image
    assert image is not None
    found = set()
    for name, value in real.items():
        if (at := image.get(name)) is None or not 0 < (size := image.symbols.size_at(at)) <= 8:
            continue
        if value & (1 << 8 * size) - 1 and not memory.uint(at, size):
            found.add(name)
    return found
