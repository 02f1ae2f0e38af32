"""``%p`` and the table of its extensions: pointer() of lib/vsprintf.c."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ukmod.kernel.lib.err import is_err
from ukmod.kernel.lib.errname import errname
from ukmod.kernel.lib.escape import (
    ESCAPE_ANY,
    ESCAPE_ANY_NP,
    ESCAPE_HEX,
    ESCAPE_NP,
    ESCAPE_NULL,
    ESCAPE_OCTAL,
    ESCAPE_SPACE,
    ESCAPE_SPECIAL,
    escape,
)
from ukmod.kernel.lib.printf_spec import SIGN, SMALL, ZEROPAD, Spec, cut, number
from ukmod.kernel.lib.vsprintf_flags import flags_string
from ukmod.kernel.lib.vsprintf_fwnode import fwnode_string
from ukmod.kernel.lib.vsprintf_net import ip_addr_string, mac_address_string, netdev_bits, uuid_string
from ukmod.kernel.lib.vsprintf_struct import (
    bdev_name,
    dentry_name,
    file_dentry_name,
    resource_string,
    time_and_date,
)
from ukmod.kernel.lib.vsprintf_text import bad_pointer, error_string, special_hex, string
from ukmod.record import replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

Extension = Callable[["Core", int, Spec], bytes]


def pointer(k: Core, value: int, spec: Spec) -> bytes:
    """Print a pointer as the letters after ``%p`` say; unknown letters are ignored."""
    return _EXTENSIONS.get(spec.extension[:1], default_pointer)(k, value, spec)


def pointer_string(k: Core, value: int, spec: Spec) -> bytes:
    """``%px``: the address itself, all 16 digits unless a width is given."""
    del k
    if spec.width == -1:
        spec = replace(spec, width=16, flags=spec.flags | ZEROPAD)
    return number(value, replace(spec, base=16, flags=spec.flags | SMALL))


def default_pointer(k: Core, value: int, spec: Spec) -> bytes:
    """``%p``: a number that identifies the address without revealing it. NULL and errors are not hashed."""
    if not value or is_err(value) or k.lib.no_hash_pointers:
        return pointer_string(k, value, spec)
    return pointer_string(k, ptr_to_hashval(value), spec)


def ptr_to_hashval(value: int) -> int:
    """A 32-bit hash that identifies an address.

    The kernel keys a SipHash with boot-time randomness; here, equal runs print equal numbers.
    """
    from hashlib import blake2b  # OpenSSL comes with it: for the runs that print a pointer

    digest = blake2b(value.to_bytes(8, "little"), digest_size=4, key=b"ptr_key").digest()
    return int.from_bytes(digest, "little")


def _restricted(k: Core, value: int, spec: Spec) -> bytes:
    # kernel.kptr_restrict is 0 unless user space sets it.
    return default_pointer(k, value, spec)


def error_name(k: Core, value: int, spec: Spec) -> bytes:
    """``%pe``: the symbolic name of an error pointer's errno."""
    if not is_err(value):
        return default_pointer(k, value, spec)
    error = value - (1 << 64)
    if name := errname(-error):
        return cut(f"-{name}".encode(), spec)
    return number(error, replace(spec, flags=spec.flags | SIGN))


def _symbol(k: Core, value: int, spec: Spec) -> bytes:
    if spec.extension[:1] == b"B":
        text = k.kallsyms.sprint(value, back=1)
    else:
        text = k.kallsyms.sprint(value, offset=spec.extension[:1] == b"S")
    return cut(text.encode("utf-8", "surrogateescape"), spec)


def _hex(k: Core, value: int, spec: Spec) -> bytes:
    if spec.width == 0:
        return b""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    data = k.memory.read(value, min(max(spec.width, 1), 64))
    separator = {b"C": ":", b"D": "-", b"N": ""}.get(spec.extension[1:2], " ")
    return separator.join(f"{byte:02x}" for byte in data).encode()


def _bitmap(k: Core, value: int, spec: Spec) -> bytes:
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    bits = max(spec.width, 0)
    bitmap = k.memory.uint(value, -(-bits // 64) * 8) & ((1 << bits) - 1)
    return (bitmap_list if spec.extension[1:2] == b"l" else bitmap_hex)(bitmap, bits).encode()


def bitmap_hex(bitmap: int, bits: int) -> str:
    """A bitmap of ``bits`` bits in hexadecimal, in groups of 32 bits, the highest first."""
    if not bits:
        return ""
    digits = f"{bitmap:0{-(-bits // 4)}x}"
    first = len(digits) % 8
    groups = [digits[:first]] if first else []
    return ",".join(groups + [digits[at : at + 8] for at in range(first, len(digits), 8)])


def bitmap_list(bitmap: int, bits: int) -> str:
    """The set bits as ranges: ``0-3,7``."""
    text = f"{bitmap & (1 << bits) - 1:b}"[::-1]
    runs = ((found.start(), found.end() - 1) for found in re.finditer("1+", text))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


_ESCAPES = {
    ord("a"): ESCAPE_ANY, ord("c"): ESCAPE_SPECIAL, ord("h"): ESCAPE_HEX, ord("n"): ESCAPE_NULL,
    ord("o"): ESCAPE_OCTAL, ord("p"): ESCAPE_NP, ord("s"): ESCAPE_SPACE,
}  # fmt: skip


def _escaped(k: Core, value: int, spec: Spec) -> bytes:
    if spec.width == 0:
        return b""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    flags = 0
    for letter in spec.extension[1:]:
        if letter not in _ESCAPES:
            break
        flags |= _ESCAPES[letter]
    return escape(k.memory.read(value, max(spec.width, 1)), flags or ESCAPE_ANY_NP)


def _address(k: Core, value: int, spec: Spec) -> bytes:
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    return special_hex(k.memory.u64(value), 8)


def _fourcc(k: Core, value: int, spec: Spec) -> bytes:
    if spec.extension[1:3] != b"cc":
        return error_string(b"(%p4?)", spec)
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    code = k.memory.u32(value)
    letters = (code & 0x7FFF_FFFF).to_bytes(4, "little")
    shown = "".join(chr(c) if 0x20 <= c < 0x7F else "." for c in letters)
    order = "big-endian" if code >> 31 else "little-endian"
    return cut(f"{shown} {order} ({code:#010x})".encode(), spec)


def _traced_string(k: Core, value: int, spec: Spec) -> bytes:
    return string(k, value, spec) if spec.extension[1:2] == b"s" else error_string(b"(einval)", spec)


def _clock(k: Core, value: int, spec: Spec) -> bytes:
    """``%pC``: the name of a struct clk, clk->core->name."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    core = k.memory.u64(value + k.types.offset("clk", "core"))
    return string(k, k.memory.u64(core + k.types.offset("clk_core", "name")), spec)


def _device_node(k: Core, value: int, spec: Spec) -> bytes:
    # x86 kernels are built without CONFIG_OF.
    del k, value
    return error_string(b"(%pOF?)" if spec.extension[1:2] == b"F" else b"(%pO?)", spec)


_EXTENSIONS: dict[bytes, Extension] = {
    b"S": _symbol, b"s": _symbol, b"B": _symbol,
    b"R": resource_string, b"r": resource_string,
    b"h": _hex, b"b": _bitmap, b"E": _escaped,
    b"M": mac_address_string, b"m": mac_address_string,
    b"I": ip_addr_string, b"i": ip_addr_string,
    b"U": uuid_string, b"N": netdev_bits,
    b"K": _restricted, b"x": pointer_string, b"e": error_name,
    b"4": _fourcc, b"a": _address, b"k": _traced_string, b"u": _traced_string,
    b"d": dentry_name, b"D": file_dentry_name, b"g": bdev_name,
    b"t": time_and_date, b"G": flags_string,
    b"C": _clock, b"O": _device_node, b"f": fwnode_string,
}  # fmt: skip
