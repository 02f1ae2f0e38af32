"""What a module leaves behind for the kernel to call or to follow, and that a tidy module is not accused."""

from __future__ import annotations

import pytest
from tests.golden import modules

from ukmod.errors import KernelPanic, LoadError
from ukmod.kernel.api import Kernel

CALLS = {
    "timer": "timer bell [leaves], due at 2.000000 s: ring+0x0",
    "object_timer": "timer in an object of kmalloc-64 from leaves_init+",
    "freed_timer": "timer in an object of kmalloc-64 from leaves_init+",
    "hrtimer": "hrtimer clock [leaves], due at 2.00000",
    "work": "work job [leaves]: labour+0x0",
    "delayed_work": "delayed work later [leaves], due at 2.000000 s: labour+0x0",
    "tasklet": "tasklet loom [leaves]: weave+0x0",
    "rcu": "RCU callback in an object of kmalloc-64 from leaves_init+",
    "srcu": "SRCU callback in an object of kmalloc-64 from leaves_init+",
    "thread": "thread spinner (pid 4) of leaves: spin+0x0",
    "notifier": "pointer to ear [leaves] in module_notify_list",
    "helper": "usermode helper /bin/true: washed+0x0",
}
"""What the module ``leaves`` leaves, and how the report of it begins."""
WORKS = {
    "kthread_work": "kthread work chore [leaves]: toil+0x0",
    "kthread_delayed_work": "delayed kthread work duty [leaves], due at 2.0",
}
POINTERS = {"function": "in hook [hooks]", "node": "in nodes [hooks]", "notifier": "in chain+"}
"""What the module ``hooked`` registers with ``hooks``, and where."""


def left_by(name: str, params: str) -> list[str]:
    with Kernel(image=None, tree=modules()["hooks"].parent) as k:
        k.programs.install("/bin/true", lambda _process: 0)
        k.insmod(modules()[name], params)
        k.rmmod(name)
        return [str(one) for one in k.dangling]


@pytest.mark.parametrize("what", CALLS)
def test_what_the_kernel_will_call_is_found_when_the_module_is_unloaded(what: str) -> None:
    (found,) = left_by("leaves", f"what={what}")
    assert found.startswith(CALLS[what])
    assert "[leaves]" in found


@pytest.mark.parametrize("what", [*CALLS, *WORKS])
def test_a_module_that_cancels_and_waits_leaves_nothing(what: str) -> None:
    assert left_by("leaves", f"what={what} tidy=1") == []


@pytest.mark.parametrize("what", WORKS)
def test_work_of_a_kthread_worker_is_found_with_its_thread(what: str) -> None:
    thread, work = left_by("leaves", f"what={what}")
    assert thread == "thread toiler (pid 4) of leaves"
    assert work.startswith(WORKS[what])


@pytest.mark.parametrize("what", POINTERS)
def test_what_is_registered_with_another_module_is_found(what: str) -> None:
    (found,) = left_by("hooked", f"what={what}")
    assert found.startswith("pointer to ")
    assert POINTERS[what] in found


@pytest.mark.parametrize("what", POINTERS)
def test_what_was_taken_back_is_not_found(what: str) -> None:
    assert left_by("hooked", f"what={what} tidy=1") == []


def test_a_module_that_is_refused_leaves_things_behind() -> None:
    with Kernel(image=None) as k:
        with pytest.raises(LoadError):
            k.insmod(modules()["leaves"], "what=timer ret=-19")
        (one,) = k.dangling
        assert (one.kind, one.module, one.due) == ("timer", "leaves", 2_000_000_000)


def test_what_is_pending_crashes_when_its_time_has_come() -> None:
    with Kernel(image=None) as k:
        k.insmod(modules()["leaves"], "what=timer")
        k.rmmod("leaves")
        assert not k.oopses
        with pytest.raises(KernelPanic):
            k.settle()
        assert k.oopses


def test_a_pointer_that_is_overwritten_later_does_not_count() -> None:
    with Kernel(image=None, tree=modules()["hooks"].parent) as k:
        k.insmod(modules()["hooked"], "what=function")
        k.rmmod("hooked")
        assert len(k.dangling) == 1
        k.call("hooks_set", None)
        assert not k.dangling


def test_a_module_that_is_loaded_later_is_not_blamed_for_the_first() -> None:
    with Kernel(image=None, tree=modules()["hooks"].parent) as k:
        k.insmod(modules()["hooked"], "what=notifier")
        k.rmmod("hooked")
        k.insmod(modules()["hooked"], "")
        k.rmmod("hooked")
        assert len(k.dangling) == 1
