"""``ukmod demo`` beside the same two modules, doing the same, on a real kernel under QEMU (TCG).

The guest's clock jumps to the next timer when it is idle, so neither side waits for the seconds that pass.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path

from tests import golden
from tests.cases import BY_NAME
from tests.real import debian, guest, initramfs, qemu

from benchmarks import MissingError, Row, table
from benchmarks.programs import UKMOD

_RUNS = 3


def main() -> list[Row]:
    """Time both from the start of the program until the modules are gone again."""
    kernel = debian.find()
    if kernel is None:
        raise MissingError(f"no Debian kernel under {debian.cache()}: run {debian.SCRIPT}")
    if absent := initramfs.absent():
        raise MissingError(f"{', '.join(absent)} not installed: run {debian.SCRIPT} as root")
    machine = qemu.boot(kernel, list(golden.modules().values()), Path(".cache/guests"))
    script = guest.script(BY_NAME["demo"])
    ours, cold, ready, resumed = [], [], [], []
    for _ in range(_RUNS):
        start = time.perf_counter()
        output, booted = machine.run_cold(script)
        cold.append(time.perf_counter() - start)
        ready.append(booted)
        start = time.perf_counter()
        again = machine.run(script)
        resumed.append(time.perf_counter() - start)
        assert output.finished
        assert again.finished
        for _ in range(_RUNS):
            start = time.perf_counter()
            subprocess.run([*UKMOD, "demo"], check=True, stdout=subprocess.DEVNULL)
            ours.append(time.perf_counter() - start)
    took = statistics.median(ours)
    return [
        Row("demo, other boots QEMU", took, statistics.median(cold), "s", f"booting: {min(ready):.1f} s"),
        Row("demo, other resumes QEMU", took, statistics.median(resumed), "s", "from a snapshot"),
    ]


if __name__ == "__main__":
    print(table(main()))
