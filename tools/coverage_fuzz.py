"""Fuzz a parser, guided by the code that its input reaches: ``coverage_fuzz.py PARSER [OPTION ...]``.

PARSER is a key of PARSERS; the options are libFuzzer's, such as ``-max_total_time=60`` and a directory of
samples. atheris does the work. It stops at an input that is answered by
anything but an error of ukmod's own, and writes it to a file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import atheris

with atheris.instrument_imports(include=["ukmod"]):
    from ukmod.errors import UkmodError
    from ukmod.kmod.elf import Elf
    from ukmod.machine.types import Btf, TypeSource
    from ukmod.machine.types.dwarf import Dwarf


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
    dwarf = Dwarf(Elf(data))
    for name, _tag in list(dwarf.names())[:100]:
        TypeSource(dwarf).type(name)


PARSERS: Final[dict[str, Callable[[bytes], None]]] = {"elf": _elf, "btf": _btf, "dwarf": _dwarf}


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
