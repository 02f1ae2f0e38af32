"""docs/reference/libkmod.md leaves out no function of libkmod's, and names none of ours that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from ukmod import kmod

TABLE = (Path(__file__).parents[2] / "docs/reference/libkmod.md").read_text()
ROWS = re.findall(r"^\| (`.*?) \| (.*) \|$", TABLE, re.MULTILINE)
OURS = sorted({name for _theirs, ours in ROWS for name in re.findall(r"`([\w.]+)`", ours)})


@pytest.mark.parametrize("name", OURS)
def test_what_it_names_is_there(name: str) -> None:
    home, _, member = name.partition(".")
    value = getattr(kmod, home)
    annotated = getattr(value, "__annotations__", {}) | dict.fromkeys(getattr(value, "__slots__", ()))
    assert not member or hasattr(value, member) or member in annotated


@pytest.mark.real
def test_the_table_names_every_function_that_libkmod_exports() -> None:
    libraries = [*Path("/").glob("lib/*/libkmod.so.2"), *Path("/").glob("usr/lib/*/libkmod.so.2")]
    if not libraries:
        pytest.skip("no libkmod: run tools/debian.sh as root")
    with libraries[0].open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".dynsym").iter_symbols()
        exported = {one.name for one in symbols if one["st_shndx"] != "SHN_UNDEF"}
    named = {name for theirs, _ours in ROWS for name in re.findall(r"`(kmod_\w+)`", theirs)}
    functions = {name for name in exported if name.startswith("kmod_")}
    assert len(functions) > 70
    assert functions - named == set()
