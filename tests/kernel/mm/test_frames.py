"""What loading and unloading leave of the machine's memory, and who is blamed for what they leave."""

from __future__ import annotations

import contextlib
import gc
import struct
from collections import Counter

import pytest
from benchmarks import cycles
from tests.cases import CASES
from tests.golden import modules
from tests.kernel.conftest import layouts
from tests.steps import Insmod

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel
from ukmod.kernel.x86.unwind import StackTrace
from ukmod.machine.memory import PAGE_SHIFT

SETTLED = 10
"""Rounds until nothing is used for the first time."""
ROUNDS = 30
NEVER_END = {
    "oops": "its task dies, and whoever loads it next waits for it",
    "ring_a": "its initialisation requests ring_b's, which requests it",
    "ring_b": "the same",
    "endless": "its initialisation is killed",
    "thread_left": "it leaves a thread each time",
}
"""The modules that keep what they were given, and why."""
KEEP = (
    *("part=double_free", "part=leak", "part=cache_busy", "part=use_after_free", "init_ms=40000"),
    *("put=nonesuch", "no_set=1", "part=no_thread", "part=no_data"),
    *("part=stops_itself", "part=stops_nothing", "part=stops_an_error"),
)
"""The parameters with which others do, by an oops for example, or take too long."""


def parameters(module: str) -> list[str]:
    """The parameters with which the cases load a module, and the machine lives on."""
    cases = [case for case in CASES if not (case.dies or case.needs_image)]
    steps = [step for case in cases for step in case.steps]
    found = [step.params for step in steps if isinstance(step, Insmod) and step.module == module]
    return list(dict.fromkeys(word for word in found or [""] if word not in KEEP))


def machine() -> Kernel:
    """One that reuses at once what is freed, which is otherwise kept for a while so that misuse is seen."""
    k = Kernel(types=layouts())
    at_once(k)
    return k


def at_once(k: Kernel) -> None:
    """Have a machine reuse at once what is freed."""
    k.core.slab.fence.quarantine = k.core.tasks.quarantine.limit = k.core.workqueues.quarantine.limit = 0
    k.core.module_area.once = 0


Used = tuple[int, int]
"""The frames that somebody holds, except those that the fence has prepared for objects to come; the bytes
charged for what the host keeps."""


def used_now(k: Kernel) -> Used:
    memory = k.core.memory
    frames = memory._frames.allocated >> PAGE_SHIFT
    return frames - 2 * len(k.core.slab.fence._fresh), memory._frames.charged


def cycle(k: Kernel, module: str, params: str) -> Used:
    """Load and unload a module, which may refuse either; what is in use then."""
    with contextlib.suppress(LoadError):
        k.insmod(modules()[module], params)
        k.rmmod(module)
    return used_now(k)


@pytest.mark.parametrize("module", [name for name in modules() if name not in NEVER_END])
def test_loads_and_unloads_cost_no_frame(module: str) -> None:
    """With each of its parameters in turn, so that what they leave cannot make up for each other."""
    words = parameters(module)
    used: dict[str, set[Used]] = {word: set() for word in words}
    settled = max(SETTLED, 2 * len(words))
    with machine() as k:
        for n in range(settled + max(ROUNDS, 2 * len(words))):
            now = cycle(k, module, words[n % len(words)])
            if n >= settled:
                used[words[n % len(words)]].add(now)
        leaks = k.leaks()
    assert [len(found) for found in used.values()] == [1] * len(words)
    assert not leaks


def objects(k: Kernel) -> Counter[str]:
    """ukmod's own objects, by type, except those in the log and the trace, which are rings."""
    k.core.log.clear()
    k.core.trace.clear()
    gc.collect()
    kinds = (type(one) for one in gc.get_objects())
    return Counter(kind.__qualname__ for kind in kinds if kind.__module__.startswith("ukmod."))


def test_loads_and_unloads_leave_no_object_of_python() -> None:
    """With debug information and requests. The long version is ``python -m benchmarks.cycles``."""
    contents = [path.read_bytes() for path in cycles.MODULES]
    with Kernel(image="none") as k:
        k.boot(contents)
        at_once(k)
        counts = []
        for _ in range(3):
            for _ in range(SETTLED):
                cycles.cycle(k, contents)
            counts.append(objects(k))
    assert counts[1] - counts[0] == counts[2] - counts[1] == Counter()


@pytest.mark.parametrize(("module", "params"), [("slab", "part=leak"), ("thread_left", "")])
def test_a_leak_is_a_frame_at_least_each_time(module: str, params: str) -> None:
    with machine() as k:
        used = [cycle(k, module, params) for _ in range(SETTLED + 5)][SETTLED:]
    assert used == sorted(set(used))


def test_a_module_is_not_blamed_for_what_one_before_it_at_its_address_left() -> None:
    with machine() as k:
        k.insmod(modules()["exporter"])
        first = k.modules["exporter"]
        place = first.layout.core
        code = struct.pack("<Q", first.layout.symbol_starts[0] + 1)
        trace = StackTrace(1, "t", k.core.clock.now, k.core.idle.sp, 0, code)
        k.core.slab.alloc(64, 8, "kmalloc-64", trace=trace)
        k.rmmod("exporter")
        assert [leak.track.module for leak in k.leaks()] == ["exporter"]
        k.insmod(modules()["ok_dep"])
        assert k.modules["ok_dep"].layout.core == place
        k.rmmod("ok_dep")
        assert [leak.track.module for leak in k.leaks()] == ["exporter"]
