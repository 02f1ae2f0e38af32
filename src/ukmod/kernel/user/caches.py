"""The caches of file systems: what they keep of files that are no longer used is no leak."""

from __future__ import annotations

from ukmod.kernel.core import Core
from ukmod.kernel.image.map import MappedImage


def drop_dentries(k: Core, image: MappedImage) -> None:
    """Free unused dentries and the inodes that they keep, as 2 in /proc/sys/vm/drop_caches does."""
    k.cpu.call(image.address("iterate_supers"), image.address("shrink_dcache_sb"), 0)
    k.cpu.call(k.symbols.address("rcu_barrier"))
