"""Does memory grow when modules are loaded and unloaded for ever?

``python -m benchmarks.cycles [CYCLES] [IMAGE]``: 100,000 cycles of three modules take half an hour of CPU
time; with a kernel image a cycle takes 60 ms, three times as long, so 3,000 take three minutes. Each tenth is
reported on standard error. It is no part of ``python -m benchmarks``.
"""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path

from benchmarks import Row, table
from ukmod.cli.examples import DATA, release
from ukmod.kernel.api import Kernel
from ukmod.machine.memory import PAGE_SIZE

CYCLES = 100_000
MODULES = tuple(
    Path(DATA, kind, release(), f"{name}.ko")
    for kind, name in (("demo", "signal_handling"), ("examples", "ticker"), ("examples", "bell"))
)
"""Three modules with a thread, a request, a timer, a parameter and debug information; one needs another."""
WARM = 10
"""After a tenth of the cycles memory is first measured: the log, the trace and the quarantines are full."""


def main(cycles: int = CYCLES, image: str = "none") -> list[Row]:
    """Load and unload the modules so often; compare the memory at the end with that after a tenth of it."""
    contents = [path.read_bytes() for path in MODULES]
    with Kernel(image=image) as k:
        k.boot(contents)
        measured = []
        for tenth in range(WARM):
            for _ in range(cycles // WARM):
                cycle(k, contents)
            measured.append((*_memory(k), len(gc.get_objects())))
            host, ram, objects = measured[-1]
            text = (
                f"{cycles // WARM * (tenth + 1):,} cycles: {host:.1f} MiB, {ram:.1f} MiB, {objects:,} objects"
            )
            print(text, file=sys.stderr, flush=True)
    notes = (f"{cycles:,} cycles, beside the same after {cycles // WARM:,}", "the same", "the same")
    return [
        Row(name, end, warm, unit, note)
        for name, warm, end, unit, note in zip(
            ("memory of the host", "RAM of the machine", "Python objects"),
            measured[0],
            measured[-1],
            ("MiB", "MiB", "objects"),
            notes,
            strict=True,
        )
    ]


def cycle(k: Kernel, contents: list[bytes]) -> None:
    """Load the modules, and unload them."""
    names = [k.insmod(content).name for content in contents]
    for name in reversed(names):
        k.rmmod(name)


def _memory(k: Kernel) -> tuple[float, float]:
    """The resident set of this process, and the RAM of the machine that is in use, in MiB."""
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    memory = k.core.memory
    used = memory.size - memory.frames_left() * PAGE_SIZE
    return pages * resource.getpagesize() / (1 << 20), used / (1 << 20)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(table(main(int(arguments[0]) if arguments else CYCLES, *arguments[1:2])))
