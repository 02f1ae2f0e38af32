"""ioremap() of more than a resource of the bus: the image's own check warns of it."""

from __future__ import annotations

import pytest
from tests.kernel.image.computing import Image, Run

pytestmark = pytest.mark.real

BAR, SIZE = 0x8_0000_0000, 0x1000
IORESOURCE_MEM = 0x200
SPANS_MORE = (
    "resource: resource sanity check: requesting [mem 0x0000000800000000-0x0000000800001fff], "
    "which spans more than bar [mem 0x800000000-0x800000fff]"
)


def mapped(image: Image, size: int) -> list[str]:
    """The lines that a mapping from the beginning of a resource leaves in the log."""
    bar = image.struct("resource", start=BAR, end=BAR + SIZE - 1, flags=IORESOURCE_MEM)
    name = bar + image.k.core.types.offset("resource", "name")
    image.k.core.memory.set_u64(name, image.put(b"bar\0"))
    root = image.k.address("iomem_resource")
    assert image.k.call("request_resource", root, bar) == 0
    before = len(image.k.dmesg().splitlines())
    assert image.k.call("ioremap", BAR, size, returns="void *")
    return [line.partition("] ")[2] for line in image.k.dmesg().splitlines()[before:]]


def test_a_mapping_of_more_than_a_resource_is_warned_of_with_its_caller(run: Run) -> None:
    check, caller = run(lambda image: mapped(image, 2 * SIZE))
    assert check == SPANS_MORE
    assert caller.startswith("caller ")
    assert caller.endswith(" mapping multiple BARs")


def test_a_mapping_within_a_resource_is_not(run: Run) -> None:
    assert run(lambda image: mapped(image, SIZE)) == []
