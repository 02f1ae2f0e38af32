"""Kernel structures and flag words that vsnprintf() prints: %pR, %pd, %pt, %pG of lib/vsprintf.c."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.printf_spec import PLAIN, SMALL, SPECIAL, ZEROPAD, FormatType, Spec, cut, number, signed
from ukmod.kernel.lib.vsprintf_text import bad_pointer, error_string, string
from ukmod.machine.registers import MASK64

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_FLAG_SPEC: Final = Spec(FormatType.NUMBER, SPECIAL | SMALL, width=0, base=16)

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
        text += b" flags " + number(flags, _FLAG_SPEC)
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


# include/linux/gfp_types.h and include/trace/events/mmflags.h, in the order in which they are matched.
_GFP_NAMES = (
    (0x1C24CA, "GFP_TRANSHUGE"), (0x1C20CA, "GFP_TRANSHUGE_LIGHT"), (0x100CCA, "GFP_HIGHUSER_MOVABLE"),
    (0x100CC2, "GFP_HIGHUSER"), (0x100CC0, "GFP_USER"), (0x400CC0, "GFP_KERNEL_ACCOUNT"),
    (0xCC0, "GFP_KERNEL"), (0xC40, "GFP_NOFS"), (0xA20, "GFP_ATOMIC"), (0xC00, "GFP_NOIO"),
    (0x800, "GFP_NOWAIT"), (0x01, "GFP_DMA"), (0x02, "__GFP_HIGHMEM"), (0x04, "GFP_DMA32"),
    (0x20, "__GFP_HIGH"), (0x200, "__GFP_ATOMIC"), (0x40, "__GFP_IO"), (0x80, "__GFP_FS"),
    (0x2000, "__GFP_NOWARN"), (0x4000, "__GFP_RETRY_MAYFAIL"), (0x8000, "__GFP_NOFAIL"),
    (0x10000, "__GFP_NORETRY"), (0x40000, "__GFP_COMP"), (0x100, "__GFP_ZERO"),
    (0x80000, "__GFP_NOMEMALLOC"), (0x20000, "__GFP_MEMALLOC"), (0x100000, "__GFP_HARDWALL"),
    (0x200000, "__GFP_THISNODE"), (0x10, "__GFP_RECLAIMABLE"), (0x08, "__GFP_MOVABLE"),
    (0x400000, "__GFP_ACCOUNT"), (0x1000, "__GFP_WRITE"), (0xC00, "__GFP_RECLAIM"),
    (0x400, "__GFP_DIRECT_RECLAIM"), (0x800, "__GFP_KSWAPD_RECLAIM"), (0x800000, "__GFP_ZEROTAGS"),
)  # fmt: skip
_VMA_BITS = (
    (0, "read"), (1, "write"), (2, "exec"), (3, "shared"), (4, "mayread"), (5, "maywrite"),
    (6, "mayexec"), (7, "mayshare"), (8, "growsdown"), (9, "uffd_missing"), (37, "uffd_minor"),
    (10, "pfnmap"), (12, "uffd_wp"), (13, "locked"), (14, "io"), (15, "seqread"), (16, "randread"),
    (17, "dontcopy"), (18, "dontexpand"), (19, "lockonfault"), (20, "account"), (21, "noreserve"),
    (22, "hugetlb"), (23, "sync"), (24, "pat"), (25, "wipeonfork"), (26, "dontdump"), (27, "softdirty"),
    (28, "mixedmap"), (29, "hugepage"), (30, "nohugepage"), (31, "mergeable"),
)  # fmt: skip
# The bits are those of a kernel whose enum pageflags is unknown.
_PAGE_BITS = (
    (0, "locked"), (7, "waiters"), (8, "error"), (1, "referenced"), (2, "uptodate"), (3, "dirty"),
    (4, "lru"), (5, "active"), (6, "workingset"), (9, "slab"), (10, "owner_priv_1"), (11, "arch_1"),
    (12, "reserved"), (13, "private"), (14, "private_2"), (15, "writeback"), (16, "head"),
    (17, "mappedtodisk"), (18, "reclaim"), (19, "swapbacked"), (20, "unevictable"), (21, "mlocked"),
    (22, "uncached"), (23, "hwpoison"),
)  # fmt: skip
_VMA_NAMES = tuple((1 << bit, name) for bit, name in _VMA_BITS)
_OPTIONAL_PAGE_FLAGS = ("young", "idle", "arch_2", "arch_3", "skip_kasan_poison")
# include/linux/page-flags-layout.h for NODES_SHIFT 10, five zones and 8192 CPUs: name, shift, width, spec.
_PAGE_FIELDS = (("node", 54, 10, PLAIN), ("zone", 51, 3, PLAIN), ("lastcpupid", 30, 21, _FLAG_SPEC))


def flags_string(k: Core, value: int, spec: Spec) -> bytes:
    """``%pGg`` gfp_t, ``%pGv`` vm_flags and ``%pGp`` page flags, in words."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    match spec.extension[1:2]:
        case b"g":
            return _named(k.memory.u32(value), _GFP_NAMES)
        case b"v":
            return _named(k.memory.u64(value), _VMA_NAMES)
        case b"p":
            return _page_flags(k, k.memory.u64(value))
        case _:
            return error_string(b"(%pG?)", spec)


def gfp_names(gfp: int) -> str:
    """A gfp_t in words, as ``%pGg`` prints it."""
    return _named(gfp, _GFP_NAMES).decode()


def _named(flags: int, names: tuple[tuple[int, str], ...]) -> bytes:
    words = []
    for mask, name in names:
        if flags and flags & mask == mask:
            words.append(name.encode())
            flags &= ~mask
    if flags:
        words.append(number(flags, _FLAG_SPEC))
    return b"|".join(words)


def _page_flags(k: Core, flags: int) -> bytes:
    main = flags & (1 << _page_bits(k)["__NR_PAGEFLAGS"]) - 1
    words = [_named(main, _page_names(k))] if main else []
    for name, shift, width, form in _PAGE_FIELDS:
        words.append(name.encode() + b"=" + number(flags >> shift & ((1 << width) - 1), form))
    return number(flags, _FLAG_SPEC) + b"(" + b"|".join(words) + b")"


def _page_bits(k: Core) -> Mapping[str, int]:
    """The numbers of the page flags, which depend on the kernel and on its configuration."""
    if k.types.has("pageflags"):
        return k.types.enum("pageflags").values
    return {**{f"PG_{name}": bit for bit, name in _PAGE_BITS}, "__NR_PAGEFLAGS": len(_PAGE_BITS)}


def _page_names(k: Core) -> tuple[tuple[int, str], ...]:
    bits = _page_bits(k)
    known = (*(name for _, name in _PAGE_BITS), *_OPTIONAL_PAGE_FLAGS)
    return tuple((1 << bits[f"PG_{name}"], name) for name in known if f"PG_{name}" in bits)
