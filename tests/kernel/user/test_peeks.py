"""A tracer looks at the signals that are queued for its tracee."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kernel.user import programs
from tests.real import debian

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

EXPECTED = """\
status 0x137f
from 0, flags 1, 8: 3 of them, 34 code -1 value 10, 35 code -1 value 11, 34 code -1 value 12
from 1, flags 1, 1: 1 of them, 35 code -1 value 11
from 3, flags 1, 8: 0 of them
from 0, flags 0, 8: 1 of them, 36 code -6 value 7
from 0, flags 2, 8: -1 Invalid argument
from 0, flags 0, -1: -1 Invalid argument
from 18446744073709551615, flags 0, 1: 0 of them
from 0, flags 1, 1: -1 Bad address
status 0x9
"""
"""What examples/programs/peeks.c says on the host's kernel."""


def test_queued_signals_are_those_of_the_real_kernel(tmp_path: Path) -> None:
    with Kernel(image=debian.require().vmlinuz) as k:
        k.put(programs.build(tmp_path, "peeks"), "/bin/peeks")
        done = k.exec(["/bin/peeks"])
        assert (done.stdout.decode(), done.stderr, done.status) == (EXPECTED, b"", 0)
        assert not k.oopses
