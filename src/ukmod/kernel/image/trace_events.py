"""The fields that each trace event has: the part of trace_init() that a module's own events need.

kernel/trace/trace_events.c; filters and the file "format" look them up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.list import list_add

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

_COMMON: Final = {
    "type": "unsigned short",
    "flags": "unsigned char",
    "preempt_count": "unsigned char",
    "pid": "int",
}
"""The members of struct trace_entry, with their types in C."""


def define_common_fields(k: Core, image: MappedImage) -> None:
    """trace_define_common_fields(), unless the image has no trace events."""
    head = image.get("ftrace_common_fields")
    if head is None or not k.types.has("ftrace_event_field"):
        return
    for name, declared in _COMMON.items():
        _define_field(k, head, name, declared)


def _define_field(k: Core, head: int, name: str, declared: str) -> None:
    """__trace_define_field(), of a member of struct trace_entry; its filter is that of a number."""
    member = k.types.member("trace_entry", name)
    field = k.slab.kernel_object(k.types.sizeof("ftrace_event_field"))
    texts = {"name": f"common_{name}", "type": declared}
    numbers = {"offset": member.offset, "size": member.size, "is_signed": int(declared == "int")}
    for which, text in texts.items():
        at = k.slab.kernel_object(len(text) + 1)
        k.memory.write(at, text.encode() + b"\0")
        k.memory.set_u64(field + k.types.offset("ftrace_event_field", which), at)
    for which, number in numbers.items():
        k.memory.set_u32(field + k.types.offset("ftrace_event_field", which), number)
    list_add(k.memory, field + k.types.offset("ftrace_event_field", "link"), head)
