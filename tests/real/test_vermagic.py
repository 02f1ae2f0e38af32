"""Modules of other kernels, and such as lie: what is written of them is what the real kernel does."""

from __future__ import annotations

import os
import re
from errno import ENOEXEC

import pytest
from tests.real import debian, initramfs, qemu
from tests.vermagic import ATTEMPTS, Attempt

pytestmark = pytest.mark.real

SCRIPT = """\
dmesg() {{ /bin/busybox dmesg "$@"; }}
dmesg -c >/dev/null
cd /lib/modules/*/extra
{command}
dmesg -r
"""
_STAMP = re.compile(r"(?<=^<\d>)\[ *\d+\.\d+\] ")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> qemu.Guest:
    """The booted guest with all these modules in its tree."""
    directory = tmp_path_factory.mktemp("modules")
    for attempt in ATTEMPTS:
        (directory / f"{attempt.name}.ko").write_bytes(attempt.module())
    kernel = debian.require(*initramfs.PROGRAMS)
    return qemu.boot(kernel, sorted(directory.iterdir()), tmp_path_factory.mktemp("guests"))


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_the_real_kernel(machine: qemu.Guest, attempt: Attempt) -> None:
    name = attempt.name
    command = f"/sbin/modprobe -f {name}" if attempt.force else f"/sbin/insmod ./{name}.ko"
    lines = machine.run(SCRIPT.format(command=command)).text.splitlines()
    log = [_STAMP.sub("", line) for line in lines if line.startswith("<")]
    errors = [line for line in lines if " ERROR: " in line]
    words = ("Invalid module format", os.strerror(ENOEXEC))
    errno = ENOEXEC if any(line.endswith(words) for line in errors) else 0
    assert (errno, log, len(errors)) == (attempt.errno, [*attempt.log], bool(attempt.errno))
