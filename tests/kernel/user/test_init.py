"""Process 1 executes the root's own init, at the machine's console."""

from __future__ import annotations

import shutil
from hashlib import md5
from pathlib import Path

import pytest
from tests.kernel.user import programs
from tests.real import debian

from ukmod.errors import KernelPanic, ProgramTimeoutError, Reboot, UsageError
from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

APPLETS = ("sh", "cat", "head", "md5sum", "mount", "poweroff", "reboot", "sleep", "stty")
NAMED = "rdinit=/none init=/other"
ENDLESS = "while :; do sleep 1; done"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with busybox's sh and some of its applets."""
    debian.require("busybox")
    (tmp_path / "bin").mkdir()
    shutil.copy(shutil.which("busybox") or "", tmp_path / "bin/busybox")
    for name in APPLETS:
        (tmp_path / "bin" / name).symlink_to("busybox")
    return tmp_path


def machine(root: Path, cmdline: str = "") -> Kernel:
    return Kernel(image=debian.require().vmlinuz, root=root, init=True, cmdline=cmdline)


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_what_is_typed_reaches_the_shell_at_the_console(root: Path) -> None:
    with machine(root) as k:  # it has no init but /bin/sh
        ended = k.run_init(stdin=b"echo $$ $((6 * 7))\nreboot -f\n")
        assert "Run /bin/sh as init process" in k.dmesg()
        assert "Run /init" not in k.dmesg()
    assert isinstance(ended.reason, Reboot)
    assert "restarted" in str(ended.reason)
    assert b"\n1 42\r\n" in ended.console


def test_long_input_waits_until_it_is_read(root: Path) -> None:
    lines = b"".join(b"%0100d\n" % n for n in range(100))
    script(root / "init", "stty -echo; sleep 5; head -n 100 | md5sum; poweroff -f")
    with machine(root) as k:
        assert md5(lines).hexdigest().encode() in k.run_init(stdin=lines).console


def test_nothing_is_mounted_before_init_does_so(root: Path) -> None:
    (root / "proc").mkdir()
    script(root / "init", "echo /proc/*; mount -t proc proc /proc; cat /proc/mounts; poweroff -f")
    with machine(root) as k:
        lines = k.run_init().console.decode().splitlines()
    assert lines[0] == "/proc/*"
    assert [line.split()[1] for line in lines[1:]] == ["/", "/proc"]


def test_the_command_line_names_an_init(root: Path) -> None:
    script(root / "sbin/init", "poweroff -f")
    with machine(root, NAMED) as k, pytest.raises(KernelPanic) as panic:
        k.run_init()
    assert "Requested init /other failed (error -2)." in str(panic.value)
    script(root / "other", "echo this is $0; poweroff -f")
    with machine(root, NAMED) as k:
        assert k.run_init().console == b"this is /other\r\n"


def test_an_init_that_cannot_be_executed(root: Path) -> None:
    (root / "init").write_bytes(b"nothing")
    (root / "init").chmod(0o755)
    script(root / "sbin/init", "poweroff -f")
    with machine(root) as k:
        k.run_init()
        assert "Failed to execute /init (error -8)" in k.dmesg()


def test_without_an_init_the_kernel_panics(root: Path) -> None:
    (root / "bin/sh").unlink()
    with machine(root) as k, pytest.raises(KernelPanic) as panic:
        k.run_init()
    assert "No working init found." in str(panic.value)


def test_an_init_that_does_not_end(root: Path) -> None:
    script(root / "init", f"echo begun; {ENDLESS}")
    with machine(root) as k:
        with pytest.raises(ProgramTimeoutError) as error:
            k.run_init(timeout=10)
        assert error.value.stdout == b"begun\r\n"
        with pytest.raises(UsageError):
            k.run_init()


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["bullseye", "trixie", "trixie-rt", "sid"])
def test_init_of_other_kernels(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "how").write_text("poweroff")
    (root / "init").write_bytes(programs.build(tmp_path, "init").read_bytes())
    (root / "init").chmod(0o755)
    with Kernel(image=debian.require_other(name).vmlinuz, root=root, init=True) as k:
        lines = k.run_init().console.decode().splitlines()
        assert not k.oopses
        assert not k.warnings
    assert lines == [
        "init: pid 1, parent 0, group 0, session 0",
        "init: argument /init",
        "init: HOME=/",
        "init: TERM=linux",
        "init: a terminal at 111",
        "orphan: my parent is 1",
        "init: 2 children, their statuses add up to 12",
        "init: still here, 2 signals caught, the child's status is 0",
        "init: poweroff",
    ]
