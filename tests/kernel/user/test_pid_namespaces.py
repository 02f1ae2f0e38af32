"""Pid namespaces of programs: numbers, signals to their init, and the end of all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kernel.user import programs
from tests.real import debian

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

EXPECTED = """\
child: pid 1, tid 1, parent 0, group 0, session 0
child: setsid 1
child: group 1, session 1
its child, which returns its number: ended, status 0x200
it was 2; kill(1, 0) 0, kill(999, 0) -1
mount 0
levels and number: 1001
names: ended, status 0x100
outer: 1
child: pid 1, tid 1, parent 0, group 0, session 0
child: setsid 1
child: group 1, session 1
its child, which returns its number: ended, status 0x200
it was 2; kill(1, 0) 0, kill(999, 0) -1
mount 0
levels and number: 1001
inner: ended, status 0x100
nested: ended, status 0
levels and number: 2001
init: signal 10 from 0
signalled: ended, status 0x200
init: kill itself 0
still there: 0
killed: ended, status 0x9
leaves children: ended, status 0x300
init: 2 ended, status 0x400
init: 3 ended, status 0x500
adopts: ended, status 0
unshare 0
a thread: -1
the first: status 0x600, here another
the second: Cannot allocate memory
setns 0
the third: ended, status 0x700
unshared: ended, status 0
child: status 0x800
orphan: status 0x900
subreaper: ended, status 0
child: pid 1, tid 1, parent 0, group 0, session 0
child: setsid 1
child: group 1, session 1
its child, which returns its number: ended, status 0x200
it was 2; kill(1, 0) 0, kill(999, 0) -1
mount 0
levels and number: 1001
in a user namespace: ended, status 0x100
a thread of one: -1
"""
"""What examples/programs/pids.c says on Debian's 6.1 under QEMU."""


def check(vmlinuz: Path, directory: Path) -> None:
    with Kernel(image=vmlinuz) as k:
        k.put(programs.build(directory, "pids"), "/bin/pids")
        done = k.exec(["/bin/pids"])
        assert (done.stdout.decode(), done.stderr, done.status) == (EXPECTED, b"", 0)
        assert not k.oopses
        assert not k.warnings


def test_tasks_are_called_in_their_namespaces_what_the_real_kernel_calls_them(tmp_path: Path) -> None:
    check(debian.require().vmlinuz, tmp_path)


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["bullseye", "trixie", "sid"])
def test_tasks_have_the_numbers_of_6_1_on_other_kernels(name: str, tmp_path: Path) -> None:
    check(debian.require_other(name).vmlinuz, tmp_path)
