"""Flag words that vsnprintf() prints: %pG of lib/vsprintf.c."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from ukmod.kernel.lib.printf_spec import FLAG_SPEC, PLAIN, Spec, number
from ukmod.kernel.lib.vsprintf_text import bad_pointer, error_string

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_Names = tuple[tuple[int, str], ...]
"""Masks and their names, in the order in which they are matched."""
_ENTRY: Final = 16
"""sizeof(struct trace_print_flags): the mask and a pointer to the name."""
_MOST_NAMES: Final = 65
"""More than an unsigned long has bits."""

# What follows is v6.1's, for a machine without an image's own tables: include/linux/gfp_types.h and
# include/trace/events/mmflags.h.
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
_PAGE_FIELDS = (("node", 54, 10, PLAIN), ("zone", 51, 3, PLAIN), ("lastcpupid", 30, 21, FLAG_SPEC))


def flags_string(k: Core, value: int, spec: Spec) -> bytes:
    """``%pGg`` gfp_t, ``%pGv`` vm_flags and ``%pGp`` page flags, in words."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    match spec.extension[1:2]:
        case b"g":
            return gfp_names(k, k.memory.u32(value)).encode()
        case b"v":
            return _named(k.memory.u64(value), _image_names(k, "vmaflag_names") or _VMA_NAMES)
        case b"p":
            return _page_flags(k, k.memory.u64(value))
        case _:
            return error_string(b"(%pG?)", spec)


def gfp_names(k: Core, gfp: int) -> str:
    """A gfp_t in words, as ``%pGg`` prints it."""
    return _named(gfp, _image_names(k, "gfpflag_names") or _GFP_NAMES).decode()


def _image_names(k: Core, table: str) -> _Names:
    """An image's own array of struct trace_print_flags, mm/debug.c; nothing if there is none."""
    at = k.image.get(table) if k.image is not None else None
    return tuple(_print_flags(k, at)) if at is not None else ()


def _print_flags(k: Core, at: int) -> Iterator[tuple[int, str]]:
    """The masks and names of an array of struct trace_print_flags, which ends with a null pointer."""
    memory = k.memory
    for entry in range(at, at + _MOST_NAMES * _ENTRY, _ENTRY):
        if not (name := memory.u64(entry + 8)):
            return
        yield memory.u64(entry), memory.cstring(name).decode("latin-1")


def _named(flags: int, names: _Names) -> bytes:
    words = []
    for mask, name in names:
        if flags and flags & mask == mask:
            words.append(name.encode("latin-1"))
            flags &= ~mask
    if flags:
        words.append(number(flags, FLAG_SPEC))
    return b"|".join(words)


def _page_flags(k: Core, flags: int) -> bytes:
    main = flags & (1 << _page_bits(k)["__NR_PAGEFLAGS"]) - 1
    words = [_named(main, _page_names(k))] if main else []
    for name, shift, width, form in _PAGE_FIELDS:
        words.append(name.encode() + b"=" + number(flags >> shift & ((1 << width) - 1), form))
    return number(flags, FLAG_SPEC) + b"(" + b"|".join(words) + b")"


def _page_bits(k: Core) -> Mapping[str, int]:
    """The numbers of the page flags, which depend on the kernel and on its configuration."""
    if k.types.has("pageflags"):
        return k.types.enum("pageflags").values
    return {**{f"PG_{name}": bit for bit, name in _PAGE_BITS}, "__NR_PAGEFLAGS": len(_PAGE_BITS)}


def _page_names(k: Core) -> _Names:
    if names := _image_names(k, "pageflag_names"):
        return names
    bits = _page_bits(k)
    known = (*(name for _, name in _PAGE_BITS), *_OPTIONAL_PAGE_FLAGS)
    return tuple((1 << bits[f"PG_{name}"], name) for name in known if f"PG_{name}" in bits)
