"""The same root file system, booted by its own init on the real kernel and in the emulated machine."""

from __future__ import annotations

import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from tests.kernel.user import programs, roots
from tests.kernel.user.conftest import device
from tests.real import debian, initramfs, qemu

from ukmod.errors import KernelPanic
from ukmod.kernel.api import Kernel
from ukmod.kernel.user.init import boot_init

pytestmark = [pytest.mark.real, pytest.mark.slow]

KERNELS_OWN = re.compile(r"\[ *\d+\.\d+\] ?")
APPLETS = ("sh", "mount", "cat", "grep", "insmod", "kill", "poweroff", "rmmod", "sleep", "stty", "tr")
INITTAB = "::sysinit:/etc/init.d/rcS\n"
RC_S = """\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo "process 1 is $(cat /proc/1/comm), I am $PPID's child"
stty -a | grep -o "icanon.*"
insmod /quanta.ko
grep quanta /proc/devices | tr -d 0-9
printf hello >/dev/quanta0; cat /dev/quanta0; echo
rmmod quanta
(sleep 1; echo later) &
kill -9 1
sleep 2
echo the end
poweroff
"""
"""A script of busybox's init, which uses a module."""


def said(console: str) -> list[str]:
    """The lines of a console that are not the kernel's."""
    lines = console.replace("\r", "").splitlines()
    return [line for line in lines if line and not KERNELS_OWN.match(line)]


def panics(console: str) -> list[str]:
    """What the kernel says of its panic."""
    return re.findall(r"^\[[^]]*\] (Kernel panic - .*)", console.replace("\r", ""), re.MULTILINE)


def on_the_real_kernel(root: Path, directory: Path) -> str:
    kernel = debian.require("qemu-system-x86_64", "cpio")
    initramfs.pack(root, directory / "root.cpio")
    return qemu.console_of(kernel.vmlinuz, directory / "root.cpio")


def test_busybox_init_runs_its_scripts(tmp_path: Path) -> None:
    kernel = debian.require("busybox", "qemu-system-x86_64", "cpio")
    root = tmp_path / "root"
    roots.add_programs(root, {"bin/busybox": shutil.which("busybox") or "/bin/busybox"})
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    for path in ("sbin", "proc", "sys", "dev", "etc/init.d"):
        (root / path).mkdir(parents=True)
    (root / "init").symlink_to("bin/busybox")
    (root / "etc/inittab").write_text(INITTAB)
    (root / "etc/init.d/rcS").write_text(RC_S)
    (root / "etc/init.d/rcS").chmod(0o755)
    shutil.copy(device("quanta"), root)
    expected = said(on_the_real_kernel(root, tmp_path))
    with Kernel(image=kernel.vmlinuz, root=root, init=True) as k:
        ended = k.run_init()
        assert "halted" in str(ended.reason)
        assert not k.oopses
    assert said(ended.console.decode()) == expected
    assert "hello" in expected


@pytest.mark.parametrize("how", ["poweroff", "exit", "crash"])
def test_process_1_is_as_on_the_real_kernel(how: str, tmp_path: Path) -> None:
    kernel = debian.require("qemu-system-x86_64", "cpio")
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    shutil.copy(programs.build(tmp_path, "init"), root / "init")
    (root / "how").write_text(how)
    expected = on_the_real_kernel(root, tmp_path)
    output: list[bytes] = []
    with Kernel(image=kernel.vmlinuz, root=root, init=True) as k:
        k.boot()
        with nullcontext() if how == "poweroff" else pytest.raises(KernelPanic, match="kill init"):
            assert boot_init(k.core, bytes, lambda data: not output.append(data), 60) is not None
        assert panics(k.dmesg()) == panics(expected)
        assert bool(panics(expected)) == (how != "poweroff")
    assert said(b"".join(output).decode()) == said(expected)
