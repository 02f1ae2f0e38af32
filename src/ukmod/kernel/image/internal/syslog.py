"""syslog(2) and /proc/kmsg: the image's log is empty, because printk is Python's."""

from __future__ import annotations

from collections.abc import Iterable
from errno import EFAULT, EINVAL, EPERM
from typing import TYPE_CHECKING, Final

from ukmod.kernel.cred import CAP_SYS_ADMIN, CAP_SYSLOG
from ukmod.kernel.export import export
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.mm.uaccess import access_ok
from ukmod.kernel.printk import CONSOLE_LOGLEVEL, Record
from ukmod.kernel.sched.core import ERESTARTSYS, TASK_INTERRUPTIBLE
from ukmod.kernel.sched.waiters import Waiters
from ukmod.machine.abi import Int, Ptr
from ukmod.machine.memory import Fault

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

(CLOSE, OPEN, READ, READ_ALL, READ_CLEAR, CLEAR, CONSOLE_OFF, CONSOLE_ON, CONSOLE_LEVEL, SIZE_UNREAD,
 SIZE_BUFFER) = range(11)  # fmt: skip
"""SYSLOG_ACTION_, include/linux/syslog.h"""
_FROM_PROC: Final = 1
_MINIMUM_LOGLEVEL, _HIGHEST_LOGLEVEL = 1, 8


class LogReader:
    """The positions of a log's readers: what was read, and what was cleared."""

    def __init__(self, k: Core) -> None:
        self._k = k
        self._waiters = Waiters(k)
        self.cleared = 0
        """The number of the first record that was not cleared."""
        self._next = 0
        self._rest = b""
        """The part of a record that did not fit into a reader's buffer."""
        k.log.on_record.append(lambda _: self._waiters.wake_all())

    def read(self, size: int) -> bytes | int:
        """syslog_print(): sleep until there is something to be read; returns whole records, or a part of one.

        A negative errno if a signal came.
        """
        if self._waiters.wait_event(lambda: bool(self.unread()), TASK_INTERRUPTIBLE) < 0:
            return -ERESTARTSYS
        data, self._rest = self._rest, b""
        for record in self._k.log.since(self._next):
            text = _text([record])
            if data and len(data) + len(text) > size:
                break
            data += text
            self._next = record.seq + 1
        self._rest = data[size:]
        return data[:size]

    def unread(self) -> int:
        """The number of bytes that were not read."""
        return len(self._rest) + len(_text(self._k.log.since(self._next)))

    def unread_records(self) -> int:
        """The number of records that were not read as a whole."""
        return bool(self._rest) + sum(1 for _ in self._k.log.since(self._next))

    def last(self, size: int) -> bytes:
        """syslog_print_all(): the latest records that were not cleared, as many as fit into ``size``."""
        records = list(self._k.log.since(self.cleared))
        sizes = {record.seq: len(_text([record])) for record in records}
        total = sum(sizes.values())
        while total > size:
            total -= sizes[records.pop(0).seq]
        return _text(records)

    def clear(self) -> None:
        """syslog_clear()."""
        self.cleared = max((record.seq + 1 for record in self._k.log.records), default=self.cleared)


def _text(records: Iterable[Record]) -> bytes:
    return "".join(f"{record.dmesg(raw=True)}\n" for record in records).encode("utf-8", "surrogateescape")


@export()
def do_syslog(k: Core, action: Int, buffer: Ptr, size: Int, source: Int) -> Int:
    """int do_syslog(int type, char __user *buf, int len, int source)."""
    if error := _refused(k, action, source):
        return error
    reader = k.log.reader = k.log.reader or LogReader(k)
    if action in (READ, READ_ALL, READ_CLEAR):
        if not buffer or size < 0:
            return -EINVAL
        if not access_ok(buffer, size):
            return -EFAULT
        return _read(k, reader, action, buffer, size) if size else 0
    if action == CLEAR:
        reader.clear()
    elif action == SIZE_UNREAD:
        return reader.unread_records() if source == _FROM_PROC else reader.unread()
    elif action == SIZE_BUFFER:
        return k.log.size
    elif action == CONSOLE_LEVEL and 1 <= size <= _HIGHEST_LOGLEVEL:
        k.log.console_loglevel = size
    elif action in (CONSOLE_OFF, CONSOLE_ON):
        k.log.console_loglevel = _MINIMUM_LOGLEVEL if action == CONSOLE_OFF else CONSOLE_LOGLEVEL
    elif action not in (CLOSE, OPEN):
        return -EINVAL
    return 0


def _read(k: Core, reader: LogReader, action: int, buffer: int, size: int) -> int:
    """Copy records to a user's buffer; the number of bytes, or a negative errno."""
    found = reader.read(size) if action == READ else reader.last(size)
    if isinstance(found, int):
        return found
    try:
        k.memory.write(buffer, found)
    except Fault:
        return -EFAULT
    if action == READ_CLEAR:
        reader.clear()
    return len(found)


def _refused(k: Core, action: int, source: int) -> int:
    """check_syslog_permissions(): 0 or a negative errno."""
    image = k.image
    if image is None or (source == _FROM_PROC and action != OPEN):
        return 0
    restrict = image.get("dmesg_restrict")
    is_open_to_all = action in (READ_ALL, SIZE_BUFFER) and not (restrict and k.memory.u32(restrict))
    if is_open_to_all or k.creds.capable(CAP_SYSLOG) or k.creds.capable(CAP_SYS_ADMIN):
        return signed(k.cpu.call(image.address("security_syslog"), action), 4)
    return -EPERM
