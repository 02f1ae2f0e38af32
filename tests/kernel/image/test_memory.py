"""What loading and unloading a module leaves of the memory of a kernel with an image."""

from __future__ import annotations

import pytest
from tests.kernel.image.conftest import in_a_copy

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    "name",
    [
        "crc7",
        "loop",  # a queue is freed by work that RCU queues
        "target_core_mod",  # a file that is not there is put by task work
        "dns_resolver",  # keys are collected by a work item
        "snd",  # /proc, /dev, a class
        "nbd",  # 16 disks
    ],
)
def test_loading_and_unloading_costs_nothing(booted: Kernel, name: str) -> None:
    """The second time: the first leaves what the kernel makes once and keeps."""

    def cycles() -> list[list[str]]:
        left = []
        for _ in range(3):
            before = booted.core.slab.in_use()
            assert booted.modprobe(name).status == 0
            assert booted.modprobe("-r", name).status == 0
            booted.settle()
            left.append([str(leak) for leak in booted.core.slab.leaks(known=before)])
        return left[1:]

    assert in_a_copy(booted, cycles) == [[], []]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dccp", "kmem_cache"),  # dccp_fini() destroys one of dccp_init()'s two caches
        ("null_blk", "kernfs_node_cache"),  # a ctx of two maps is added twice, and deleted once
        ("r8192u_usb", "dentry"),  # nobody puts what debugfs_lookup() gets
        ("snd_dummy", "kmalloc-192"),  # snd_info_card_disconnect() clears what snd_info_card_free() frees
    ],
)
def test_a_module_that_leaks_on_the_real_kernel_leaks_the_same_here(
    booted: Kernel, name: str, kind: str
) -> None:
    """Its /proc/slabinfo grows with each cycle; by two objects of kmalloc-192 for snd_dummy, say."""

    def second_cycle() -> list[str]:
        for _ in range(2):
            before = booted.core.slab.in_use()
            assert booted.modprobe(name).status == 0
            assert booted.modprobe("-r", name).status == 0
            booted.settle()
        return [leak.kind for leak in booted.core.slab.leaks(known=before)]

    assert kind in in_a_copy(booted, second_cycle)


def test_what_has_been_left_to_be_freed_later_is_no_leak_once_it_is(booted: Kernel) -> None:
    def leaks() -> list[int]:
        booted.modprobe("zram")
        booted.modprobe("-r", "zram")
        at_once = len(booted.leaks())
        booted.settle()
        return [at_once, sum(leak.kind != "radix_tree_node" for leak in booted.leaks())]

    at_once, later = in_a_copy(booted, leaks)
    assert at_once > later == 0
