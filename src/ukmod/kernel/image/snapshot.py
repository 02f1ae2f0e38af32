"""Snapshots: a kernel whose image has been initialised, saved to disk so that this need not be repeated.

Bringing an image up takes seconds and always has the same result. Afterwards the machine is at rest: every
task sleeps. Its RAM and Python's half can therefore be saved and restored in another process, like
hibernation (kernel/power/swap.c). RAM is mapped from the file, copy-on-write. Python's half is a pickle
(pickled.py). The engine, which no pickle can hold, is created anew; tasks, which are greenlets, are restarted
where they slept.

A snapshot's name is a hash of everything that bringing up depends on. A snapshot that is damaged, was not
written with the cache's key, or cannot be read for any other reason, is ignored, and the image is brought up.
"""

from __future__ import annotations

import gc
import hashlib
import hmac
import os
import pickle
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from io import BufferedReader
from typing import Any, Final

from ukmod.errors import LimitError, MachineError
from ukmod.kernel import IMPORTED
from ukmod.kernel.core import Core
from ukmod.kernel.image import pickled
from ukmod.kernel.image.sanitizers import refuse
from ukmod.kernel.sched.core import Task
from ukmod.kmod.regular import UNSETTLED, identity
from ukmod.machine import libunicorn
from ukmod.machine.image.cache import MAC_SIZE, Cache
from ukmod.machine.image.image import KernelImage
from ukmod.machine.memory import Memory, Run, page_align
from ukmod.machine.types import Types
from ukmod.machine.types.wanted import FIRST
from ukmod.userland import Programs

KEPT: Final = 4
"""The number of snapshots kept per image: for other options, or from another Python or ukmod."""
_PREFIX: Final = "snapshot-"
_WHOLE: Final = "whole-"
"""The name of an entry that says of a snapshot that its RAM has been checked."""
_MAGIC: Final = b"ukmod snapshot\r\n"
_HEAD: Final = struct.Struct("<16sQQQ")
"""The magic, the size of the state in bytes, the size of the file, and the CRC-32 of the RAM.

The MAC of the head and the state follows, then the state; the RAM begins at the next page.
"""


def boot(
    image: KernelImage, types: Callable[[], Types], options: Mapping[str, Any], *, keep: bool = True
) -> Core:
    """A kernel with this image, brought up: from its snapshot, if there is one.

    ``types`` creates its struct layouts. ``options`` are the arguments of Core that affect the result.
    ``keep``: use snapshots, and save one if the image had to be brought up.

    Raises MachineError if the image cannot be brought up, and whatever KernelImage and ``types`` raise.
    """
    kept = image.cache if keep else None
    program = _program() if kept is not None else None
    if kept is None or program is None:
        return _bring_up(image, types(), options)
    about = repr((program, sorted(options.items())))
    name = _PREFIX + hashlib.sha256(about.encode()).hexdigest()
    if (k := load(kept, name, image)) is None:
        k = _bring_up(image, types(), options)
        if _program() == program:
            save(k, kept, name)
    return k


def _bring_up(image: KernelImage, types: Types, options: Mapping[str, Any]) -> Core:
    refuse(image)
    try:
        k = Core(types, image=image, **options)
    except (MachineError, LimitError) as error:  # its data are wrong: a fault, or absurd sizes
        if error.subject:
            raise
        raise MachineError(f"cannot be brought up: {error}", subject=image.path) from error
    assert k.boot is not None
    if 2 * len(k.boot.failed) > len(k.boot.done):
        k.close()
        raise MachineError(f"cannot be brought up: {k.boot.damage}", subject=image.path)
    return k


def _program() -> str | None:
    """A digest of this program, on which snapshots depend; None if it cannot be determined.

    That is so if the sources are not files, or have changed since this process imported them.
    """
    digest = hashlib.sha256()
    try:
        sources = sorted(_sources(os.path.dirname(sys.modules["ukmod"].__file__ or "")))
        for path in sources:
            with open(path, "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_ctime > IMPORTED:
                    return None
                digest.update(f"{os.path.basename(path)}\0".encode() + file.readall())
    except OSError:
        return None
    machine = os.uname().machine if hasattr(os, "uname") else ""
    parts = digest.hexdigest(), sys.version, str(libunicorn.version()), sys.platform, machine
    return "\n".join(parts) if sources else None


def _sources(directory: str) -> Iterator[str]:
    for place, _, names in os.walk(directory):
        yield from (os.path.join(place, name) for name in names if name.endswith(".py"))


# -- the file ---------------------------------------------------------------------------------------------


def save(k: Core, kept: Cache, name: str) -> bool:
    """Save a kernel that has been brought up; False if it cannot be pickled or saved."""
    if not at_rest(k):
        return False
    assert k.image is not None
    k.types.learn(FIRST)
    runs = k.memory.content()
    try:
        written = pickled.dump(k, k.image.image.facts(), [(run.frame, run.size) for run in runs])
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
        return False
    if not kept.prepare() or (mac := kept.mac(name)) is None:
        return False
    done = kept.write(name, _parts(k.memory, written.getbuffer(), mac, runs))
    kept.trim(_PREFIX, KEPT)
    return done


def _parts(
    memory: Memory, state: memoryview, mac: hmac.HMAC, runs: list[Run]
) -> Iterator[bytes | memoryview]:
    start = page_align(_HEAD.size + MAC_SIZE + len(state))
    end = start + sum(run.size for run in runs)
    head = _HEAD.pack(_MAGIC, len(state), end, _checksum(memory, runs))
    mac.update(head)
    mac.update(state)
    yield head
    yield mac.digest()
    yield state
    yield bytes(start - _HEAD.size - MAC_SIZE - len(state))
    for run in runs:
        yield memory.view[run.frame : run.end]


def _checksum(memory: Memory, runs: list[Run]) -> int:
    crc = 0
    for run in runs:
        crc = zlib.crc32(memory.view[run.frame : run.end], crc)
    return crc


def load(kept: Cache, name: str, image: KernelImage) -> Core | None:
    """Restore the kernel of a snapshot; None if there is none, or none that is valid.

    The checksum of its RAM is computed once, and again when the file has changed.
    """
    if (mac := kept.mac(name)) is None or (file := kept.open(name)) is None:
        return None
    with file:
        try:
            about = identity(os.fstat(file.fileno()), time.time_ns())
            is_whole = kept.recall(_WHOLE + name, about) is not None
            k = _load(file, mac, image, check=not is_whole)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the image can be brought up instead
            return None
        if k is not None and not is_whole and about != UNSETTLED:
            with suppress(OSError):
                os.fsync(file.fileno())  # a crash of the host could leave other content under these times
                kept.remember(_WHOLE + name, about)
                kept.trim(_WHOLE, KEPT)
        return k


def _load(file: BufferedReader, mac: hmac.HMAC, image: KernelImage, *, check: bool) -> Core | None:
    """Restore the kernel of an open snapshot; None if it is not valid. ``check``: the RAM as well."""
    head, expected = file.read(_HEAD.size), file.read(MAC_SIZE)
    magic, size, end, crc = _HEAD.unpack(head)
    if magic != _MAGIC or os.fstat(file.fileno()).st_size != end or size > end:
        return None
    state = file.read(size)
    mac.update(head)
    mac.update(state)
    if not hmac.compare_digest(mac.digest(), expected):
        return None
    k, facts, places = _unpickled(state, image)
    image.recall(facts)
    runs = [Run(*place) for place in places]
    k.memory.restore(file, page_align(_HEAD.size + MAC_SIZE + size), runs)
    if check and _checksum(k.memory, runs) != crc:
        k.memory.close()
        return None
    _restart_tasks(k)
    return k


def _unpickled(state: bytes, image: KernelImage) -> tuple[Core, dict[str, object], list[tuple[int, int]]]:
    collects = gc.isenabled()
    gc.disable()  # it would scan all objects repeatedly and find no garbage
    try:
        return pickled.load(state, {"image": image, "programs": Programs()})
    finally:
        if collects:
            gc.enable()


# -- whether the machine is at rest --------------------------------------------------------------------


def at_rest(k: Core) -> bool:
    """True if the machine can be saved.

    Nothing may run or be about to run, and every task that has begun must have a recorded rest.
    """
    sched = k.sched
    idle = sched.current is None and not sched.in_interrupt and not sched.runnable()
    return idle and not k.softirqs.pending() and all(map(_can_restart, k.tasks.all()))


def _can_restart(task: Task) -> bool:
    return not task.started or (task.kthread is not None and task.rest is not None and task.depth <= 1)


def _restart_tasks(k: Core) -> None:
    """Restart each task where it slept, on a new engine."""
    k.cpu.resume()
    k.symbols.bind_again()
    for task in k.tasks.all():
        if task.started and task.rest is not None:
            rest = task.rest
            if task.depth:
                rest = partial(k.cpu.finish_call, rest, task.stack_top)
            task.entry = partial(k.kthreads.finish, rest)
