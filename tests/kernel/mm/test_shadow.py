"""The shadow of memory that a kernel with KASAN looks at: a byte for each eight bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ukmod.kernel.mm import shadow as mm_shadow
from ukmod.kernel.mm.kasan_checks import kind_of, shadow_lines
from ukmod.kernel.mm.shadow import SLAB_FREE, SLAB_REDZONE, Shadow, shadow_of
from ukmod.machine.memory import PAGE_OFFSET, PAGE_SIZE, Fault, Memory

PLACE = PAGE_OFFSET + 0x20_0000


@pytest.fixture
def memory() -> Iterator[Memory]:
    memory = Memory(1 << 24)
    yield memory
    memory.close()


@pytest.fixture
def shadow(memory: Memory) -> Shadow:
    return Shadow(memory)


def test_all_of_the_kernels_half_may_be_accessed_at_first(memory: Memory, shadow: Shadow) -> None:
    before = memory.frames_left()
    for address in (0xFFFF_8000_0000_0000, PLACE, 0xFFFF_FFFF_C000_0000, 0xFFFF_FFFF_FFFF_FFF8):
        assert memory.u8(shadow_of(address)) == 0
        with pytest.raises(Fault):
            memory.set_u8(shadow_of(address), 1)
    assert memory.frames_left() == before


def test_a_page_of_the_shadow_becomes_memory_when_it_is_written(memory: Memory, shadow: Shadow) -> None:
    at = shadow_of(PLACE)
    assert shadow.populate(at)
    assert not shadow.populate(at)
    memory.set_u8(at, SLAB_FREE)
    assert shadow.read(PLACE, 2) == bytes((SLAB_FREE, 0))
    # No other page is touched, though both were the same one.
    assert memory.u8(shadow_of(PLACE + 8 * PAGE_SIZE)) == memory.u8(shadow_of(PLACE + (1 << 40))) == 0


@pytest.mark.parametrize("address", [mm_shadow.START - 1, mm_shadow.END, PLACE, 0])
def test_memory_that_is_no_shadow_is_not_populated(shadow: Shadow, address: int) -> None:
    assert not shadow.populate(address)


def test_a_granule_may_be_accessible_in_part(memory: Memory, shadow: Shadow) -> None:
    shadow.fill(PLACE, 64, SLAB_REDZONE)
    shadow.allow(PLACE, 20)
    assert shadow.read(PLACE, 4) == bytes((0, 0, 4, SLAB_REDZONE))
    assert memory.read(shadow_of(PLACE), 4) == bytes((0, 0, 4, SLAB_REDZONE))


def test_marks_may_cross_pages_of_the_shadow(memory: Memory, shadow: Shadow) -> None:
    start = PLACE + 8 * PAGE_SIZE - 16
    shadow.fill(start, 32, SLAB_FREE)
    assert shadow.read(start - 8, 6) == bytes((0, *[SLAB_FREE] * 4, 0))
    shadow.fill(start, 32, 0)
    assert not any(memory.read(shadow_of(start), 4))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0xFA, "use-after-free"), (0xFB, "use-after-free"), (0xFC, "slab-out-of-bounds"),
        (0xF9, "global-out-of-bounds"), (0xF1, "stack-out-of-bounds"), (0xF3, "stack-out-of-bounds"),
        (0xCA, "alloca-out-of-bounds"), (0x80, "unknown-crash"),
    ],
)  # fmt: skip
def test_the_kind_of_misuse_follows_from_the_shadow(shadow: Shadow, value: int, kind: str) -> None:
    shadow.fill(PLACE + 8, 8, value)
    shadow.allow(PLACE, 5)
    assert kind_of(shadow, PLACE + 5, 1) == kind
    assert kind_of(shadow, PLACE + 8, 8) == kind
    assert kind_of(shadow, PLACE, 16) == kind


@pytest.mark.parametrize(
    ("address", "kind"),
    [(0, "null-ptr-deref"), (1 << 40, "user-memory-access"), (1 << 60, "wild-memory-access")],
)
def test_an_address_without_a_shadow_is_wild(shadow: Shadow, address: int, kind: str) -> None:
    assert kind_of(shadow, address, 8) == kind


def test_a_report_points_at_the_granule(shadow: Shadow) -> None:
    shadow.fill(PLACE + 24, 8, SLAB_FREE)
    lines = list(shadow_lines(shadow, PLACE + 24))
    row = lines.index(f">{PLACE:016x}: 00 00 00 fb " + " ".join(["00"] * 12))
    assert lines[row + 1].index("^") == lines[row].index("fb")
    assert len(lines) == 7


@pytest.mark.parametrize("size", [100, 1 << 40, (1 << 64) - 1])
def test_the_first_bad_byte_of_an_access_of_any_size_is_found(shadow: Shadow, size: int) -> None:
    """A search of all granules of such a size would not end."""
    shadow.fill(PLACE + 64, 8, SLAB_FREE)
    assert shadow.first_bad(PLACE, size) == PLACE + 64
    assert shadow.first_bad(PLACE + 3, size) == PLACE + 3 + 64
    assert shadow.first_bad(PLACE + 72, size) == PLACE + 72
    assert shadow.first_bad(PLACE, 0) == PLACE
    assert shadow.first_bad(PLACE + 57, 8) == PLACE + 64  # only its last byte is bad
