"""Caches that are emptied before leaks are counted: those of files that are no longer used, among others."""

from __future__ import annotations

from ukmod.kernel.core import Core
from ukmod.kernel.image.map import MappedImage


def drop_caches(k: Core, image: MappedImage) -> None:
    """Free unused dentries and the inodes that they keep, as 2 in /proc/sys/vm/drop_caches does.

    The nodes that the CPU holds ready for radix trees are freed, too, as if the CPU were taken away.
    """
    k.cpu.call(image.address("iterate_supers"), image.address("shrink_dcache_sb"), 0)
    if (free_nodes := image.get("radix_tree_cpu_dead")) is not None:
        k.cpu.call(free_nodes, 0)
    k.cpu.call(k.symbols.address("rcu_barrier"))
