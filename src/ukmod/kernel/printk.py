"""The kernel log: kernel/printk/printk.c.

A message is stored as one record, even if it contains newlines. A record that does not end in a newline stays
open: a KERN_CONT message of the same task continues it, any other message closes it. A record is counted, and
visible, once it is closed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from errno import ENODEV
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn
from ukmod.kernel.export import export
from ukmod.kernel.kern_levels import KERN_INFO
from ukmod.kernel.layout import Layout
from ukmod.kernel.lib.cmdline import parse_memory
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.lib.vsprintf import Arguments, vformat
from ukmod.kernel.time.clock import NSEC_PER_SEC, Clock
from ukmod.kernel.time.time import msecs_to_jiffies
from ukmod.machine.abi import Bool, CStr, Int, Ptr, UInt, VaList, VarArgs
from ukmod.machine.registers import MASK64
from ukmod.record import mutable, record, replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

# include/linux/kern_levels.h
LOGLEVEL_DEFAULT: Final = -1
LOGLEVEL_EMERG, LOGLEVEL_ALERT, LOGLEVEL_CRIT, LOGLEVEL_ERR = range(4)
LOGLEVEL_WARNING, LOGLEVEL_NOTICE, LOGLEVEL_INFO, LOGLEVEL_DEBUG = range(4, 8)
KERN_SOH: Final = 1
MESSAGE_LOGLEVEL: Final = LOGLEVEL_WARNING
"""CONFIG_MESSAGE_LOGLEVEL_DEFAULT: the level of a message without one."""
CONSOLE_LOGLEVEL: Final = 7
"""CONFIG_CONSOLE_LOGLEVEL_DEFAULT: less important messages do not reach the console."""
LOG_LINE_MAX: Final = 992
"""The maximum size of a record's text in bytes, plus one: 1024 less the prefix."""
LOG_BUF_LEN: Final = 1 << 17
"""The size of the ring buffer in bytes, CONFIG_LOG_BUF_SHIFT."""
LOG_BUF_LEN_MAX: Final = 1 << 31
_RECORD_COST = 88
"""The bytes of a record in addition to its text: its descriptor and struct printk_info."""
CON_CONSDEV: Final = 2
CON_ENABLED: Final = 4
CON_NBCON: Final = 1 << 8
_REPORT: Final = re.compile(rb"(?:\x01.)?(?P<text>(?:WARNING: |BUG: |\[ BUG: )[^\n]*)")
"""How the reports of lockdep and of other checkers begin."""
_REGISTERED: Final = Site("kernel/printk/printk.c", 3172, "register_console")
CONSOLE_NAME_LEN: Final = 16
"""In bytes, include/linux/console.h."""


@record
class Record:
    """One message: struct printk_info and its text.

    ``time`` is in nanoseconds since boot, ``level`` is 0 (emergency) to 7 (debug); ``pid`` and ``comm``
    identify the task that printed it.
    """

    seq: int
    time: int
    level: int
    data: bytes
    """Its text as it was printed."""
    facility: int = 0
    pid: int = 0
    comm: str = ""
    subsystem: str = ""
    device: str = ""
    """SUBSYSTEM= and DEVICE= of a message from dev_printk()."""
    cont: bool = False
    """True for a KERN_CONT message that found nothing to continue."""

    @property
    def text(self) -> str:
        r"""The text; a byte that is not UTF-8 is shown as ``\xff``."""
        return self.data.decode("utf-8", "backslashreplace")

    @property
    def lines(self) -> list[str]:
        """The text's lines; a message without text is one empty line."""
        return self.text.split("\n")

    def dmesg(self, *, raw: bool = False) -> str:
        """The record as printed by ``dmesg``, or ``dmesg -r`` with the level: a prefix precedes each line."""
        prefix = f"[{stamp(self.time)}] "
        if raw:
            prefix = f"<{self.facility << 3 | self.level}>{prefix}"
        return "\n".join(prefix + line for line in self.lines)


def stamp(time: int) -> str:
    """Nanoseconds as shown in the log: seconds, in at least five places, and microseconds."""
    return f"{time // NSEC_PER_SEC:5d}.{time % NSEC_PER_SEC // 1000:06d}"


@record
class Prefix:
    """The meaning of a message's KERN_ prefix, and the prefix's length in bytes."""

    level: int = LOGLEVEL_DEFAULT
    cont: bool = False
    length: int = 0


def parse_prefix(text: bytes) -> Prefix:
    """printk_parse_prefix(): the first of several levels applies; unknown ones are text."""
    prefix = Prefix()
    while len(text) >= prefix.length + 2 and text[prefix.length] == KERN_SOH:
        kind = text[prefix.length + 1 : prefix.length + 2]
        if kind == b"c":
            prefix = replace(prefix, cont=True, length=prefix.length + 2)
        elif kind in b"01234567":
            level = prefix.level if prefix.level != LOGLEVEL_DEFAULT else int(kind)
            prefix = replace(prefix, level=level, length=prefix.length + 2)
        else:
            break
    return prefix


@record
class Caller:
    """The printing task's pid and name."""

    pid: int = 0
    comm: str = "swapper/0"


CPU_CALLER: Final = 1 << 31
"""printk_caller_id() in an interrupt: the CPU's number and this bit."""


def current_caller(k: Core) -> Caller:
    """The current printer: the current task, or the CPU in an interrupt."""
    task = k.sched.current
    if k.sched.in_interrupt:
        return Caller(CPU_CALLER, k.tasks.comm(k.idle))
    return Caller(task.pid, k.tasks.comm(task)) if task is not None else Caller()


@mutable
class _Open:
    """A record without its newline: struct printk_record between prb_commit() and prb_final_commit()."""

    record: Record
    text: bytes


def log_size(option: str | None) -> int:
    """The bytes of the ring buffer with ``log_buf_len=``: a power of two, not less than without it."""
    wanted = min(parse_memory((option or "").encode())[0], LOG_BUF_LEN_MAX)
    return max(1 << (wanted - 1).bit_length() if wanted else 0, LOG_BUF_LEN)


class Log:
    """The ring buffer of ``size`` bytes, which drops the oldest records, and its listeners."""

    def __init__(self, clock: Clock, size: int = LOG_BUF_LEN) -> None:
        self._clock = clock
        self.size = size
        self._used = 0
        self._seq = 0
        self._records: deque[Record] = deque()
        self._open: _Open | None = None
        self.dropped = 0
        """The number of records dropped from the ring buffer."""
        self.caller: Callable[[], Caller] = Caller
        """Returns the task that prints."""
        self.on_record: list[Callable[[Record], None]] = []
        """Called with each record when it is complete."""
        self.console_loglevel = CONSOLE_LOGLEVEL
        self.consoles: list[int] = []
        """The addresses of the struct consoles that are registered and enabled."""

    # -- writing --------------------------------------------------------------------------------------

    def printk(self, text: str, level: int = MESSAGE_LOGLEVEL) -> None:
        """Print ``text`` at ``level``: a line or, without a final newline, a part of one."""
        self.store(text.encode("utf-8", "surrogateescape"), level)

    def store(
        self,
        text: bytes,
        level: int = LOGLEVEL_DEFAULT,
        *,
        facility: int = 0,
        subsystem: str = "",
        device: str = "",
    ) -> int:
        """vprintk_store(): store a message according to its KERN_ prefix; returns the bytes stored."""
        prefix = parse_prefix(text) if not facility else Prefix()
        level = prefix.level if level == LOGLEVEL_DEFAULT else level
        level = MESSAGE_LOGLEVEL if level == LOGLEVEL_DEFAULT else level & 7
        body = text[: LOG_LINE_MAX - 1]
        ended = body.endswith(b"\n")
        body = body[prefix.length :].removesuffix(b"\n")
        ended = ended or bool(device)
        caller = self.caller()
        size = min(len(text) + 1, LOG_LINE_MAX)
        if not (prefix.cont and self._continue(body, size, caller)):
            self.flush()
            who = facility, caller.pid, caller.comm, subsystem, device
            record = Record(self._seq, self._clock.now, level, b"", *who, prefix.cont)
            self._seq += 1
            self._open = _Open(record, body)
        if ended:
            self.flush()
        return len(body)

    def _continue(self, text: bytes, size: int, caller: Caller) -> bool:
        """prb_reserve_in_last(): ``size`` is that of the whole message with prefix and newline."""
        last = self._open
        if last is None or last.record.pid != caller.pid or len(last.text) + size > LOG_LINE_MAX:
            return False
        last.text += text
        return True

    def flush(self) -> None:
        """Close the record that waits for its newline, if there is one."""
        if (record := self.unfinished) is not None:
            self._open = None
            self._append(record)

    def _append(self, record: Record) -> None:
        self._records.append(record)
        self._used += _RECORD_COST + len(record.data)
        while self._used > self.size and len(self._records) > 1:
            self._used -= _RECORD_COST + len(self._records.popleft().data)
            self.dropped += 1
        for listener in self.on_record:
            listener(record)

    # -- reading --------------------------------------------------------------------------------------

    @property
    def records(self) -> tuple[Record, ...]:
        """The complete records that have not been dropped, oldest first."""
        return tuple(self._records)

    @property
    def unfinished(self) -> Record | None:
        """The record that waits for its newline, or None; the kernel's own buffer hides it from readers."""
        if (last := self._open) is None:
            return None
        return replace(last.record, data=last.text)

    @property
    def lines(self) -> list[str]:
        """The text of all records, line by line."""
        return [line for record in self._records for line in record.lines]

    @property
    def next_seq(self) -> int:
        """The number that follows that of the latest complete record."""
        return self._seq if self._open is None else self._open.record.seq

    def record_from(self, seq: int) -> Record | None:
        """The complete record of number ``seq``, or else the first later one; None if there is neither."""
        records = self._records  # their numbers have no gap
        index = max(seq - records[0].seq, 0) if records else 0
        return records[index] if index < len(records) else None

    def clear(self) -> None:
        """``dmesg -C``."""
        self._records.clear()
        self._used = 0

    def dmesg(self, *, raw: bool = False) -> str:
        """The log as printed by ``dmesg`` or ``dmesg -r``, including a last line without a newline."""
        last = self.unfinished
        records = self._records if last is None else (*self._records, last)
        return "".join(record.dmesg(raw=raw) + "\n" for record in records)


def vprintk_emit(k: Core, level: int, fmt: bytes, args: Arguments, *, facility: int = 0) -> int:
    """Format and store a message; returns the bytes stored.

    If it begins a report of one of an image's own checkers, the report is kept among the warnings, too.
    """
    text = vformat(k, fmt, args)
    if k.image is not None and (begin := _REPORT.match(text)) is not None and k.lockdep.reports():
        k.crash.checker_report(begin["text"].decode("utf-8", "replace"))
    return k.log.store(text, level, facility=facility)


@export("_printk", "printk", "_printk_deferred", "printk_deferred")
def printk(k: Core, fmt: CStr, args: VarArgs) -> Int:
    """``int _printk(const char *fmt, ...)``: returns the bytes printed."""
    return vprintk_emit(k, LOGLEVEL_DEFAULT, fmt, args)


@export()
def vprintk(k: Core, fmt: CStr, args: Ptr) -> Int:
    """``int vprintk(const char *fmt, va_list args)``."""
    return vprintk_emit(k, LOGLEVEL_DEFAULT, fmt, VaList(k.memory, args))


@export("vprintk_default", gpl=True)
def vprintk_default(k: Core, fmt: CStr, args: Ptr) -> Int:
    """``int vprintk_default(const char *fmt, va_list args)``."""
    return vprintk_emit(k, LOGLEVEL_DEFAULT, fmt, VaList(k.memory, args))


@export("vprintk_emit")
def vprintk_emit_export(k: Core, facility: Int, level: Int, dev_info: Ptr, fmt: CStr, args: Ptr) -> Int:
    """``int vprintk_emit(int, int, const struct dev_printk_info *, const char *fmt, va_list args)``."""
    text = vformat(k, fmt, VaList(k.memory, args))
    if not dev_info:
        return k.log.store(text, level, facility=facility)
    subsystem, device = (
        k.memory.cstring(dev_info + k.types.offset("dev_printk_info", name)).decode("utf-8", "replace")
        for name in ("subsystem", "device")
    )
    return k.log.store(text, level, facility=facility, subsystem=subsystem, device=device or "-")


# -- the rest of the interface ----------------------------------------------------------------------------


@export()
def printk_timed_ratelimit(k: Core, last: Ptr, interval: UInt) -> Bool:
    """``bool printk_timed_ratelimit(unsigned long *caller_jiffies, unsigned int interval_msec)``."""
    elapsed = k.clock.jiffies - k.memory.u64(last) & MASK64
    if k.memory.u64(last) and elapsed <= msecs_to_jiffies(k.clock.hz, interval):
        return False
    k.memory.set_u64(last, k.clock.jiffies)
    return True


@export("console_lock", "console_unlock", image_first=True)
@export("console_conditional_schedule")
def console_lock(k: Core) -> None:
    """``void console_lock(void)``: no lock needed, as no console is written to asynchronously."""
    del k


@export(image_first=True)
def console_trylock(k: Core) -> Int:
    """``int console_trylock(void)``: always succeeds."""
    del k
    return 1


@export(image_first=True)
def console_verbose(k: Core) -> None:
    """``void console_verbose(void)``: let every message reach the console, unless none may."""
    if k.log.console_loglevel:
        k.log.console_loglevel = 15


@export()
def register_console(k: Core, console: Ptr) -> None:
    """``void register_console(struct console *)``: enables it if CON_ENABLED is set.

    No messages are sent to it, since users of the kernel read its log. The command line names no console.
    """
    if not k.types.has("console", "flags"):
        return
    if console in k.log.consoles:
        warn(k, _REGISTERED, f"console '{_console_name(k, console)}' already registered\n")
    elif k.memory.u16(console + k.types.offset("console", "flags")) & CON_ENABLED:
        k.log.consoles.append(console)
        _announce_console(k, console, "enabled")


@export()
def console_device(k: Core, index: Ptr) -> Ptr:
    """``struct tty_driver *console_device(int *index)``: that of /dev/console; NULL without one."""
    for console in k.log.consoles:
        device = k.memory.u64(console + k.types.offset("console", "device"))
        if device and (driver := k.cpu.call(device, console, index)):
            return driver
    return 0


@export()
def unregister_console(k: Core, console: Ptr) -> Int:
    """``int unregister_console(struct console *)``: 0, or -ENODEV if it is not registered."""
    if not k.types.has("console", "flags"):
        return 0
    _announce_console(k, console, "disabled")
    flags = console + k.types.offset("console", "flags")
    k.memory.set_u16(flags, k.memory.u16(flags) & ~CON_ENABLED)
    if console not in k.log.consoles:
        return -ENODEV
    k.log.consoles.remove(console)
    return 0


def _console_name(k: Core, console: int) -> str:
    name = k.memory.read(console + k.types.offset("console", "name"), CONSOLE_NAME_LEN).split(b"\0")[0]
    index = signed(k.memory.u16(console + k.types.offset("console", "index")), 2)
    return f"{name.decode('latin-1')}{index}"


def _announce_console(k: Core, console: int, what: str) -> None:
    """con_printk(): a kernel that knows consoles with threads of their own calls others legacy (v6.7)."""
    layout = Layout(k.types, "console")
    legacy = layout.has("nbcon_state") and not k.memory.u16(console + layout.flags) & CON_NBCON
    k.printk(f"printk: {'legacy ' * legacy}console [{_console_name(k, console)}] {what}\n", level=KERN_INFO)
