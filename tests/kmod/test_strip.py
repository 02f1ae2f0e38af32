"""Images without version information, for init_module(2)."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import elfwriter

from ukmod.errors import FormatError
from ukmod.kmod.elf import SHF_ALLOC, Elf
from ukmod.kmod.strip import strip_versions

TARGETS = pytest.mark.parametrize(
    "target", elfwriter.TARGETS, ids=lambda target: f"{target.bits}{target.order}"
)


def image(target: elfwriter.Target = elfwriter.X86_64) -> bytes:
    return elfwriter.module(
        "m", "license=GPL", "vermagic=6.1.0 SMP", crcs={"module_layout": 7}, target=target
    )


@TARGETS
def test_modversions(target: elfwriter.Target) -> None:
    before = Elf(image(target)).section("__versions")
    after = Elf(strip_versions(Elf(image(target)), modversions=True, vermagic=False)).section("__versions")
    assert before is not None
    assert after is not None
    assert before.flags & SHF_ALLOC
    assert after.flags == before.flags & ~SHF_ALLOC


@TARGETS
def test_vermagic(target: elfwriter.Target) -> None:
    stripped = strip_versions(Elf(image(target)), modversions=False, vermagic=True)
    assert len(stripped) == len(image(target))
    assert Elf(stripped).modinfo() == [("license", "GPL"), ("name", "m")]


def test_what_is_not_asked_for_stays() -> None:
    assert strip_versions(Elf(image()), modversions=False, vermagic=False) == image()


def test_no_versions_is_no_error_but_no_vermagic_is() -> None:
    bare = elfwriter.module("m")
    assert strip_versions(Elf(bare), modversions=True, vermagic=False) == bare
    with pytest.raises(FormatError, match="no vermagic") as caught:
        strip_versions(Elf(bare), modversions=False, vermagic=True)
    assert caught.value.errno == errno.ENODATA


@given(st.binary(max_size=64), st.integers(0, 3000))
def test_hostile_images(junk: bytes, at: int) -> None:
    damaged = bytearray(image())
    damaged[at : at + len(junk)] = junk
    with suppress(FormatError):
        strip_versions(Elf(bytes(damaged)), modversions=True, vermagic=True)
