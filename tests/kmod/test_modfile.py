"""A module's file: opened, read, unpacked and parsed once, whoever asks for it."""

from __future__ import annotations

import gc
import lzma
import os
from pathlib import Path

import pytest
from tests import elfwriter, signing

from ukmod.errors import FormatError
from ukmod.kmod import modfile
from ukmod.kmod.compression import PackedInput, decompress_packed
from ukmod.kmod.modfile import ModuleFile

MODULE = elfwriter.module("m", "license=GPL", exports={"f": 1}) + bytes(1 << 14)
"""Larger than what is read at once."""


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "m.ko").write_bytes(MODULE)
    return str(tmp_path / "m.ko")


def test_what_was_read_remains_when_the_file_is_closed(path: str) -> None:
    with ModuleFile(path) as file:
        elf = file.elf()
        assert file.contents() == MODULE
    assert file.elf() is elf
    assert ("license", "GPL") in elf.modinfo()
    assert [symbol.name for symbol in elf.symbols if symbol.name == "f"] == ["f"]


def test_an_elf_file_that_was_not_read_needs_its_file_open(path: str) -> None:
    with ModuleFile(path) as file:
        elf = file.elf()
        assert not file.was_read
    with pytest.raises(OSError, match="descriptor"):
        elf.read(64, 64, "the first section")


def test_a_compressed_file_is_unpacked_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(path).write_bytes(lzma.compress(MODULE, check=lzma.CHECK_CRC32))
    unpacked: list[str] = []

    def counted(packed: PackedInput) -> bytes:
        unpacked.append(packed.path)
        return decompress_packed(packed)

    monkeypatch.setattr(modfile, "decompress_packed", counted)
    with ModuleFile(path) as file:
        assert file.signature() is None
        assert file.elf() is file.elf()
        assert file.contents() == MODULE
    assert unpacked == [path]


def test_a_file_that_shrinks_while_it_is_open_is_damaged(path: str) -> None:
    with ModuleFile(path) as file:
        elf = file.elf()
        os.truncate(path, 0)
        with pytest.raises(FormatError, match="shrunk"):
            elf.read(64, 1, "the first section")


def test_a_module_is_freed_without_the_garbage_collector(path: str) -> None:
    gc.collect()
    gc.disable()
    try:
        for contents in (None, MODULE):
            file = ModuleFile(path, contents=contents)
            file.elf()
            file.signature()
            file.close()
            del file
            assert not [one for one in gc.get_objects() if type(one) is ModuleFile]
    finally:
        gc.enable()


def test_a_module_in_memory_has_no_file() -> None:
    signed = signing.append(MODULE, b"junk")
    file = ModuleFile.of(signed, "m.ko")
    assert (file.path, file.fileno(), file.compression) == ("m.ko", -1, "")
    found = file.signature()
    assert found is not None
    assert found.module_size == len(MODULE)
    assert file.elf().fits(len(MODULE))
    file.close()
    assert file.contents() == signed
