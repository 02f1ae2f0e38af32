"""Dangling references: everything that an unloaded module leaves behind for the kernel to use.

A module must cancel, unregister or wait for everything that can call it, before its exit function returns.
Otherwise the kernel calls into freed memory: perhaps an hour later, or when somebody unplugs a device. So
this is found out when the module's memory is about to be freed: functions that the kernel would call
(pending.py), and pointers that it would follow (pointers.py). Nothing is executed for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.mm import kasan
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.main import Module
    from ukmod.kernel.x86.unwind import Frame


@record
class Dangling:
    """Something by which the kernel still reaches an unloaded module."""

    kind: str
    """A kind of pending call ("timer", "delayed work", "RCU callback", ...), or "pointer"."""
    module: str
    """The unloaded module."""
    target: str
    """The object of a call, or what a pointer points to: a variable, or what is known of an object."""
    function: Frame | None = None
    """The function that would be called, if it is known."""
    place: str = ""
    """For a pointer, the memory that contains it."""
    due: int | None = None
    """When it would be called, in virtual nanoseconds since boot; None if that is not a matter of time."""
    at: int = 0
    """The address of a pointer; 0 for a call."""
    value: int = 0
    """The pointer."""

    def __str__(self) -> str:
        text = f"{self.kind} {self.target}"
        if self.place:
            text += f" {self.place}"
        if self.due is not None:
            text += f", due at {self.due / NSEC_PER_SEC:.6f} s"
        if self.function is not None:
            text += f": {self.function.place()}"
        return text


def owns(k: Core, module: Module, address: int) -> bool:
    """True if an address is in a module's memory, its per-CPU variables included."""
    layout = module.layout
    return layout.contains(address) or 0 <= address - k.percpu.base - layout.percpu < layout.percpu_size


def variable_at(k: Core, address: int) -> str:
    """The variable of the kernel or of a module that contains an address; empty if there is none."""
    if found := k.kallsyms.lookup(address):
        name = f"{found.name}+{found.offset:#x}" if found.offset else found.name
        return f"{name} [{found.module}]" if found.module else name
    return k.percpu.name_at(address)


def memory_at(k: Core, address: int) -> str:
    """The variable that contains an address, or the object, with the place where it was allocated."""
    if variable := variable_at(k, address):
        return variable
    item = k.slab.fence.object_near(address)
    if item is None:
        return f"memory at {address:#x}"
    frame = kasan.track_of(k, item.allocated).where
    if frame is None:
        return f"an object of {item.cache}"
    return f"an object of {item.cache} from {frame.place()}"
