"""Kernel structures that vsnprintf() prints: %pR, %pd, %pt of lib/vsprintf.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.lib.printf_spec import (
    FLAG_SPEC,
    PLAIN,
    SMALL,
    SPECIAL,
    ZEROPAD,
    FormatType,
    Spec,
    cut,
    number,
    signed,
)
from ukmod.kernel.lib.vsprintf_text import bad_pointer, error_string, string
from ukmod.machine.registers import MASK64

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


# include/linux/ioport.h
_IO, _MEM, _IRQ, _DMA, _BUS = 0x100, 0x200, 0x400, 0x800, 0x1000
_PREFETCH, _MEM_64, _WINDOW, _DISABLED, _UNSET = 0x2000, 0x10_0000, 0x20_0000, 0x1000_0000, 0x2000_0000
_HEX_SPEC = Spec(FormatType.NUMBER, SPECIAL | SMALL | ZEROPAD, width=10, base=16)
_RESOURCES = (
    (_IO, b"io  ", Spec(FormatType.NUMBER, SPECIAL | SMALL | ZEROPAD, width=6, base=16)),
    (_MEM, b"mem ", _HEX_SPEC),
    (_IRQ, b"irq ", PLAIN),
    (_DMA, b"dma ", PLAIN),
    (_BUS, b"bus ", Spec(FormatType.NUMBER, SMALL | ZEROPAD, width=2, base=16)),
)
_RESOURCE_NOTES = (
    (_MEM_64, b" 64bit"),
    (_PREFETCH, b" pref"),
    (_WINDOW, b" window"),
    (_DISABLED, b" disabled"),
)


def resource_string(k: Core, value: int, spec: Spec) -> bytes:
    """``%pR``: a struct resource with its flags in words; ``%pr``: with its flags as a number."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    offset, memory = k.types.offset, k.memory
    start = memory.u64(value + offset("resource", "start"))
    end = memory.u64(value + offset("resource", "end"))
    flags = memory.u64(value + offset("resource", "flags"))
    name, form = next(((n, s) for flag, n, s in _RESOURCES if flags & flag), (b"??? ", _HEX_SPEC))
    decode = spec.extension[:1] == b"R" and name != b"??? "
    text = b"[" + name
    if decode and flags & _UNSET:
        text += b"size " + number(end - start + 1 & (1 << 64) - 1, form)
    else:
        text += number(start, form) + (b"-" + number(end, form) if start != end else b"")
    if decode:
        text += b"".join(note for flag, note in _RESOURCE_NOTES if flags & flag)
    else:
        text += b" flags " + number(flags, FLAG_SPEC)
    return cut(text + b"]", spec)


def dentry_name(k: Core, value: int, spec: Spec) -> bytes:
    """``%pd``: a dentry's name; ``%pd2`` to ``%pd4``: that many components of its path."""
    return _dentry_path(k, value, spec)


def file_dentry_name(k: Core, value: int, spec: Spec) -> bytes:
    """``%pD``: the name of a struct file's dentry."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    return _dentry_path(k, k.memory.u64(value + k.types.offset("file", "f_path.dentry")), spec)


def _dentry_path(k: Core, dentry: int, spec: Spec) -> bytes:
    depth = {b"2": 2, b"3": 3, b"4": 4}.get(spec.extension[1:2], 1)
    names: list[bytes] = []
    while len(names) < depth:
        if (bad := bad_pointer(dentry, spec)) is not None:
            return bad
        parent = k.memory.u64(dentry + k.types.offset("dentry", "d_parent"))
        name = k.memory.cstring(k.memory.u64(dentry + k.types.offset("dentry", "d_name.name")))
        if parent == dentry:
            names.append(b"" if names else name)
            break
        names.append(name)
        dentry = parent
    return cut(b"/".join(reversed(names)), spec)


def bdev_name(k: Core, value: int, spec: Spec) -> bytes:
    """``%pg``: a block device's name, that is its disk's name and the partition number."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    disk = k.memory.u64(value + k.types.offset("block_device", "bd_disk"))
    name_at = disk + k.types.offset("gendisk", "disk_name")
    text = string(k, name_at, spec)
    # Since v6.10 the number is the first byte of the flags.
    member = "bd_partno" if k.types.has("block_device", "bd_partno") else "__bd_flags"
    partition = k.memory.u8(value + k.types.offset("block_device", member))
    if partition:
        text += b"p" if k.memory.cstring(name_at, 32)[-1:].isdigit() else b""
        text += number(partition, spec)
    return text


_RTC_FIELDS = ("tm_year", "tm_mon", "tm_mday", "tm_hour", "tm_min", "tm_sec")


def time_and_date(k: Core, value: int, spec: Spec) -> bytes:
    """``%ptR``: a struct rtc_time; ``%ptT``: a time64_t.

    ``d`` and ``t`` select the date or the time, ``r`` prints raw fields, ``s`` separates the halves by a
    space.
    """
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    match spec.extension[1:2]:
        case b"R":
            at = k.types.offset
            fields = [signed(k.memory.u32(value + at("rtc_time", name)), 4) for name in _RTC_FIELDS]
        case b"T":
            fields = _broken_down(signed(k.memory.u64(value), 8))
        case _:
            return error_string(b"(%pt?)", spec)
    return _rtc_text(fields, spec.extension[2:])


def _broken_down(seconds: int) -> list[int]:
    """time64_to_tm(): the fields of struct tm, from year to second.

    The Gregorian calendar repeats every 400 years, so years outside Python's range are mapped into it.
    """
    from datetime import UTC, datetime, timedelta

    era, within = divmod(seconds, 146097 * 86400)
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=within)
    return [when.year + 400 * era - 1900, when.month - 1, when.day, when.hour, when.minute, when.second]


def _rtc_text(fields: list[int], options: bytes) -> bytes:
    half = options[:1] if options[:1] in {b"d", b"t"} else b""
    marks = options[len(half) :]
    marks = marks[: len(marks) - len(marks.lstrip(b"rs"))]
    if b"r" not in marks:
        fields = [fields[0] + 1900, fields[1] + 1, *fields[2:]]
    # The fields are ints printed as unsigned 64-bit numbers: a negative one becomes very large.
    year, month, day, *clock = (signed(field, 4) & MASK64 for field in fields)
    date = f"{year:04d}-{month:02d}-{day:02d}"
    time = ":".join(f"{field:02d}" for field in clock)
    if half:
        return (date if half == b"d" else time).encode()
    return f"{date}{' ' if b's' in marks else 'T'}{time}".encode()
