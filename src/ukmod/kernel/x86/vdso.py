"""The vDSO, the image's code in the address space of each program: arch/x86/entry/vdso.

The image maps it and its data. Clocks of nanoseconds need a system call: no clocksource of the image's can
be read in ring 3. But programs read time(2), and the clocks of whole ticks, from memory, as update_vsyscall()
has left them there. So they are written whenever time passes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_REALTIME, _REALTIME_COARSE = 0, 5
"""Clocks of include/uapi/linux/time.h: indices into ``basetime``.

CLOCK_MONOTONIC_COARSE is behind the second one.
"""
_STAMP: Final = struct.Struct("<QQ")
"""A struct vdso_timestamp: seconds and nanoseconds."""
_MOST_CODE: Final = 1 << 20
"""Bytes: no image's vDSO has more than some pages."""
_CPUNODE: Final = 15 * 8
"""GDT_ENTRY_CPUNODE: getcpu() reads the limit of this segment, which for CPU 0 of node 0 is 0."""
_CPUNODE_DESCRIPTOR: Final = bytes((0, 0, 0, 0, 0, 0xF5, 0, 0))
"""A segment of data that ring 3 may read: setup_getcpu()."""


def let_users_in(k: Core, image: MappedImage) -> None:
    """Keep up to date what user code reads there; a kernel whose layout is unknown maps no vDSO."""
    times = _basetimes(k, image)
    if times is None:
        image.set("vdso64_enabled", 0, 4)
        return
    gdt = k.percpu.base + image.address("gdt_page")
    k.memory.write(gdt + _CPUNODE, _CPUNODE_DESCRIPTOR, force=True)
    _hold_code(k, image)
    k.clock.on_advance = partial(_advance, k, times, k.clock.on_advance)
    _update(k, times)


def _hold_code(k: Core, image: MappedImage) -> None:
    """Give the pages of the vDSO's code their owner's reference, as init_vdso_image() finds them."""
    described = image.get("vdso_image_64") or image.get("vdso64_image")  # on 6.12, and on 7.2
    if described is None:
        return
    data, size = (
        k.memory.u64(described + k.types.offset("vdso_image", member)) for member in ("data", "size")
    )
    for at in range(data, data + min(size, _MOST_CODE), PAGE_SIZE):
        k.pages.hold(k.pages.page(k.memory.translate(at)))


def _basetimes(k: Core, image: MappedImage) -> int | None:
    """The address of the ``basetime`` that stamps of ticks are read from; None if there is none."""
    if (data := image.get("_vdso_data")) is not None and k.types.has("vdso_data", "basetime"):
        return data + k.types.offset("vdso_data", "basetime")
    pointer = image.get("vdso_k_time_data")  # since v6.15
    if pointer is None or not k.types.has("vdso_clock", "basetime"):
        return None
    clocks = k.memory.u64(pointer) + k.types.offset("vdso_time_data", "clock_data")
    return clocks + k.types.offset("vdso_clock", "basetime")


def _advance(k: Core, times: int, before: Callable[[], object]) -> None:
    before()
    _update(k, times)


def _update(k: Core, times: int) -> None:
    """update_vsyscall(), of the clocks that are not read from a counter."""
    now = k.clock.now // k.clock.tick * k.clock.tick
    monotonic, real = (
        _STAMP.pack(*divmod(time, NSEC_PER_SEC)) for time in (now, now + k.timekeeping.real_offset)
    )
    k.memory.write(times + _REALTIME * _STAMP.size, real, force=True)
    k.memory.write(times + _REALTIME_COARSE * _STAMP.size, real + monotonic, force=True)
