"""Detecting and reporting misuse of kernel memory: mm/kasan/report.c.

A report is a value in ``k.reports``. It is also printed to the kernel log only if ``k.slab.kasan`` is set,
as it is with an image that was built with KASAN. Otherwise the log is that of a kernel without it, like
those of distributions, so that the two can be compared. As with KASAN, the access then succeeds and the code
continues.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.boot_parameters import boot_parameters
from ukmod.kernel.limits import MAX_REPORTS
from ukmod.kernel.mm.kasan_checks import kind_of, place_lines, shadow_lines
from ukmod.kernel.oops import call_trace, task_line
from ukmod.kernel.x86.insn_eval import memory_operand
from ukmod.kernel.x86.unwind import (
    CallTrace,
    Frame,
    StackTrace,
    capture,
    frame_of,
    frames_of,
    registers_at_trap,
    walk,
    walk_trap,
)
from ukmod.machine.memory import Fault
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.mm.fence import Object
    from ukmod.kernel.x86.dumpstack import UserRegisters
    from ukmod.machine.registers import Registers

RULE: Final = "=" * 66


@record
class Track:
    """The task and call trace that allocated or freed an object: struct kasan_track."""

    pid: int
    comm: str
    time: int
    """Virtual nanoseconds since boot."""
    frames: tuple[Frame, ...]
    user: UserRegisters | None = None
    """The registers with which user code entered the kernel, of a misuse."""

    @property
    def module(self) -> str:
        """The module whose code it was; empty for the kernel itself."""
        return next((frame.module for frame in self.frames if frame.module), "")

    @property
    def where(self) -> Frame | None:
        """The innermost frame within a module, or else the innermost frame of all."""
        return next((f for f in self.frames if f.module), self.frames[0] if self.frames else None)


@record
class Report:
    """One misuse of memory.

    ``kind`` is KASAN's term: "use-after-free", "slab-out-of-bounds", "double-free" or "invalid-free".
    """

    kind: str
    address: int
    size: int
    """The size of the access in bytes; 0 if it is not known or there was no access."""
    write: bool
    rip: Frame
    track: Track
    """The task, call trace and time of the misuse."""
    task: str
    object_address: int = 0
    object_size: int = 0
    cache: str = ""
    allocated: Track | None = None
    freed: Track | None = None
    room: int = 0
    """The size of the objects of its cache; 0 if it is that of the object."""
    around: tuple[str, ...] = ()
    """The lines about the address that a kernel with KASAN has."""

    def lines(self) -> Iterator[str]:
        """The lines of the report, worded as KASAN does."""
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
        yield from call_trace(CallTrace(self.track.frames, self.track.user), interrupt=False)
        for verb, track in (("Allocated", self.allocated), ("Freed", self.freed)):
            if track is not None:
                yield ""
                yield f"{verb} by task {track.pid}:"
                yield from (f" {frame.text()}" for frame in track.frames)
        if self.object_address:
            yield ""
            yield from self._object_lines()
        yield from self.around
        yield RULE

    def _object_lines(self) -> Iterator[str]:
        start, size = self.object_address, self.room or self.object_size
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
        """The report as dmesg shows it."""
        return "\n".join(self.lines()) + "\n"

    def __str__(self) -> str:
        size = f" of {self.size} bytes" if self.size else ""
        access = (
            ""
            if "free" in self.kind and "use" not in self.kind
            else ("write" if self.write else "read") + size
        )
        text = f"{self.kind}{': ' if access else ''}{access} in {self.rip.place()}"
        if self.object_address:
            text += f", an object of {self.object_size} bytes"
        for verb, track in (("allocated", self.allocated), ("freed", self.freed)):
            if track is not None and track.where is not None:
                text += f", {verb} in {track.where.place()}"
        return text


def track_of(k: Core, trace: StackTrace) -> Track:
    """Resolve the callers of a captured trace."""
    return Track(trace.pid, trace.comm, trace.time, frames_of(k, trace))


def report_access(k: Core, address: int, *, write: bool, registers: Registers | None = None) -> bool:
    """If ``address``, which faulted, is in an object's fence, report it, allow the access and return True.

    ``registers`` are those at the guest's instruction; None if a kernel function in Python made the access.
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


def report_check(k: Core, address: int, size: int, *, write: bool, ip: int) -> bool:
    """Report an access that the checks of an image with KASAN do not allow; False if it is known already."""
    shadow = k.shadow
    assert shadow is not None
    kind = kind_of(shadow, address, size)
    item = k.slab.fence.object_near(address)
    if (kind, ip) in shadow.reported or (item is not None and item.reported == kind):
        return False
    shadow.reported.add((kind, ip))
    if item is not None:
        item.reported = kind
    _keep(k, kind, address, item, size, frame_of(k, ip), walk_trap(k), write=write)
    return True


def report_bad_free(k: Core, address: int) -> None:
    """Report a kfree() of an address that is no object in use; nothing else happens."""
    item = k.slab.fence.object_near(address)
    double = item is not None and item.freed is not None and item.address == address
    _record(k, "double-free" if double else "invalid-free", address, item)


def check_byte(k: Core, address: int) -> bool:
    """kasan_check_byte(): False, with a report, if ``address`` is in an object that has been freed."""
    item = k.slab.fence.object_near(address)
    if item is None or item.freed is None:
        return True
    _record(k, "use-after-free", address, item)
    return False


def report_damage(k: Core, item: Object, address: int) -> None:
    """Report overwritten bytes around an object that is being freed; the culprit is no longer known."""
    if not item.reported:
        item.reported = "slab-out-of-bounds"
        _record(k, "slab-out-of-bounds", address, item, write=True)


def _access(k: Core, registers: Registers, address: int) -> tuple[int, int]:
    """The start of the access that faulted at ``address``, and its size in bytes, or 0.

    The start differs from ``address`` if the access begins inside the object and only its end is outside.
    """
    try:
        operand = memory_operand(k.memory.read(registers.rip, 16), registers, gs=k.percpu.gs)
    except Fault:
        return address, 0
    if operand is None:
        return address, 0
    start = operand.address
    return (start if start is not None and start <= address < start + operand.size else address), operand.size


def _record(
    k: Core,
    kind: str,
    address: int,
    item: Object | None,
    *,
    write: bool = False,
    registers: Registers | None = None,
) -> None:
    if registers is not None:
        rip, calls = frame_of(k, registers.rip), walk(k, registers)
        address, size = _access(k, registers, address)
    else:
        rip, calls, size = frame_of(k, registers_at_trap(k).rip, call=True), walk_trap(k), 0
    _keep(k, kind, address, item, size, rip, calls, write=write)


def _keep(
    k: Core, kind: str, address: int, item: Object | None, size: int, rip: Frame,
    calls: CallTrace,
    *, write: bool,
) -> None:  # fmt: skip
    """Keep a report, and log it if it is to be logged."""
    trace = capture(k)
    certain = tuple(frame for frame in calls.frames if frame.reliable)
    report = Report(
        kind=kind,
        address=address,
        size=size,
        write=write,
        rip=rip,
        track=Track(trace.pid, trace.comm, trace.time, certain, calls.user),
        task=task_line(k),
        object_address=item.address if item else 0,
        object_size=item.size if item else 0,
        cache=item.cache if item else "",
        allocated=track_of(k, item.allocated) if item else None,
        freed=track_of(k, item.freed) if item and item.freed else None,
        room=k.slab.room(item) if item else 0,
        around=_around(k, address, size, item),
    )
    if len(k.reports) < MAX_REPORTS:
        k.reports.append(report)
    if k.slab.kasan:
        _log(k, report)


def _around(k: Core, address: int, size: int, item: Object | None) -> tuple[str, ...]:
    """The lines that print_address_description() and print_memory_metadata() have about an address."""
    if (shadow := k.shadow) is None:
        return ()
    place = () if item is not None else place_lines(k, address)
    return ("", *place, *shadow_lines(shadow, shadow.first_bad(address, size)))


def _log(k: Core, report: Report) -> None:
    for line in report.lines():
        k.printk(line + "\n", 3)
    if k.shadow is not None:  # end_report(); without kasan_multi_shot, the first report is the only one
        k.crash.bad_page_taint()
        k.slab.kasan = "kasan_multi_shot" in boot_parameters(k.cmdline)
