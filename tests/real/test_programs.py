"""The same compiled program and modules, on the real kernel and in ring 3 of the emulated one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.golden import RELEASE
from tests.kernel.user import programs
from tests.kernel.user.conftest import device
from tests.real import debian, guest, qemu

from ukmod.kernel.api import Kernel

pytestmark = [pytest.mark.real, pytest.mark.slow]

SUBJECTS = (*programs.SUBJECTS, *programs.DEVICES)
RUNS = (
    *(f"trial {subject}" for subject in SUBJECTS),
    *(f"threads {subject}" for subject in (*programs.THREADS, "conduit")),
    "timers",
    "followers",
    "clones",
    "clones pids",
    "clocks",
    "dumps",
    "peeks",
)
"""Each program, in /bin, with its arguments."""
PRELUDE = f"""\
cd /lib/modules/{RELEASE}/extra
for module in {" ".join(programs.DEVICES)}; do insmod $module.ko; done
run() {{
    printf '{programs.STDIN.decode()}' | PATH={programs.PATH} /bin/"$@" >/tmp/out 2>/tmp/err
    echo "@status $?"
    sed 's/^/@out /' /tmp/out
    sed 's/^/@err /' /tmp/err
}}
"""


def outcomes(text: str) -> list[programs.Outcome]:
    """What the guest's script has written about each run."""
    found = []
    for part in text.split("@status ")[1:]:
        status, *lines = part.splitlines()
        out, err = (
            "".join(line.removeprefix(mark) + "\n" for line in lines if line.startswith(mark))
            for mark in ("@out ", "@err ")
        )
        found.append((int(status), out, err))
    return found


def test_a_program_does_what_it_does_on_the_real_kernel(tmp_path: Path) -> None:
    names = ("trial", "threads", "timers", "followers", "clones", "clocks", "dumps", "peeks")
    built = [programs.build(tmp_path, name) for name in names]
    modules = [Path(device(name)) for name in programs.DEVICES]
    kernel = debian.require("qemu-system-x86_64", "busybox", "cpio")
    real = qemu.boot(kernel, modules, tmp_path / "guests", programs=built)
    script = guest.PRELUDE + PRELUDE + "".join(f"run {one}\n" for one in RUNS)
    expected = outcomes(real.run(script).text)
    with Kernel(image=kernel.vmlinuz) as k:
        for program in built:
            k.put(program, f"/bin/{program.name}")
        for module in modules:
            k.insmod(str(module))
        done = [k.exec(f"/bin/{one}".split(), stdin=programs.STDIN) for one in RUNS]
        assert not k.core.oopses
    found = [(one.status, one.stdout.decode(), one.stderr.decode()) for one in done]
    assert dict(zip(RUNS, found, strict=True)) == dict(zip(RUNS, expected, strict=True))


def test_dev_kmsg_gives_the_real_kernels_answers(tmp_path: Path) -> None:
    program = programs.build(tmp_path, "kmsg")
    kernel = debian.require("qemu-system-x86_64", "busybox", "cpio")
    real = qemu.boot(kernel, [], tmp_path / "guests", programs=[program])
    expected = real.run(guest.PRELUDE + "/bin/kmsg\n").text
    with Kernel(image=kernel.vmlinuz) as k:
        k.put(program, "/bin/kmsg")
        k.sysctl("kernel.printk_devkmsg", "on")  # as the real one is booted
        assert k.exec(["/bin/kmsg"]).stdout.decode() == expected
        assert not k.core.oopses
