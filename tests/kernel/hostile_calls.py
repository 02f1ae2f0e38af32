"""Calls a function that Python implements with hostile arguments, or does worse, in a fork: tests ask it.

``python -m tests.kernel.hostile_calls [VMLINUZ]`` reads lines of JSON: ``[function, [value, ...]]``, or in
hexadecimal digits ``[CODE, [machine code]]`` and ``[ENTRY, [level, page table entry]]``. It answers each with
a line: an empty text if the call ended as on a real kernel (it returned, oopsed, panicked or was reported),
else the traceback or how the process ended. What the call did to the machine is gone with its fork.
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

from tests.kernel.conftest import Guest, layouts
from tests.kernel.hostile_state import CODE, ENTRY, execute, forge

from ukmod.errors import KernelPanic, LayoutError, PatienceError
from ukmod.kernel.api import Kernel
from ukmod.kernel.core import Core
from ukmod.survey.survey import how_it_ended

PATIENCE: Final = 2.0
"""Seconds of CPU time for the machine. A call that takes longer ends with a report of where it was."""
CPU_SECONDS: Final = 20
"""What the process may take all in all, on a busy machine: then it hangs."""
HOST_BYTES: Final = 6 << 30
"""Address space that a call may take."""
FORMAT: Final = b"%s %n %pV %*d %pK\0"

Values = dict[str, Callable[[Core], int]]


def _object(fill: Callable[[int], bytes], size: int = 256) -> Callable[[Core], int]:
    """A slab object; ``fill`` makes its contents from its address."""

    def make(k: Core) -> int:
        address = k.slab.kmalloc(size)
        k.memory.write(address, fill(address))
        return address

    return make


def _freed(k: Core) -> int:
    address = k.slab.kmalloc(64)
    k.slab.kfree(address)
    return address


def _number(value: int) -> Callable[[Core], int]:
    return lambda _: value & (1 << 64) - 1


VALUES: Final[Values] = {
    **{
        hex(value): _number(value)
        for value in (0, 1, 2, 8, 64, 100, 4096, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 63)
    },
    **{str(value): _number(value) for value in (-1, -22, -4095)},
    "ZERO_SIZE_PTR": _number(16),
    "GFP_KERNEL": _number(0xCC0),
    "user memory": _number(0x1000),
    "the end of user memory": _number(0x7FFF_FFFF_F000),
    "LIST_POISON1": _number(0xDEAD_0000_0000_0100),
    "not canonical": _number(0x8000_0000_0000_0000),
    "the direct map's guard hole": _number(0xFFFF_8000_0000_0000),
    "zeros": _object(lambda _: bytes(256)),
    "ones": _object(lambda _: b"\xff" * 256),
    "a list of itself": _object(lambda address: address.to_bytes(8, "little") * 32),
    "a list that skips its head": _object(lambda address: (address + 16).to_bytes(8, "little") * 32),
    "the end of an object": lambda k: _object(lambda _: bytes(256))(k) + 248,
    "unaligned": lambda k: _object(lambda _: bytes(256))(k) + 1,
    "a format": _object(lambda _: FORMAT, len(FORMAT)),
    "freed": _freed,
    "a function that returns 0": lambda k: k.cpu.stubs.add_function(lambda _: 0),
    "a function that returns its argument": lambda k: k.cpu.stubs.add_function(lambda frame: frame[1]),
    "kernel code": lambda k: k.symbols.address("_printk"),
    "a task": lambda k: k.idle.address,
}
"""Hostile values by what they are."""


def attempt(k: Core, name: str, values: Sequence[str]) -> None:
    """Call the function in a task, and let a second pass. Raises what a user of the machine would see."""
    work: Callable[[], object]
    if name == CODE:
        work = partial(execute, k, bytes.fromhex(values[0]))
    elif name == ENTRY:
        work = partial(forge, Guest(k), int(values[0]), int(values[1], 16))
    elif (address := _address(k, name)) is not None:
        work = partial(k.cpu.call, address, *(VALUES[value](k) for value in values))
    else:
        return

    def entry() -> int:
        work()
        return 0

    # A function of a newer kernel may need a struct that this one does not have.
    with suppress(LayoutError):
        end(k, lambda: k.run_task("hostile", entry))


def end(k: Core, work: Callable[[], object]) -> None:
    """Do something, and let a second pass. Raises what neither a panic nor a lockup is."""
    k.patience = PATIENCE
    with suppress(KernelPanic, PatienceError):
        work()
        k.sched.run(lambda: False, k.clock.now + 10**9)
    for oops in k.oopses:
        oops.text()


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
        name, values = json.loads(line)
        print(json.dumps(in_fork(k, partial(attempt, k, name, values))), flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        with Kernel(image=sys.argv[1]) as machine:
            serve(machine.core, sys.stdin)
    else:
        with Core(layouts()) as kernel:
            serve(kernel, sys.stdin)
