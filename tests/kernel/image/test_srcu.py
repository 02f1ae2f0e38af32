"""Readers that an image's own code counts, in a grace period that Python waits for."""

from __future__ import annotations

import pytest
from tests.kernel.image.conftest import in_a_copy

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real


def test_a_grace_period_waits_for_readers_that_count_themselves(booted: Kernel) -> None:
    def wait() -> list[bool]:
        core = booted.core
        assert core.image is not None
        domain = core.slab.kernel_object(core.types.sizeof("srcu_struct"))
        booted.call("init_srcu_struct", domain)
        index = booted.call(core.image.address("__srcu_read_lock"), domain)
        task = core.start("updater", lambda: core.srcu.synchronize(domain) or 0)
        seen = []
        for leave in (False, True):
            if leave:
                booted.call(core.image.address("__srcu_read_unlock"), domain, index)
            core.sched.run(lambda: task.exited, core.clock.now + 10**8)
            seen.append(task.exited)
        booted.call("cleanup_srcu_struct", domain)
        return seen

    assert in_a_copy(booted, wait) == [False, True]
    assert not booted.warnings
