"""How long it takes until there is something to work with: imports, and an emulated kernel."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests import golden
from tests.real import debian

from benchmarks import MissingError, Row, table
from ukmod.kernel.api import Kernel

_RUNS = 15
_IMPORTS = {
    "import ukmod": "import ukmod",
    "import ukmod.kmod": "import ukmod.kmod",
    "from ukmod.kmod import Context, plan": "from ukmod.kmod import Context, plan",
    "from ukmod import Kernel": "from ukmod import Kernel",
}


def main() -> list[Row]:
    """Time whole processes that import, beside one that does nothing; commands; kernels in this process."""
    return [*_imports(), *_commands(), *_boots()]


def _imports() -> list[Row]:
    times: dict[str, list[float]] = {code: [] for code in ("pass", *_IMPORTS.values())}
    for _ in range(_RUNS):
        for code, taken in times.items():
            taken.append(_time(partial(subprocess.run, [sys.executable, "-c", code], check=True)))
    floor = statistics.median(times["pass"])
    return [
        Row(name, statistics.median(times[code]), floor, "ms", "other: python -c pass")
        for name, code in _IMPORTS.items()
    ]


def _commands() -> list[Row]:
    """What short runs cost, beside the engine's own import: CPU time, which a busy machine stretches less."""
    names = {
        "from ukmod import Kernel": ["-c", "from ukmod import Kernel"],
        "ukmod demo": ["-m", "ukmod", "demo"],
    }
    if kernel := debian.find():
        run = ["-m", "ukmod", "run", "--kernel", str(kernel.vmlinuz), str(golden.modules()["ok_dep"])]
        names["ukmod run of a module, image from its snapshot"] = run
    times: dict[str, list[float]] = {name: [] for name in ("unicorn", *names)}
    for arguments in names.values():
        _cpu_time(arguments)  # makes the snapshot, and Python's bytecode
    for _ in range(_RUNS):
        times["unicorn"].append(_cpu_time(["-c", "import unicorn"]))
        for name, arguments in names.items():
            times[name].append(_cpu_time(arguments))
    engine = statistics.median(times["unicorn"])
    about = "user and system time; other: python -c 'import unicorn'"
    return [Row(f"{name}, CPU time", statistics.median(times[name]), engine, "ms", about) for name in names]


def _cpu_time(arguments: list[str]) -> float:
    """Milliseconds of user and system time that Python takes with these arguments."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise MissingError(f"{arguments} has failed")
    return (used.ru_utime + used.ru_stime) * 1000


def _boots() -> list[Row]:
    module = golden.modules()["ok_dep"]
    rows = [Row("kernel boots", _boot(module, None, _RUNS), None, "ms", "struct layouts from the profile")]
    if kernel := debian.find():
        time = _boot(module, kernel.vmlinuz, 3)
        rows.append(Row("kernel boots with its image", time, None, "ms", "from its snapshot"))
    return rows


def _boot(module: Path, image: Path | None, runs: int) -> float:
    def boot() -> None:
        with Kernel(image=image) as k:
            k.boot([module])

    return statistics.median(_time(boot) for _ in range(runs))


def _time(work: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    print(table(main()))
