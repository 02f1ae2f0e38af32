"""Network addresses and other byte strings of fixed length: %pM, %pI, %pU, %pN of lib/vsprintf.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.lib.printf_spec import Spec, cut, number
from ukmod.kernel.lib.vsprintf_text import bad_pointer, error_string, special_hex
from ukmod.kernel.uapi import AF_INET, AF_INET6

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_GUID_ORDER = (3, 2, 1, 0, 5, 4, 7, 6, *range(8, 16))
_FLOWINFO_MASK = 0x0FFF_FFFF


def mac_address_string(k: Core, value: int, spec: Spec) -> bytes:
    """``%pM`` with colons, ``%pMF`` with dashes, ``%pm`` with neither; ``R`` reverses the bytes."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    address = k.memory.read(value, 6)
    if spec.extension[1:2] == b"R":
        address = address[::-1]
    separator = "" if spec.extension[:1] == b"m" else "-" if spec.extension[1:2] == b"F" else ":"
    return cut(separator.join(f"{byte:02x}" for byte in address).encode(), spec)


def ip4(address: bytes, form: bytes) -> str:
    """A dotted quad. In the extension ``form``, ``i4`` adds leading zeros; ``h``, ``l`` reverse the bytes."""
    if form[2:3] in {b"h", b"l"}:
        address = address[::-1]
    width = 3 if form[:1] == b"i" else 1
    return ".".join(f"{byte:0{width}d}" for byte in address)


def ip6(address: bytes, *, colons: bool) -> str:
    """All 32 digits of an IPv6 address."""
    return (":" if colons else "").join(f"{address[n]:02x}{address[n + 1]:02x}" for n in range(0, 16, 2))


def ip6_compressed(address: bytes) -> str:
    """The short form of RFC 5952; addresses that hold an IPv4 address end in a dotted quad."""
    words = [int.from_bytes(address[n : n + 2], "big") for n in range(0, 16, 2)]
    mapped = not any(words[:5]) and words[5] == 0xFFFF
    isatap = words[4] & ~0x0200 == 0 and words[5] == 0x5EFE
    count = 6 if mapped or isatap else 8
    start, length = _longest_zeros(words[:count])
    groups = [f"{word:x}" for word in words[:count]]
    if count == 6:
        groups.append(ip4(address[12:], b"I4"))
    if length < 2:
        return ":".join(groups)
    return ":".join(groups[:start]) + "::" + ":".join(groups[start + length :])


def _longest_zeros(words: list[int]) -> tuple[int, int]:
    """The start and length of the longest run of zeros; the first one if several are equally long."""
    best = (0, 0)
    for start in range(len(words)):
        length = 0
        while start + length < len(words) and not words[start + length]:
            length += 1
        if length > best[1]:
            best = (start, length)
    return best


def ip_addr_string(k: Core, value: int, spec: Spec) -> bytes:
    """``%pI4``, ``%pI6``, and ``%pIS`` for a struct sockaddr; ``%pi`` without separators."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    form, memory = spec.extension, k.memory
    match form[1:2]:
        case b"6":
            address = memory.read(value, 16)
            short = form[:1] == b"I" and form[2:3] == b"c"
            return cut(
                (ip6_compressed(address) if short else ip6(address, colons=form[:1] == b"I")).encode(), spec
            )
        case b"4":
            return cut(ip4(memory.read(value, 4), form).encode(), spec)
        case b"S":
            family = memory.u16(value)
            if family == AF_INET:
                return _sockaddr_in(memory.read(value, 8), spec)
            if family == AF_INET6:
                return _sockaddr_in6(memory.read(value, 28), spec)
            return error_string(b"(einval)", spec)
        case _:
            return error_string(b"(%p" + form[:1] + b"?)", spec)


def _sockaddr_in(sockaddr: bytes, spec: Spec) -> bytes:
    # struct sockaddr_in and sockaddr_in6 have the same layout on every machine: RFC 3493.
    options = spec.extension[2:]
    order = next((options[n : n + 1] for n in range(len(options)) if options[n] in b"hlnb"), b"")
    text = ip4(sockaddr[4:8], spec.extension[:1] + b"4" + order).encode()
    if b"p" in options:
        text += b":" + number(int.from_bytes(sockaddr[2:4], "big"), spec)
    return cut(text, spec)


def _sockaddr_in6(sockaddr: bytes, spec: Spec) -> bytes:
    options, colons = spec.extension[2:], spec.extension[:1] == b"I"
    address = sockaddr[8:24]
    text = (ip6_compressed(address) if colons and b"c" in options else ip6(address, colons=colons)).encode()
    if any(letter in options for letter in b"psf"):
        text = b"[" + text + b"]"
    if b"p" in options:
        text += b":" + number(int.from_bytes(sockaddr[2:4], "big"), spec)
    if b"f" in options:
        text += b"/" + number(int.from_bytes(sockaddr[4:8], "big") & _FLOWINFO_MASK, spec)
    if b"s" in options:
        text += b"%" + number(int.from_bytes(sockaddr[24:28], "little"), spec)
    return cut(text, spec)


def uuid_string(k: Core, value: int, spec: Spec) -> bytes:
    """``%pU``: ``b`` big endian (a UUID), ``l`` little endian (a GUID); capitals give capital digits."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    text = uuid_text(k.memory.read(value, 16), guid=spec.extension[1:2] in {b"l", b"L"})
    return cut((text.upper() if spec.extension[1:2] in {b"B", b"L"} else text).encode(), spec)


def uuid_text(data: bytes, *, guid: bool = False) -> str:
    """16 bytes in the groups of 4, 2, 2, 2 and 6 bytes of a UUID's text form."""
    digits = bytes(data[n] for n in (_GUID_ORDER if guid else range(16))).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def netdev_bits(k: Core, value: int, spec: Spec) -> bytes:
    """``%pNF``: a netdev_features_t."""
    if (bad := bad_pointer(value, spec)) is not None:
        return bad
    if spec.extension[1:2] != b"F":
        return error_string(b"(%pN?)", spec)
    return special_hex(k.memory.u64(value), 8)
