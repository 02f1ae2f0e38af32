"""Flags in words, ``%pG``: the image's own tables name them."""

from __future__ import annotations

import pytest
from tests.kernel.image.computing import Image, Run

from ukmod.kernel.lib.vsprintf_flags import gfp_names

pytestmark = pytest.mark.real


def test_flags_have_the_names_and_bits_of_the_images_table(run: Run) -> None:
    def rename(image: Image) -> list[str]:
        k = image.k.core
        assert k.image is not None
        table = k.image.address("gfpflag_names")
        before = gfp_names(k, 0x821)
        entries = range(table, table + 0x400, 16)
        atomic = next(entry for entry in entries if k.memory.u64(entry) == 0xA20)  # GFP_ATOMIC until v6.3
        k.memory.write(atomic, (0x820).to_bytes(8, "little"), force=True)
        return [before, gfp_names(k, 0x821)]

    assert run(rename) == ["GFP_NOWAIT|GFP_DMA|__GFP_HIGH", "GFP_ATOMIC|GFP_DMA"]
