"""Programs in ring 3: a system call, a page fault, their own code's rate, and a shell that uses a module.

The first three are differences between runs of one program that does more or less, in CPU time.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests import golden
from tests.real import debian, guest, initramfs, qemu

from benchmarks import MissingError, Row, table
from benchmarks.machine import ARITHMETIC, LAPS, Bare
from ukmod.kernel.api import Kernel

_RUNS = 5
_BOOTS = 3
_CALLS = 20_000
_PAGES = 4_000
_MODULE = golden.REPOSITORY / "tests/data/devices" / golden.RELEASE / "quanta.ko"
_SHELL = "insmod /tmp/quanta.ko; cat /dev/quanta0; rmmod quanta"


def main() -> list[Row]:
    """Time programs of the emulated machine, and the shell under QEMU as well."""
    kernel = debian.find()
    if kernel is None:
        raise MissingError(f"no Debian kernel under {debian.cache()}: run {debian.SCRIPT}")
    if absent := [name for name in ("gcc", "busybox") if shutil.which(name) is None]:
        raise MissingError(f"{', '.join(absent)} not installed: run {debian.SCRIPT} as root")
    with tempfile.TemporaryDirectory() as directory, Kernel(image=kernel.vmlinuz) as k:
        program = Path(directory) / "user"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["gcc", "-O2", "-static", "-o", program, source], check=True)
        k.put(program, "/bin/user")
        return [*_rows(k), *_shell(kernel)]


def _rows(k: Kernel) -> list[Row]:
    call, page, lap = (_each(k, *work) for work in (("getpid", _CALLS), ("touch", _PAGES), ("spin", LAPS)))
    bare = Bare(ARITHMETIC)
    alone = statistics.median(_cpu(lambda: bare.run(LAPS, 0)) for _ in range(_RUNS))
    rate, theirs = 4 / lap / 1e6, 4 * LAPS / alone / 1e6
    return [
        Row("getpid(2) of a program, there and back", call * 1e6, None, "us", "aim: 15"),
        Row("a page touched for the first time", page * 1e6, None, "us", "aim: 100"),
        Row("a program's own code", rate, theirs, "M instr/s", "other: a bare Unicorn of its own"),
    ]


def _each(k: Kernel, name: str, count: int) -> float:
    """The CPU time in seconds that one more of ``count`` takes."""

    def run(times: int) -> float:
        return _cpu(lambda: k.exec(["/bin/user", name, str(times)], timeout=1e6))

    return statistics.median((run(2 * count) - run(count)) / count for _ in range(_RUNS))


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _shell(kernel: debian.Debian) -> list[Row]:
    """busybox's shell loads a module, reads its device and unloads it: from the start of each machine."""
    if absent := initramfs.absent():
        raise MissingError(f"{', '.join(absent)} not installed: run {debian.SCRIPT} as root")
    shell = shutil.which("busybox") or "/bin/busybox"
    machine = qemu.boot(kernel, [_MODULE], Path(".cache/benchmark"))
    script = guest.PRELUDE + _SHELL.replace("/tmp", "/lib/modules/*/extra")
    ours, cold, resumed = [], [], []
    for _ in range(_BOOTS):
        start = time.perf_counter()
        assert machine.run_cold(script)[0].finished
        cold.append(time.perf_counter() - start)
        start = time.perf_counter()
        assert machine.run(script).finished
        resumed.append(time.perf_counter() - start)
        start = time.perf_counter()
        with Kernel(image=kernel.vmlinuz) as k:
            k.put(shell, "/bin/busybox")
            k.put(_MODULE, "/tmp/quanta.ko")
            for name in ("sh", "insmod", "cat", "rmmod"):
                k.process.symlink("busybox", f"/bin/{name}")
            done = k.exec(["/bin/sh", "-c", _SHELL])
            assert (done.status, done.stderr) == (0, b"")
        ours.append(time.perf_counter() - start)
    took, name = statistics.median(ours), "sh -c 'insmod; cat /dev/x; rmmod'"
    return [
        Row(f"{name}, other boots QEMU", took, statistics.median(cold), "s"),
        Row(f"{name}, other resumes QEMU", took, statistics.median(resumed), "s", "from a snapshot"),
    ]


if __name__ == "__main__":
    print(table(main()))
