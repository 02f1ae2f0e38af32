"""ukmod.Kernel, where it is more than the parts that it puts together."""

from __future__ import annotations

import time

import pytest
from tests.golden import modules

from ukmod.kernel.api import DEFERRED, Kernel
from ukmod.kernel.time.clock import NSEC_PER_SEC


def test_settling_is_waited_for_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with Kernel(realtime=True) as k:
        k.insmod(modules()["ok_dep"])
        before = k.core.clock.now
        k.settle()
        assert k.core.clock.now == before + DEFERRED * NSEC_PER_SEC
        assert slept == []
        k.run(100)
        assert 90 < max(slept) <= 100, "time is real again, and goes on from there"
