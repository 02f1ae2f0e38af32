"""Instructions that the kernel patches are not overwritten by the jumps to Python's functions."""

from __future__ import annotations

import pytest
from tests.kernel.image.conftest import in_a_copy
from tests.kernel.image.test_interpose import leads_to

from ukmod.kernel.api import Kernel
from ukmod.kernel.image.sites import SITE_SIZE, free_place, patched_sites

FUNCTION = 0x1000
NAME = "raise_softirq_irqoff"
"""A function of 6.1 with a jump of the static key of a tracepoint in its first five bytes."""


@pytest.mark.parametrize(
    ("sites", "size", "wanted", "place"),
    [
        ((), 5, 5, 0),
        ((), 4, 5, None),
        ((5,), 10, 5, 0),
        ((3,), 20, 5, 8),
        ((3,), 12, 5, None),
        ((3,), 20, 2, 0),
        ((0,), 20, 2, 5),
        ((3, 10), 20, 5, 15),
        ((-4,), 20, 5, 1),
    ],
)
def test_a_place_is_free_if_no_site_overlaps_it(
    sites: tuple[int, ...], size: int, wanted: int, place: int | None
) -> None:
    assert free_place({FUNCTION + site for site in sites}, FUNCTION, size, wanted) == place


@pytest.mark.real
def test_static_keys_and_calls_are_listed(booted: Kernel) -> None:
    image = booted.core.image
    assert image is not None
    tables = list(patched_sites(image.image).values())
    assert tables.count("__jump_table") > 5000
    assert tables.count("static_call_sites") > 3000


@pytest.mark.real
def test_the_jump_lies_behind_a_site_at_the_entry(booted: Kernel) -> None:
    image = booted.core.image
    assert image is not None
    at = image.address(NAME)
    assert [site - at for site in patched_sites(image.image) if at <= site < at + SITE_SIZE] == [3]
    assert leads_to(booted, NAME) is not None


@pytest.mark.real
def test_a_static_key_at_the_entry_can_be_enabled(booted: Kernel) -> None:
    """Each jump of a key is checked when it is patched."""

    def enable() -> list[str]:
        image = booted.core.image
        assert image is not None
        key = image.address("__tracepoint_softirq_raise") + booted.core.types.offset("tracepoint", "key")
        for function in ("static_key_slow_inc", "static_key_slow_dec"):
            booted.call(function, key)
        return [str(oops) for oops in booted.oopses]

    assert in_a_copy(booted, enable) == []
