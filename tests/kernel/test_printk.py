"""The kernel log: levels, continued lines, the ring buffer. tests/golden has the rest (printk_levels)."""

from __future__ import annotations

from collections.abc import Iterator
from errno import ENODEV
from typing import ClassVar

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.structs import kernel_with, layouts_with

from ukmod.kernel.core import Core
from ukmod.kernel.printk import LOG_LINE_MAX, Caller, Log, Record, log_size, parse_prefix
from ukmod.kernel.time.clock import Clock

SOH = b"\x01"


@pytest.fixture
def log() -> Log:
    return Log(Clock())


@pytest.mark.parametrize(
    ("text", "level", "cont", "length"),
    [
        (b"plain", -1, False, 0),
        (SOH + b"3error", 3, False, 2),
        (SOH + b"c more", -1, True, 2),
        (SOH + b"4" + SOH + b"6two", 4, False, 4),
        (SOH + b"9what", -1, False, 0),
        (SOH, -1, False, 0),
    ],
)
def test_a_prefix_is_levels_and_a_mark_of_continuation(
    text: bytes, level: int, cont: bool, length: int
) -> None:
    prefix = parse_prefix(text)
    assert (prefix.level, prefix.cont, prefix.length) == (level, cont, length)


def test_a_message_without_a_newline_waits_for_the_next(log: Log) -> None:
    log.printk("first")
    assert log.lines == []
    log.printk("second\n")
    assert log.lines == ["first", "second"]


def test_a_continuation_by_another_task_begins_a_line(log: Log) -> None:
    log.store(SOH + b"6begun")
    log.caller = lambda: Caller(7, "other")
    log.store(SOH + b"c not mine\n")
    assert [(record.level, record.text, record.pid) for record in log.records] == [
        (6, "begun", 0),
        (4, " not mine", 7),
    ]


def test_a_continuation_keeps_the_level_and_time_of_its_line(log: Log) -> None:
    log.store(SOH + b"3one")
    log.store(SOH + b"c two\n")
    assert [(record.level, record.text) for record in log.records] == [(3, "one two")]


def test_two_lines_in_one_message_are_one_record(log: Log) -> None:
    log.printk("two\nlines\n", 6)
    assert log.dmesg(raw=True) == "<6>[    0.000000] two\n<6>[    0.000000] lines\n"


def test_a_long_message_is_cut(log: Log) -> None:
    log.printk("x" * 2000 + "\n")
    log.printk("next\n")
    assert len(log.records[0].text) == LOG_LINE_MAX - 1


def test_the_oldest_records_make_room() -> None:
    log = Log(Clock(), size=1000)
    for n in range(50):
        log.printk(f"line {n}\n")
    assert log.lines[-1] == "line 49"
    assert log.dropped == 50 - len(log.records) > 0
    assert log.records[0].seq == log.dropped


@pytest.mark.parametrize(
    ("option", "size"),
    [(None, 1 << 17), ("", 1 << 17), ("64K", 1 << 17), ("1M", 1 << 20), ("200000", 1 << 18), ("4G", 1 << 31)],
)
def test_a_parameter_makes_the_ring_buffer_larger(option: str | None, size: int) -> None:
    """log_buf_len=, rounded up to a power of two."""
    assert log_size(option) == size
    assert log_size("x") == log_size("-1") == log_size(None)


def test_a_machine_has_the_ring_buffer_of_its_command_line() -> None:
    with Core(layouts_with(), cmdline="log_buf_len=1M") as kernel:
        for n in range(5000):
            kernel.printk(f"line {n}\n")
        assert kernel.log.dropped == 0


def test_listeners_hear_of_complete_lines_alone(log: Log) -> None:
    heard: list[Record] = []
    log.on_record.append(heard.append)
    log.printk("half")
    assert not heard
    assert log.dmesg().endswith("] half\n")
    log.printk("\1c and half\n")
    assert [record.text for record in heard] == ["half and half"]
    log.printk("rest")
    log.flush()
    assert heard[-1].text == "rest"


def test_bytes_that_are_no_utf8_are_shown_as_escapes(log: Log) -> None:
    log.store(b"caf\xc3\xa9 \xff\n")
    assert log.lines == ["café \\xff"]


def test_printk_from_a_module_names_its_task(guest: Guest, kernel: Core) -> None:
    assert guest.call_int("_printk", SOH + b"5answer %d\n", 42) == 9
    record = kernel.log.records[-1]
    assert (record.level, record.text, record.comm) == (5, "answer 42", "test")


@pytest.mark.parametrize("function", ["_printk", "printk", "_printk_deferred", "printk_deferred"])
def test_each_name_of_printk_stores_the_message(guest: Guest, kernel: Core, function: str) -> None:
    assert guest.call_int(function, SOH + b"2%s\n", b"name") == 4
    assert [(record.level, record.text) for record in kernel.log.records] == [(2, "name")]


def test_a_message_is_let_through_when_more_than_the_interval_has_passed(guest: Guest, kernel: Core) -> None:
    """printk_timed_ratelimit(): its interval is rounded up to jiffies; the first message always passes."""
    last = guest.words(0)
    tick = 1 / kernel.clock.hz
    interval = int(1500 * tick)
    assert guest.call("printk_timed_ratelimit", last, interval) == 1
    kernel.run(2 * tick)
    assert guest.call("printk_timed_ratelimit", last, interval) == 0
    kernel.run(tick)
    assert guest.call("printk_timed_ratelimit", last, interval) == 1
    assert kernel.memory.u64(last) == kernel.clock.jiffies
    kernel.memory.set_u64(last, kernel.clock.jiffies + 1)
    assert guest.call("printk_timed_ratelimit", last, interval) == 1, "a time to come is long ago"


@pytest.mark.parametrize(("before", "after"), [(4, 15), (0, 0)])
def test_a_verbose_console_shows_all_unless_it_is_silent(
    guest: Guest, kernel: Core, before: int, after: int
) -> None:
    kernel.log.console_loglevel = before
    guest.call("console_verbose")
    assert kernel.log.console_loglevel == after


def test_the_console_can_always_be_locked(guest: Guest, kernel: Core) -> None:
    guest.call("console_lock")
    assert guest.call_int("console_trylock") == 1
    guest.call("console_unlock")
    guest.call("console_conditional_schedule")
    assert guest.call_int("_printk", b"within\n") == 6


@pytest.mark.parametrize("function", ["vprintk", "vprintk_default"])
def test_a_message_may_have_its_arguments_in_a_va_list(guest: Guest, kernel: Core, function: str) -> None:
    stored = guest.call_int(function, b"\x013%s: %d left\n", guest.va_list(b"disk", -2))
    assert stored == len("disk: -2 left"), "without the prefix and the newline"
    assert [(record.level, record.text) for record in kernel.log.records] == [(3, "disk: -2 left")]


def test_a_message_of_the_kernels_facility_may_have_a_level_of_its_own(guest: Guest, kernel: Core) -> None:
    """vprintk_emit(): the level that is passed is stronger than the prefix; -1 is none."""
    for level in (2, -1):
        guest.call("vprintk_emit", 0, level, 0, b"\x015%d\n", guest.va_list(level))
    assert [(record.level, record.text) for record in kernel.log.records] == [(2, "2"), (5, "-1")]


def test_a_message_of_another_facility_has_no_prefix(guest: Guest, kernel: Core) -> None:
    guest.call("vprintk_emit", 3, 6, 0, b"\x015%s\n", guest.va_list(b"text"))
    record = kernel.log.records[-1]
    assert (record.facility, record.level, record.text) == (3, 6, "\x015text")


def test_a_message_about_a_device_is_a_record_of_its_own(guest: Guest, kernel: Core) -> None:
    info = guest.put(b"pci".ljust(16, b"\0") + b"+pci:eth0".ljust(48, b"\0"))
    for n in range(2):
        guest.call("vprintk_emit", 0, 6, info, b"%d", guest.va_list(n))
    assert [(record.text, record.subsystem, record.device) for record in kernel.log.records] == [
        (text, "pci", "+pci:eth0") for text in ("0", "1")
    ]


class TestConsoles:
    """register_console() and its opposite, as struct console is until v6.6."""

    CONSOLE: ClassVar = {"name": 16, "operations": 56, "flags": 2, "index": 2}
    ENABLED = 1 << 2

    @pytest.fixture
    def kernel(self) -> Iterator[Core]:
        with kernel_with(console=self.CONSOLE) as k:
            yield k

    def console(self, guest: Guest, flags: int) -> int:
        return guest.put(b"foo".ljust(72, b"\0") + flags.to_bytes(2, "little") + b"\2\0")

    def test_an_enabled_console_is_announced_until_it_is_unregistered(
        self, guest: Guest, kernel: Core
    ) -> None:
        console = self.console(guest, self.ENABLED | 1)
        guest.call("register_console", console)
        assert guest.call_int("unregister_console", console) == 0
        assert kernel.log.lines == ["printk: console [foo2] enabled", "printk: console [foo2] disabled"]
        assert kernel.memory.u16(console + 72) == 1, "CON_ENABLED is clear"

    def test_a_console_that_is_not_enabled_waits_for_the_command_line(
        self, guest: Guest, kernel: Core
    ) -> None:
        console = self.console(guest, 0)
        guest.call("register_console", console)
        assert kernel.log.lines == []
        assert guest.call_int("unregister_console", console) == -ENODEV

    def test_registering_a_console_twice_is_warned_of(self, guest: Guest, kernel: Core) -> None:
        console = self.console(guest, self.ENABLED)
        for _ in range(2):
            guest.call("register_console", console)
        assert [w.message for w in kernel.warnings] == ["console 'foo2' already registered"]
        assert [guest.call_int("unregister_console", console) for _ in range(2)] == [0, -ENODEV]
