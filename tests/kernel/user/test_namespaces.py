"""Namespaces and filters of system calls of a program and its children."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kernel.user import programs
from tests.real import debian

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

EXPECTED = """\
child: inner
status 0x100
parent: machine
child: 0
status 0x200
parent: -1
child: 1 device
status 0x300
clone: Operation not permitted
child: uid 65534, setuid -1
/proc/self/setgroups: Permission denied
/proc/self/uid_map: Permission denied
/proc/self/gid_map: Permission denied
child: uid 65534 gid 65534, sethostname -1
child: unshare 0, sethostname -1
child: machine
status 0x400
child: inner
status 0x100
status 0
child: inner
status 0x100
parent: inner
status 0x600
clone: Invalid argument
clone: Invalid argument
parent: machine
child: getppid works
status 0x500
child: getppid Numerical argument out of domain
status 0x500
mode 2
status 0x700
child: getppid works
status 0x500
"""
"""What examples/programs/namespaces.c says on Debian's 6.1 under QEMU."""


def check(vmlinuz: Path, directory: Path) -> None:
    with Kernel(image=vmlinuz) as k:
        k.put(programs.build(directory, "namespaces"), "/bin/namespaces")
        done = k.exec(["/bin/namespaces"])
        assert (done.stdout.decode(), done.stderr, done.status) == (EXPECTED, b"", 0)
        assert not k.oopses
        assert not k.warnings


def test_children_have_the_namespaces_and_filters_of_the_real_kernel(tmp_path: Path) -> None:
    check(debian.require().vmlinuz, tmp_path)


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["bullseye", "trixie", "sid"])
def test_children_have_the_namespaces_and_filters_of_6_1_on_other_kernels(name: str, tmp_path: Path) -> None:
    check(debian.require_other(name).vmlinuz, tmp_path)
