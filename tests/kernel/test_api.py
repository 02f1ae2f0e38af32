"""ukmod.Kernel, where it is more than the parts that it puts together."""

from __future__ import annotations

import errno
import time

import pytest
from tests.golden import modules

from ukmod.errors import LoadError
from ukmod.kernel.api import DEFERRED, Kernel
from ukmod.kernel.printk import Record
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.machine.abi import CStr, Int
from ukmod.machine.memory import Fault


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


def test_a_module_whose_exit_function_oopses_is_not_unloaded() -> None:
    def printk(fmt: CStr) -> Int:
        if b"exit" in fmt:
            raise Fault(8, write=True)
        return 0

    with Kernel() as k:
        k.export(printk, name="_printk")
        k.insmod(modules()["exporter"])
        with pytest.raises(LoadError, match="exporter: its exit function did not return") as caught:
            k.rmmod("exporter")
        assert caught.value.errno == errno.EFAULT
        assert list(k.modules) == ["exporter"]
        assert len(k.oopses) == 1


def test_a_last_line_without_a_newline_is_in_dmesg_and_can_still_be_continued() -> None:
    heard: list[Record] = []
    with Kernel() as k:
        k.on_record(heard.append)
        k.insmod(modules()["ok_dep"])
        k.call("_printk", "half")
        assert k.dmesg().endswith("] half\n")
        k.call("_printk", "\1chalf")
        assert k.dmesg().endswith("] half\n"), "a continuation by another task is a line of its own"
        assert heard[-1].text == "half"
    assert [record.text for record in heard][-2:] == ["half", "half"], (
        "closing the machine ends the last line"
    )
