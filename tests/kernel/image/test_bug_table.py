"""Where functions in Python report themselves: a place in the source of the kernel that runs."""

from __future__ import annotations

import pytest

from ukmod.kernel.api import Kernel
from ukmod.kernel.bug import Site
from ukmod.kernel.core import Core
from ukmod.kernel.x86.bug_table import placed

ELSEWHERE = 1
"""A line of another kernel's source."""


@pytest.mark.real
@pytest.mark.parametrize(
    ("site", "warning", "line", "function"),
    [
        (Site("init/main.c", ELSEWHERE, "do_one_initcall"), True, 1284, "do_one_initcall"),
        (Site("kernel/kthread.c", ELSEWHERE, "kthread_park", nth=2, of=4), True, 661, "kthread_park"),
        (Site("kernel/kthread.c", 676, "kthread_park"), True, 676, "kthread_park"),
        (Site("kernel/kthread.c", 524, "inlined", ("__kthread_bind",)), True, 524, "__kthread_bind"),
        (Site("mm/slub.c", ELSEWHERE, "__kmem_cache_free"), False, 419, "__kmem_cache_free"),
        (Site("kernel/workqueue.c", ELSEWHERE, "check_flush_dependency", nth=1, of=2), True, 2635, None),
    ],
)
def test_the_table_of_the_image_has_the_line(
    booted: Kernel, site: Site, warning: bool, line: int, function: str | None
) -> None:
    there, rip = placed(booted.core, site, warning=warning)
    assert (there.file, there.line, there.function) == (site.file, line, function or site.function)
    assert booted.core.memory.read(rip, 2) == b"\x0f\x0b"  # ud2
    found = booted.core.kallsyms.lookup(rip)
    assert found is not None
    assert found.name.split(".")[0] == there.function


@pytest.mark.real
@pytest.mark.parametrize(
    ("site", "warning"),
    [
        (Site("kernel/kthread.c", ELSEWHERE, "kthread_park"), True),  # it has four
        (Site("mm/slub.c", ELSEWHERE, "__kmem_cache_free"), True),  # it has a BUG()
        (Site("mm/page_alloc.c", ELSEWHERE, "do_one_initcall"), True),
        (Site("kernel/kthread.c", ELSEWHERE, "no_such_function"), True),
    ],
)
def test_a_place_that_the_table_does_not_decide_is_left_as_it_is(
    booted: Kernel, site: Site, warning: bool
) -> None:
    assert placed(booted.core, site, warning=warning) == (site, 0)


def test_without_an_image_it_is_a_place_of_the_source_that_was_read(kernel: Core) -> None:
    site = Site("init/main.c", 1284, "do_one_initcall")
    assert placed(kernel, site, warning=True) == (site, 0)
