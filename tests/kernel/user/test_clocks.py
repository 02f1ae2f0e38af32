"""The alarm of the real-time clock; the other clocks are compared in tests/real/test_programs.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kernel.user import programs
from tests.real import debian

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real


def test_the_alarm_of_the_real_time_clock_wakes_a_program(tmp_path: Path) -> None:
    with Kernel(image=debian.require().vmlinuz) as k:
        k.put(programs.build(tmp_path, "clocks"), "/bin/clocks")
        done = k.exec(["/bin/clocks", "alarm"])
        # RTC_IRQF, RTC_AF, and one interrupt
        assert done.stdout.decode() == "alarm 0, on 0, read 8, flags 0x1a0, 2 s later 1\n"
        assert not k.oopses
