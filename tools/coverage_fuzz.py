"""Fuzz a parser, guided by the code that its input reaches: ``coverage_fuzz.py PARSER [OPTION ...]``.

PARSER is a key of PARSERS; the options are libFuzzer's, such as ``-max_total_time=60`` and a directory of
samples. atheris does the work. It stops at an input that is answered by
anything but an error of ukmod's own, and writes it to a file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from stat import S_IFREG
from typing import Final

import atheris

with atheris.instrument_imports(include=["ukmod"]):
    from ukmod.errors import UkmodError
    from ukmod.kmod.archives.containers import entries_of
    from ukmod.kmod.archives.files import ArchiveFiles
    from ukmod.kmod.config import Config, parse_config
    from ukmod.kmod.cpio import ArchiveEntry
    from ukmod.kmod.elf import Elf
    from ukmod.kmod.grub.execution import execute
    from ukmod.kmod.index import Index
    from ukmod.kmod.sh.parser import parse
    from ukmod.kmod.sh.syntax import NotUnderstoodError, ShellSyntaxError
    from ukmod.kmod.signature import parse_signature
    from ukmod.machine.image.kallsyms import read_kallsyms
    from ukmod.machine.image.ksymtab import read_exports
    from ukmod.machine.image.payload import unpack
    from ukmod.machine.image.vmlinux import Vmlinux
    from ukmod.machine.types import Btf, TypeSource
    from ukmod.machine.types.dwarf import Dwarf

_LIMIT = 1 << 24


def _elf(data: bytes) -> None:
    elf = Elf(data)
    elf.modinfo()
    elf.versions()
    list(elf.symbols)


def _btf(data: bytes) -> None:
    source = TypeSource(Btf(b"\x9f\xeb" + data))
    for name in ("task_struct", "module", "int"):
        source.type(name)
        source.prototype(name)


def _dwarf(data: bytes) -> None:
    elf = Elf(data)
    if not Dwarf.is_in(elf):
        return
    dwarf = Dwarf(elf)
    for name, _tag in list(dwarf.names())[:100]:
        TypeSource(dwarf).type(name)


def _index(data: bytes) -> None:
    index = Index(data)
    for key in ("a", "pci:v00008086d0000100Esv", "symbol:a"):
        index.lookup(key)
        index.lookup_wild(key)
    list(index.items())


def _archive(data: bytes) -> None:
    for entry in ArchiveFiles("/a", entries_of(memoryview(data), "/a")).entries_in(""):
        bytes(entry.content)


def _payload(data: bytes) -> None:
    unpack(data, limit=_LIMIT)


def _image(data: bytes) -> None:
    vmlinux = Vmlinux(data)
    for read in (Vmlinux.banner, read_exports, read_kallsyms):
        with suppress(UkmodError):
            read(vmlinux)


def _config(data: bytes) -> None:
    parse_config(Config(), data.decode("utf-8", "surrogateescape"), "a.conf")


def _shell(data: bytes) -> None:
    with suppress(NotUnderstoodError, ShellSyntaxError):
        parse(data.decode("utf-8", "surrogateescape"))


def _grub(data: bytes) -> None:
    files = ArchiveFiles("/a", [ArchiveEntry("boot/grub/grub.cfg", S_IFREG | 0o644, data)])
    execute(files, "/a", "/a/boot/grub/grub.cfg")


PARSERS: Final[dict[str, Callable[[bytes], object]]] = {
    "archive": _archive,
    "btf": _btf,
    "config": _config,
    "dwarf": _dwarf,
    "elf": _elf,
    "grub": _grub,
    "image": _image,
    "index": _index,
    "payload": _payload,
    "shell": _shell,
    "signature": parse_signature,
}


def main(argv: list[str]) -> None:
    """Fuzz until libFuzzer ends."""
    parse = PARSERS[argv[1]]

    def attempt(data: bytes) -> None:
        with suppress(UkmodError):
            parse(data)

    atheris.Setup([argv[0], *argv[2:]], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
