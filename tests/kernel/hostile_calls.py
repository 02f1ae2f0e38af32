"""Calls functions that Python implements with hostile arguments, or does worse, in a fork: tests ask it.

``python -m tests.kernel.hostile_calls [VMLINUZ]`` reads lines of JSON, each a list of calls that one machine
gets: ``[function, [value, ...]]``, or in hexadecimal digits ``[CODE, [machine code]]`` and ``[ENTRY, [level,
page table entry]]``. It answers with a line: an empty text if the calls ended as on a real kernel (they
returned, oopsed, panicked or were reported), else the traceback or how the process ended. What the calls did
to the machine is gone with its fork.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from tests.kernel.conftest import Guest, assert_own_code_is_sound, layouts
from tests.kernel.hostile_state import CODE, ENTRY, execute, forge
from tests.kernel.hostile_values import Made

from ukmod.errors import LayoutError, StoppedError
from ukmod.kernel.api import Kernel
from ukmod.kernel.core import Core
from ukmod.survey.survey import how_it_ended

PATIENCE: Final = 2.0
"""Seconds of CPU time for the machine. A call that takes longer ends with a report of where it was."""
CPU_SECONDS: Final = 20
"""What the process may take all in all, on a busy machine: then it hangs."""
HOST_BYTES: Final = 6 << 30
"""Address space that a call may take."""

Call = tuple[str, list[str]]
"""A function's name and the values of its arguments; or CODE or ENTRY, and what they take."""


def attempt(k: Core, *calls: Call) -> None:
    """Make the calls, each in a task of its own, and let a second pass. Raises what a user would see."""

    def work() -> None:
        made = Made(k)
        for name, values in calls:
            # A function of a newer kernel may need a struct that this one does not have.
            with suppress(LayoutError):
                k.start("hostile", _entry(k, name, values, made))
                k.sched.run(lambda: False, k.clock.now + 10**7)

    end(k, work)


def _entry(k: Core, name: str, values: Sequence[str], made: Made) -> Callable[[], int]:
    """The main function of a task that makes a call."""
    call: Callable[[], object]
    if name == CODE:
        call = partial(execute, k, bytes.fromhex(values[0]))
    elif name == ENTRY:
        call = partial(forge, Guest(k), int(values[0]), int(values[1], 16))
    elif (address := _address(k, name)) is not None:
        call = partial(k.cpu.call, address, *map(made, values))
    else:
        call = int

    def entry() -> int:
        call()
        return 0

    return entry


def end(k: Core, work: Callable[[], object]) -> None:
    """Do something, and let a second pass. Raises what neither a panic nor a lockup is.

    That includes an AssertionError for an oops that stands for an exception in ukmod's own code.
    """
    k.patience = PATIENCE
    with suppress(StoppedError):
        work()
        k.sched.run(lambda: False, k.clock.now + 10**9)
    assert_own_code_is_sound(k)


def _address(k: Core, name: str) -> int | None:
    """The address of a function that Python implements, for modules or for the image alone."""
    if name in k.symbols.functions():
        return k.symbols.address(name)
    return k.image.get(name) if k.image is not None else None


def in_fork(k: Core, work: Callable[[], object]) -> str:
    """Do something in a fork of the machine: what came of it, as the answers say it."""
    read, write = os.pipe()
    if pid := os.fork():
        os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return text or (how_it_ended(status) if status else "")
    k.cpu.after_fork()
    limit = int(time.process_time()) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (HOST_BYTES, HOST_BYTES))
    try:
        work()
    except BaseException:  # noqa: BLE001 - whatever it is, it is the finding
        os.write(write, traceback.format_exc().encode())
    os._exit(0)


def serve(k: Core, lines: Iterable[str]) -> None:
    """Answer questions until there are no more."""
    for line in lines:
        print(json.dumps(in_fork(k, partial(attempt, k, *json.loads(line)))), flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        with Kernel(image=sys.argv[1]) as machine:
            serve(machine.core, sys.stdin)
    else:
        with Core(layouts()) as kernel:
            serve(kernel, sys.stdin)
