"""Misuse of kernel memory, found and reported: the subject of mm/kasan/report.c.

A report is a value, kept in ``k.reports``. It is printed to the kernel log too only when ``k.slab.kasan`` is
set: by default the log is that of a kernel without KASAN, as distributions run it, so that the two can be
compared. As with KASAN, the access itself is then let through, and the code goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ukmod.kernel.oops import call_trace, place, task_line
from ukmod.kernel.x86.insn_eval import memory_operand
from ukmod.kernel.x86.unwind import (
    Frame,
    Trace,
    capture,
    frame_of,
    frames_of,
    registers_at_trap,
    walk,
    walk_trap,
)
from ukmod.machine.memory import Fault

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel
    from ukmod.kernel.mm.fence import Object
    from ukmod.machine.registers import Registers

RULE: Final = "=" * 66


@dataclass(frozen=True, slots=True)
class Track:
    """Who allocated, or freed, an object: struct kasan_track."""

    pid: int
    comm: str
    time: int
    """Virtual nanoseconds since boot."""
    frames: tuple[Frame, ...]

    @property
    def module(self) -> str:
        """The module whose code it was; empty for the kernel itself."""
        return next((frame.module for frame in self.frames if frame.module), "")

    @property
    def where(self) -> Frame | None:
        """The innermost frame of a module, or the innermost of all."""
        return next((f for f in self.frames if f.module), self.frames[0] if self.frames else None)


@dataclass(frozen=True, slots=True)
class Report:
    """One misuse of memory. ``kind`` is KASAN's word: "use-after-free", "slab-out-of-bounds", "double-free",
    "invalid-free".
    """

    kind: str
    address: int
    size: int
    """Of the access, in bytes; 0 where it is not known or there was none."""
    write: bool
    rip: Frame
    track: Track
    """Who did it, and when."""
    task: str
    object_address: int = 0
    object_size: int = 0
    cache: str = ""
    allocated: Track | None = None
    freed: Track | None = None

    def lines(self) -> Iterator[str]:
        """The report as KASAN words it."""
        yield RULE
        yield f"BUG: KASAN: {self.kind} in {self.rip}"
        who = f"by task {self.track.comm}/{self.track.pid}"
        if self.kind in ("double-free", "invalid-free"):
            yield f"Free of addr {self.address:016x} {who}"
        else:
            access = "Write" if self.write else "Read"
            size = f" of size {self.size}" if self.size else ""
            yield f"{access}{size} at addr {self.address:016x} {who}"
        yield ""
        yield from self.task.split("\n")
        yield from call_trace(self.track.frames, interrupt=False)
        for verb, track in (("Allocated", self.allocated), ("Freed", self.freed)):
            if track is not None:
                yield ""
                yield f"{verb} by task {track.pid}:"
                yield from (f" {frame.text()}" for frame in track.frames)
        if self.object_address:
            yield ""
            yield from self._object_lines()
        yield RULE

    def _object_lines(self) -> Iterator[str]:
        start, size = self.object_address, self.object_size
        yield f"The buggy address belongs to the object at {start:016x}"
        yield f" which belongs to the cache {self.cache} of size {size}"
        if self.address < start:
            distance, relation = start - self.address, "to the left"
        elif self.address >= start + size:
            distance, relation = self.address - start - size, "to the right"
        else:
            distance, relation = self.address - start, "inside"
        yield f"The buggy address is located {distance} bytes {relation} of"
        yield f" {size}-byte region [{start:016x}, {start + size:016x})"

    def text(self) -> str:
        """The report as dmesg would show it."""
        return "\n".join(self.lines()) + "\n"

    def __str__(self) -> str:
        size = f" of {self.size} bytes" if self.size else ""
        access = (
            ""
            if "free" in self.kind and "use" not in self.kind
            else ("write" if self.write else "read") + size
        )
        text = f"{self.kind}{': ' if access else ''}{access} in {place(self.rip)}"
        if self.object_address:
            text += f", an object of {self.object_size} bytes"
        for verb, track in (("allocated", self.allocated), ("freed", self.freed)):
            if track is not None and track.where is not None:
                text += f", {verb} in {place(track.where)}"
        return text


def track_of(k: Kernel, trace: Trace) -> Track:
    """Name the callers of a trace that was kept."""
    return Track(trace.pid, trace.comm, trace.time, frames_of(k, trace))


def report_access(k: Kernel, address: int, *, write: bool, registers: Registers | None = None) -> bool:
    """Was a page fault at ``address`` the fence of an object? If so, report it and let the access through.

    ``registers`` are those of the guest's instruction; without them a kernel function made the access.
    """
    fence = k.slab.fence
    if (item := fence.object_near(address)) is None or item.slot is None or fence.is_open(address):
        return False
    kind = "use-after-free" if item.freed is not None else "slab-out-of-bounds"
    if item.reported != kind:
        item.reported = kind
        _record(k, kind, address, item, write=write, registers=registers)
    fence.open(item.slot, address)
    return True


def report_bad_free(k: Kernel, address: int) -> None:
    """kfree() of something that is no object in use: it is reported, and nothing else happens."""
    item = k.slab.fence.object_near(address)
    double = item is not None and item.freed is not None and item.address == address
    _record(k, "double-free" if double else "invalid-free", address, item)


def report_damage(k: Kernel, item: Object, address: int) -> None:
    """The bytes around an object that is being freed were written to; by whom is no longer known."""
    if not item.reported:
        item.reported = "slab-out-of-bounds"
        _record(k, "slab-out-of-bounds", address, item, write=True)


def _access(k: Kernel, registers: Registers, address: int) -> tuple[int, int]:
    """Where the access that faulted at ``address`` began, and its size in bytes, or 0.

    They differ where an access begins inside the object and only its end is outside.
    """
    try:
        operand = memory_operand(k.memory.read(registers.rip, 16), registers, gs=k.percpu.base)
    except Fault:
        return address, 0
    if operand is None:
        return address, 0
    start = operand.address
    return (start if start is not None and start <= address < start + operand.size else address), operand.size


def _record(
    k: Kernel,
    kind: str,
    address: int,
    item: Object | None,
    *,
    write: bool = False,
    registers: Registers | None = None,
) -> None:
    trace = capture(k)
    if registers is not None:
        rip, frames = frame_of(k, registers.rip), walk(k, registers)
        address, size = _access(k, registers, address)
    else:
        rip, frames, size = frame_of(k, registers_at_trap(k).rip, call=True), walk_trap(k), 0
    report = Report(
        kind=kind,
        address=address,
        size=size,
        write=write,
        rip=rip,
        track=Track(trace.pid, trace.comm, trace.time, tuple(f for f in frames if f.reliable)),
        task=task_line(k),
        object_address=item.address if item else 0,
        object_size=item.size if item else 0,
        cache=item.cache if item else "",
        allocated=track_of(k, item.allocated) if item else None,
        freed=track_of(k, item.freed) if item and item.freed else None,
    )
    k.reports.append(report)
    if k.slab.kasan:
        for line in report.lines():
            k.printk(line + "\n", 3)
