"""What a step of the bring-up leaves in the machine can be saved in a snapshot: Python's half is a pickle.

No image is needed to see it: a step is a call in a task of its own, which may wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest
from tests.kernel.conftest import Guest

from ukmod.kernel.core import Core
from ukmod.kernel.image import bringup, pickled
from ukmod.kernel.image.map import MappedImage

IMAGE = cast("MappedImage", SimpleNamespace(image="an image"))


def prepare(k: Core, image: MappedImage) -> None:
    """Stand for ``first`` of a step."""
    assert (k.image, image) == (None, IMAGE)


def saved(guest: Guest) -> int:
    """The size of Python's half of a snapshot of a machine with an image."""
    k = guest.kernel
    k.clock.on_advance = partial(bringup._update_jiffies, k, guest.words(0))
    k.image = IMAGE
    try:
        return len(pickled.dump(k, {}, []).getvalue())
    finally:
        k.image = None


@pytest.mark.parametrize("first", [None, prepare])
@pytest.mark.parametrize("function", ["wait_for_completion", "down", "msleep"])
def test_a_step_that_waits_can_be_saved(
    kernel: Core, guest: Guest, function: str, first: Callable[[Core, MappedImage], object] | None
) -> None:
    argument = guest.put(b"", 256)  # to those that sleep, very many jiffies
    call = bringup._Call(function, kernel.symbols.address(function), "start", (argument,), first)
    assert bringup._call(kernel, IMAGE, call).outcome == "waits"
    assert saved(guest) > 10_000


def test_one_that_leaves_a_closure_cannot(kernel: Core, guest: Guest) -> None:
    """So the test above sees what it looks for."""
    address = kernel.symbols.address("down")
    kernel.start("swapper/0", lambda: kernel.cpu.call(address, guest.put(b"", 256)))
    kernel.run(1)
    with pytest.raises(AttributeError, match="local object"):
        saved(guest)
