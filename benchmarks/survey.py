"""How long ``ukmod survey --kernel`` takes: some of its batches, in a kernel that has been brought up."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.real import debian

from benchmarks import MissingError, Row, table
from ukmod.kernel.trees import load_order, open_tree
from ukmod.survey.survey import survey_batch
from ukmod.survey.verdict import Settings

_BATCH, _BATCHES = 25, 15


def main() -> list[Row]:
    """Time batches from all over the tree, by one worker.

    The median counts: the few modules that test or measure for seconds would make a sample say anything.
    """
    kernel = debian.find()
    if kernel is None:
        raise MissingError(f"no Debian kernel: run {debian.SCRIPT}")
    settings = Settings(str(kernel.modules), str(kernel.vmlinuz))
    tree = open_tree(settings.tree)
    names = sorted(tree.module_names(), key=lambda name: load_order(tree, name))
    batches = [names[at : at + _BATCH] for at in range(0, len(names), _BATCH)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        times = executor.submit(_time, settings, batches[:: len(batches) // _BATCHES]).result()
    each = statistics.median(times)
    minutes = each * len(names) / 60
    return [
        Row("a module surveyed with its image", each * 1000, None, "ms", "CPU time; the kernel is up"),
        Row(f"all {len(names):,} modules", minutes, None, "minutes", "CPU time, extrapolated"),
    ]


def _time(settings: Settings, batches: Sequence[Sequence[str]]) -> list[float]:
    """Seconds of CPU time a module, of each batch."""
    survey_batch(settings, ())
    times = []
    for batch in batches:
        start = _cpu_time()
        survey_batch(settings, batch)
        times.append((_cpu_time() - start) / len(batch))
    return times


def _cpu_time() -> float:
    """What this process and those that it has forked have used so far, in seconds."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    print(table(main()))
