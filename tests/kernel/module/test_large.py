"""Modules with as much of everything as the ELF format can hold: loaded or refused, in bounded time."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import settings
from tests.golden import modules

from ukmod.errors import LoadError
from ukmod.kernel.api import Kernel

HEADER = struct.Struct("<IIQQQQIIQQ")
PROGBITS, SYMTAB, RELA, NOBITS = 1, 2, 4, 8
ALLOC_WRITE = 3
R_X86_64_NONE, R_X86_64_64 = 0, 1
MOST_SECTIONS = 0xFEFF
"""All that e_shnum can say."""

pytestmark = pytest.mark.fuzz


def many() -> int:
    """How many there are of what the format does not limit: a million at the length of `make fuzz`."""
    return 1000 * settings().max_examples


class Module:
    """A compiled module, to which sections are added; those that grow move to the file's end."""

    def __init__(self, name: str = "ok_dep") -> None:
        self.data = bytearray(modules()[name].read_bytes())
        start, count = (
            struct.unpack_from("<Q", self.data, 0x28)[0],
            struct.unpack_from("<H", self.data, 0x3C)[0],
        )
        self.headers = [list(HEADER.unpack_from(self.data, start + 64 * n)) for n in range(count)]

    def number(self, kind: int) -> int:
        """The first section of a type."""
        return next(n for n, header in enumerate(self.headers) if header[1] == kind)

    def grow(self, number: int, more: bytes) -> None:
        header = self.headers[number]
        content = bytes(self.data[header[4] : header[4] + header[5]]) + more
        header[4], header[5] = self._append(content), len(content)

    def add(
        self, kind: int, content: bytes, flags: int = 0, link: int = 0, info: int = 0, entry: int = 0
    ) -> int:
        name = self.headers[self.number(SYMTAB)][0]
        at = self._append(content) if kind != NOBITS else 0
        self.headers.append([name, kind, flags, 0, at, len(content), link, info, 8, entry])
        return len(self.headers) - 1

    def _append(self, content: bytes) -> int:
        self.data += bytes(-len(self.data) % 8)
        at = len(self.data)
        self.data += content
        return at

    def file(self) -> bytes:
        struct.pack_into(
            "<Q", self.data, 0x28, self._append(b"".join(HEADER.pack(*header) for header in self.headers))
        )
        struct.pack_into("<H", self.data, 0x3C, len(self.headers))
        return bytes(self.data)


def sections(flags: int) -> bytes:
    module = Module()
    while len(module.headers) < MOST_SECTIONS:
        module.add(NOBITS, bytes(8), flags)
    return module.file()


def symbols(place: int, bind: int) -> bytes:
    module = Module()
    module.grow(module.number(SYMTAB), struct.pack("<IBBHQQ", 1, bind << 4, 0, place, 8, 8) * many())
    return module.file()


def relocations(kind: int, offsets: Sequence[int]) -> bytes:
    module = Module()
    target = module.add(PROGBITS, bytes(8 * many()), ALLOC_WRITE)
    content = b"".join(struct.pack("<QQq", offset, 1 << 32 | kind, 0) for offset in offsets)
    module.add(RELA, content, 0, module.number(SYMTAB), target, 24)
    return module.file()


def parameters() -> bytes:
    module = Module("params")
    number = next(
        n for n, header in enumerate(module.headers) if header[2] == 2 and header[5] % 40 == 0 and header[5]
    )
    module.grow(number, bytes(40) * (many() // 10))
    return module.file()


def information() -> bytes:
    module = Module()
    name = module.data.index(b"vermagic=")
    number = next(n for n, h in enumerate(module.headers) if h[1] == PROGBITS and h[4] <= name < h[4] + h[5])
    module.grow(number, b"alias=a*\0depends=x,y\0parm=a:b\0" * (many() // 10))
    return module.file()


LARGE = {
    "sections that are loaded": lambda: sections(ALLOC_WRITE),
    "sections that are not loaded": lambda: sections(0),
    "symbols that are absolute": lambda: symbols(0xFFF1, 1),
    "symbols that are undefined": lambda: symbols(0, 1),
    "symbols that are weak": lambda: symbols(0, 2),
    "symbols of a section": lambda: symbols(1, 1),
    "symbols that are common": lambda: symbols(0xFFF2, 1),
    "relocations of nothing": lambda: relocations(R_X86_64_NONE, [0] * many()),
    "relocations": lambda: relocations(R_X86_64_64, range(0, 8 * many(), 8)),
    "relocations of one place": lambda: relocations(R_X86_64_64, [0] * many()),
    "relocations of an unknown kind": lambda: relocations(77, [0] * many()),
    "parameters": parameters,
    "information": information,
}


@pytest.mark.parametrize("what", LARGE)
def test_a_module_of_too_much_is_loaded_or_refused(machine: Kernel, what: str) -> None:
    with suppress(LoadError):
        machine.insmod(LARGE[what]())
        machine.run(1)
        machine.rmmod(next(iter(machine.modules)))
    machine.insmod(modules()["exporter"])
    assert "exporter" in machine.modules
