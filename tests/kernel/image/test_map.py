"""Mapping an image whose program headers say anything at all."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.imagewriter import BASE, vmlinux

from ukmod.errors import UkmodError
from ukmod.kernel.image.map import MappedImage
from ukmod.machine.image.image import KernelImage
from ukmod.machine.memory import Memory

VMLINUX = vmlinux()
RAM = 16 << 20

EXTREMES = st.sampled_from((0, 1, 0xFFF, 0x1000, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1))
NEAR = st.integers(BASE - 0x3000, BASE + 0x20000)
ADDRESSES = st.just(BASE) | NEAR | st.just(0) | EXTREMES | st.integers(0, (1 << 64) - 1)


@st.composite
def segments(draw: st.DrawFn) -> tuple[int, ...]:
    """A program header of which the file has all that it says, but where to and how much more is anything."""
    offset = draw(st.integers(0, len(VMLINUX)))
    size = draw(st.integers(0, len(VMLINUX) - offset))
    room = size + draw(st.just(0) | st.integers(0, 0x5000) | EXTREMES)
    return 1, draw(st.integers(0, 7)), offset, draw(ADDRESSES), 0, size, room & (1 << 64) - 1, 0


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("map") / "vmlinux"


def with_segments(headers: list[tuple[int, ...]]) -> bytes:
    """VMLINUX with other program headers."""
    data = bytearray(VMLINUX)
    struct.pack_into("<Q", data, 32, len(data))
    struct.pack_into("<H", data, 56, len(headers))
    return bytes(data) + b"".join(struct.pack("<IIQQQQQQ", *segment) for segment in headers)


@given(headers=st.lists(segments(), min_size=1, max_size=4))
def test_any_segments(file: Path, headers: list[tuple[int, ...]]) -> None:
    file.write_bytes(with_segments(headers))
    memory = Memory(RAM)
    k: Any = SimpleNamespace(memory=memory)
    with contextlib.suppress(UkmodError):
        image = MappedImage(k, KernelImage(str(file), cache=""))
        image.mark_rodata_ro()
        image.percpu_section()
    memory.close()
