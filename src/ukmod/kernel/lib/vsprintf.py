"""vsnprintf() and the like, with which everything in the kernel formats text: lib/vsprintf.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.lib.limits import INT_MAX
from ukmod.kernel.lib.printf_spec import (
    FIELD_WIDTH_MAX,
    PRECISION_MAX,
    SIGN,
    FormatType,
    Spec,
    number,
    pad,
    parse,
    signed,
)
from ukmod.kernel.lib.vsprintf_pointer import pointer
from ukmod.kernel.lib.vsprintf_text import string
from ukmod.kernel.x86.unwind import stack_bounds
from ukmod.machine.abi import CStr, GfpT, Int, Ptr, SizeT, VaList, VarArgs

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_UNSUPPORTED = Site("lib/vsprintf.c", 2661, "format_decode")
_WIDTH = Site("lib/vsprintf.c", 2693, "set_field_width")
_PRECISION = Site("lib/vsprintf.c", 2702, "set_precision")
_TOO_LARGE = Site("lib/vsprintf.c", 2743, "vsnprintf")

_MOST = 1 << 24
_FRAMES = 138
"""The bytes of stack that vsnprintf() and va_format() of v6.1 take together."""


class Arguments(Protocol):
    """A source of variadic arguments: VarArgs or VaList."""

    def next(self) -> int:
        """The next argument's 8 bytes, unsigned."""
        ...


def vformat(k: Core, fmt: bytes, args: Arguments, depth: int = 0) -> bytes:
    """``fmt`` formatted with ``args``, as by vsnprintf() into a sufficiently large buffer.

    Raises Fault for a bad pointer on which the kernel faults too. Those that the kernel recognises are
    printed as (null) or (efault). The text ends at 16 MiB, more than any buffer of the kernel's. ``depth`` is
    the number of formats that this one is within, by ``%pV``; raises RecursionError for one more than the
    current stack has room for, as nothing else ends a format within itself.
    """
    out: list[bytes] = []
    room = _MOST
    for piece in parse(fmt):
        if isinstance(piece, bytes):
            out.append(piece)
            continue
        if out and (room := room - len(out[-1])) <= 0:
            break
        piece = _completed(k, piece, args)  # noqa: PLW2901 - the spec is completed
        if piece.kind is FormatType.INVALID:
            letter = piece.extension.decode("latin-1")
            warn_once(k, _UNSUPPORTED, f"Please remove unsupported %{letter} in format string\n")
            break
        out.append(_convert(k, piece, args, depth))
    return b"".join(out)


def _completed(k: Core, spec: Spec, args: Arguments) -> Spec:
    """The spec with the width and the precision that are arguments, one too large with its warning."""
    if spec.star_width:
        width = signed(args.next(), 4)
        if not -FIELD_WIDTH_MAX - 1 <= width <= FIELD_WIDTH_MAX:
            warn_once(k, _WIDTH, f"field width {width} too large")
        spec = spec.with_width(width)
    if spec.star_precision:
        precision = signed(args.next(), 4)
        if not -PRECISION_MAX - 1 <= precision <= PRECISION_MAX:
            warn_once(k, _PRECISION, f"precision {precision} too large")
        spec = spec.with_precision(precision)
    return spec


def _convert(k: Core, spec: Spec, args: Arguments, depth: int) -> bytes:
    match spec.kind:
        case FormatType.NUMBER:
            value = args.next()
            if spec.flags & SIGN:
                return number(signed(value, spec.size), spec)
            return number(value & ((1 << 8 * spec.size) - 1), spec)
        case FormatType.STR:
            return string(k, args.next(), spec)
        case FormatType.CHAR:
            return pad(bytes((args.next() & 0xFF,)), spec)
        case FormatType.PTR:
            return _pointer(k, spec, args, depth)
        case _:
            return b"%"


def _pointer(k: Core, spec: Spec, args: Arguments, depth: int) -> bytes:
    if not spec.extension.startswith(b"V"):
        return pointer(k, args.next(), spec)
    return va_format(k, args.next(), spec, depth)


def va_format(k: Core, address: int, spec: Spec, depth: int) -> bytes:
    """``%pV``: a struct va_format: a format with its arguments. The va_list is copied, not consumed."""
    memory = k.memory
    if not address or address >> 12 in (0, (1 << 52) - 1):
        return string(k, address, spec)
    fmt = memory.u64(address + k.types.offset("va_format", "fmt"))
    args = memory.u64(address + k.types.offset("va_format", "va"))
    if depth and depth * _FRAMES > k.cpu.sp - stack_bounds(k)[0]:
        raise RecursionError("%pV of itself")
    return vformat(k, memory.cstring(fmt), CopiedVaList(k, args), depth + 1)


class CopiedVaList:
    """A copy of a va_list, as va_copy() makes: reading it does not advance the original."""

    def __init__(self, kernel: Core, address: int) -> None:
        memory = kernel.memory
        self._memory = memory
        self._gp = memory.u32(address)
        self._overflow = memory.u64(address + 8)
        self._saved = memory.u64(address + 16)

    def next(self) -> int:
        """The next argument's 8 bytes, unsigned."""
        if self._gp < 48:
            self._gp += 8
            return self._memory.u64(self._saved + self._gp - 8)
        self._overflow += 8
        return self._memory.u64(self._overflow - 8)


def put(k: Core, buffer: int, size: int, text: bytes) -> int:
    """Store ``text`` as vsnprintf() does, cut to ``size`` bytes with the NUL; returns its full length."""
    if size > INT_MAX:
        warn_once(k, _TOO_LARGE)
        return 0
    if size:
        k.memory.write(buffer, text[: size - 1] + b"\0")
    return len(text)


def put_scn(k: Core, buffer: int, size: int, text: bytes) -> int:
    """Store ``text`` as vscnprintf() does; returns the length that fitted."""
    length = put(k, buffer, size, text)
    return min(length, size - 1) if size else 0


@export(native=True)
def snprintf(k: Core, buf: Ptr, size: SizeT, fmt: CStr, args: VarArgs) -> Int:
    """``int snprintf(char *buf, size_t size, const char *fmt, ...)``: the length without the limit."""
    return put(k, buf, size, vformat(k, fmt, args))


@export(native=True)
def vsnprintf(k: Core, buf: Ptr, size: SizeT, fmt: CStr, args: Ptr) -> Int:
    """``int vsnprintf(char *buf, size_t size, const char *fmt, va_list args)``."""
    return put(k, buf, size, vformat(k, fmt, VaList(k.memory, args)))


@export(native=True)
def scnprintf(k: Core, buf: Ptr, size: SizeT, fmt: CStr, args: VarArgs) -> Int:
    """``int scnprintf(char *buf, size_t size, const char *fmt, ...)``: the length that was stored."""
    return put_scn(k, buf, size, vformat(k, fmt, args))


@export(native=True)
def vscnprintf(k: Core, buf: Ptr, size: SizeT, fmt: CStr, args: Ptr) -> Int:
    """``int vscnprintf(char *buf, size_t size, const char *fmt, va_list args)``."""
    return put_scn(k, buf, size, vformat(k, fmt, VaList(k.memory, args)))


@export(native=True)
def sprintf(k: Core, buf: Ptr, fmt: CStr, args: VarArgs) -> Int:
    """``int sprintf(char *buf, const char *fmt, ...)``."""
    return put(k, buf, INT_MAX, vformat(k, fmt, args))


@export(native=True)
def vsprintf(k: Core, buf: Ptr, fmt: CStr, args: Ptr) -> Int:
    """``int vsprintf(char *buf, const char *fmt, va_list args)``."""
    return put(k, buf, INT_MAX, vformat(k, fmt, VaList(k.memory, args)))


def _duplicate(k: Core, gfp: int, text: bytes) -> int:
    address = k.slab.kmalloc(len(text) + 1, gfp)
    if address:
        k.memory.write(address, text + b"\0")
    return address


@export(native=True)
def kasprintf(k: Core, gfp: GfpT, fmt: CStr, args: VarArgs) -> Ptr:
    """``char *kasprintf(gfp_t gfp, const char *fmt, ...)``, in memory that the caller must kfree()."""
    return _duplicate(k, gfp, vformat(k, fmt, args))


@export(native=True)
def kvasprintf(k: Core, gfp: GfpT, fmt: CStr, args: Ptr) -> Ptr:
    """``char *kvasprintf(gfp_t gfp, const char *fmt, va_list ap)``."""
    return _duplicate(k, gfp, vformat(k, fmt, VaList(k.memory, args)))


@export(native=True)
def kvasprintf_const(k: Core, gfp: GfpT, fmt: Ptr, args: Ptr) -> Ptr:
    """``const char *kvasprintf_const(gfp_t gfp, const char *fmt, va_list ap)``, freed with kfree_const().

    The kernel returns a constant itself if it needs no formatting; kfree_const() accepts the copy made here
    too. A string that ``%s`` alone prints is not formatted: NULL stays NULL.
    """
    given, values = k.memory.cstring(fmt), VaList(k.memory, args)
    if given != b"%s":
        return _duplicate(k, gfp, vformat(k, given, values))
    text = values.next()
    return _duplicate(k, gfp, k.memory.cstring(text)) if text else 0
