"""The kernel log as an image reads it, kernel/printk/printk_ringbuffer.c: the records are Python's.

syslog(2), /proc/kmsg, /dev/kmsg and dumpers of the log are the image's own code, above these functions.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ukmod.kernel.dev_printk import PRINTK_INFO_DEVICE_LEN, PRINTK_INFO_SUBSYSTEM_LEN
from ukmod.kernel.export import export
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.list import list_empty
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE
from ukmod.machine.abi import Bool, Ptr, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.printk import Record

_LOG_CONT = 1 << 3
"""enum log_flags, kernel/printk/internal.h: a KERN_CONT that had nothing to continue."""


def attach(k: Core, image: MappedImage) -> None:
    """Have the image know the log's size, and wake the log's readers."""
    image.set("log_buf_len", k.log.size, 4)
    if (queue := image.get("log_wait")) is not None:
        k.log.on_record.append(partial(_wake_up_klogd, k, queue))


def _wake_up_klogd(k: Core, queue: int, record: Record) -> None:
    """wake_up_klogd(): in an interrupt, since whatever prints may hold the locks of a waiter."""
    del record
    if not list_empty(k.memory, queue + k.waitqueues.queue.head):
        k.clock.at(k.clock.now, partial(k.waitqueues.wake, queue, TASK_INTERRUPTIBLE, 1))


@export()
def prb_read_valid(k: Core, buffer: Ptr, seq: ULong, into: Ptr) -> Bool:
    """bool prb_read_valid(struct printk_ringbuffer *rb, u64 seq, struct printk_record *r)."""
    del buffer
    record = k.log.record_from(seq)
    if record is not None and into:
        layout, memory = Layout(k.types, "printk_record"), k.memory
        if info := memory.u64(into + layout.info):
            _write_info(k, info, record)
        if text := memory.u64(into + layout.text_buf):
            memory.write(text, record.data[: memory.u32(into + layout.text_buf_size)])
    return record is not None


@export()
def prb_read_valid_info(k: Core, buffer: Ptr, seq: ULong, info: Ptr, line_count: Ptr) -> Bool:
    """bool prb_read_valid_info(rb, u64 seq, struct printk_info *info, unsigned int *line_count)."""
    del buffer
    record = k.log.record_from(seq)
    if record is not None:
        if info:
            _write_info(k, info, record)
        if line_count:
            k.memory.set_u32(line_count, record.data.count(b"\n") + 1)
    return record is not None


@export("prb_first_seq", "prb_first_valid_seq")
def prb_first_valid_seq(k: Core) -> ULong:
    """u64 prb_first_valid_seq(struct printk_ringbuffer *rb): 0 if there is no record."""
    record = k.log.record_from(0)
    return record.seq if record is not None else 0


@export("prb_next_seq", "prb_next_reserve_seq")
def prb_next_seq(k: Core) -> ULong:
    """u64 prb_next_seq(struct printk_ringbuffer *rb): the number after that of the latest complete record."""
    return k.log.next_seq


def _write_info(k: Core, at: int, record: Record) -> None:
    """Fill a struct printk_info."""
    layout, memory = Layout(k.types, "printk_info"), k.memory
    memory.write(at, bytes(k.types.sizeof("printk_info")))
    memory.set_u64(at + layout.seq, record.seq)
    memory.set_u64(at + layout.ts_nsec, record.time)
    memory.set_u16(at + layout.text_len, len(record.data))
    memory.set_u8(at + layout.facility, record.facility & 0xFF)
    # Two bit-fields, which have no address of their own, lie behind the facility.
    memory.set_u8(at + layout.facility + 1, record.level << 5 | (_LOG_CONT if record.cont else 0))
    memory.set_u32(at + layout.caller_id, record.pid)
    names = (
        ("dev_info.subsystem", record.subsystem, PRINTK_INFO_SUBSYSTEM_LEN),
        ("dev_info.device", record.device, PRINTK_INFO_DEVICE_LEN),
    )
    for member, name, size in names:
        memory.write(at + layout[member], name.encode("utf-8", "surrogateescape")[: size - 1])
