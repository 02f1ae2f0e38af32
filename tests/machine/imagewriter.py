"""Write kernel images: a small vmlinux with its tables, and the bzImage around one."""

from __future__ import annotations

import struct
from collections.abc import Mapping

BASE = 0xFFFFFFFF81000000
RELEASE = "6.1.0-test"
BANNER = f"Linux version {RELEASE} (someone) (gcc) #1 SMP"
VERMAGIC = f"{RELEASE} SMP mod_unload "


def align(data: bytes, to: int = 8) -> bytes:
    return data + bytes(-len(data) % to)


def kallsyms(
    symbols: Mapping[str, tuple[str, int]], *, after: bool = False, relative_at: int | None = None
) -> bytes:
    """The tables as scripts/kallsyms.c lays them out, with the addresses before, or since 6.4 after the rest.

    ``relative_at``: the address of the tables if each address is relative to its own place, as since 7.0.

    Each token but "x9" is one character, and that stands for itself but for a name's.
    """
    tokens = [bytes([code]) if 32 < code < 127 else b"" for code in range(256)]
    tokens[200] = b"printk"
    names, markers = b"", []
    for number, (name, (letter, _address)) in enumerate(symbols.items()):
        if number % 256 == 0:
            markers.append(len(names))
        packed = (letter + name).encode().replace(b"printk", b"\xc8")
        names += (
            bytes([len(packed)] if len(packed) < 128 else [len(packed) & 127 | 128, len(packed) >> 7])
            + packed
        )
    table, index = b"", b""
    for token in tokens:
        index += struct.pack("<H", len(table))
        table += token + b"\0"
    if relative_at is not None:
        core = b"".join(
            align(part, 4)
            for part in (
                struct.pack("<I", len(symbols)),
                names,
                struct.pack(f"<{len(markers)}I", *markers),
                table,
                index,
            )
        )
        places = range(relative_at + len(core), relative_at + len(core) + 4 * len(symbols), 4)
        return core + b"".join(
            struct.pack("<i", address - place)
            for place, (_, address) in zip(places, symbols.values(), strict=True)
        )
    offsets = [a if a < 1 << 31 else BASE - 1 - a for _, a in symbols.values()]
    addresses = align(struct.pack(f"<{len(offsets)}i", *offsets)) + struct.pack("<Q", BASE)
    core = struct.pack("<Q", len(symbols)) + align(names)
    core += align(struct.pack(f"<{len(markers)}I", *markers)) + align(table) + align(index)
    return core + addresses if after else addresses + core


def many_symbols(count: int = 1500) -> dict[str, tuple[str, int]]:
    symbols = {"fixed_percpu_data": ("A", 0), "current_task": ("A", 0x40), "_text": ("T", BASE)}
    symbols |= {f"function_{number}": ("t", BASE + 16 * number) for number in range(1, count)}
    symbols["_printk"] = ("T", BASE + 16 * count)
    symbols["a_name_" + "that_is_long_" * 12] = ("D", BASE + 16 * count + 8)
    return symbols


def exports(at: int, strings_at: int, entries: Mapping[str, tuple[int, str]]) -> tuple[bytes, bytes]:
    """``__ksymtab`` at an address and ``__ksymtab_strings`` at another, of name: (address, namespace)."""
    table, strings = b"", b"\0"
    for number, (name, (address, namespace)) in enumerate(entries.items()):
        here = at + 12 * number
        name_at = strings_at + len(strings)
        strings += name.encode() + b"\0"
        space_at = strings_at + len(strings) if namespace else strings_at
        strings += namespace.encode() + b"\0" if namespace else b""
        table += struct.pack("<iii", address - here, name_at - here - 4, space_at - here - 8)
    return table, strings


def vmlinux(
    *,
    btf: bytes = b"",
    symbols: Mapping[str, tuple[str, int]] | None = None,
    after: bool = False,
    relative: bool = False,
    flags: bytes = b"",
    debug: Mapping[str, bytes] | None = None,
) -> bytes:
    """An ELF file with one segment that is all of it, mapped at BASE; without kallsyms for no ``symbols``.

    ``after``, ``relative``: the newer layouts of kallsyms. ``flags``: __kflagstab. ``debug``: its DWARF.
    """
    if symbols is None:
        symbols = many_symbols()
    head = align(f"{BANNER}\n\0".encode() + f"{VERMAGIC}\0".encode()) + bytes(4 * relative)
    place = BASE + 64 + 56 + len(head)
    tables = kallsyms(symbols, after=after, relative_at=place if relative else None) if symbols else b""
    rodata = head + tables
    sections = {".rodata": rodata, ".BTF": btf, "__kcrctab": struct.pack("<II", 0x11, 0x22)}
    if flags:
        sections["__kflagstab"] = flags
    sections |= debug or {}
    places: dict[str, tuple[int, bytes]] = {}
    at = 64 + 56
    for name, data in sections.items():
        places[name] = at, data
        at += len(align(data))
    table, strings = exports(
        BASE + at, BASE + at + 24, {"_printk": (BASE + 16, ""), "hidden": (BASE + 32, "SECRET")}
    )
    places["__ksymtab"] = at, table
    places["__ksymtab_strings"] = at + 24, strings
    names = b"\0" + b"".join(name.encode() + b"\0" for name in places) + b".shstrtab\0"
    places[".shstrtab"] = at + 24 + len(align(strings)), names
    end = at + 24 + len(align(strings)) + len(align(names))
    body = bytearray(end)
    headers = bytes(64)
    for name, (offset, data) in places.items():
        body[offset : offset + len(data)] = data
        name_at = names.index(name.encode() + b"\0")
        headers += struct.pack("<IIQQQQIIQQ", name_at, 1, 2, BASE + offset, offset, len(data), 0, 0, 8, 0)
    count = len(places) + 1
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    body[:64] = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, end, 0, 64, 56, 1, 64, count, count - 1
    )
    body[64:120] = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, 0x1000000, end, end + 4096, 4096)
    return bytes(body) + headers


def bzimage(payload: bytes, *, size: int | None = None, version: int = 0x20F) -> bytes:
    """A setup of one sector after the boot sector, and the payload with the unpacked size appended to it."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x208] = b"HdrS" + struct.pack("<H", version)
    payload += b"" if size is None else struct.pack("<I", size)
    head[0x248:0x250] = struct.pack("<II", 64, len(payload))
    return bytes(head) + bytes(64) + payload + bytes(100)
