"""Modules of examples/devices, used by a C program: under QEMU, and here.

Remakes what it did under QEMU: ``python -m tests.real.devices``, from the repository's root.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests import golden
from tests.real import debian, qemu

from ukmod.kernel.api import Kernel

SOURCE = golden.REPOSITORY / "examples/programs/devices.c"
MODULES = golden.REPOSITORY / "tests/data/devices" / golden.RELEASE
NAMES = ("quanta", "conduit", "window", "shelf", "errand", "mirror")
TRANSCRIPT = golden.REPOSITORY / "tests/golden" / golden.RELEASE / "devices"
_HEADER = (
    f"# What Linux {golden.RELEASE} (Debian 12) did under QEMU with examples/programs/devices.c.",
    "# Remade by: python -m tests.real.devices",
)
_SCRIPT = """\
export PATH=/sbin:/bin
busybox --install -s /bin
mount -t debugfs debugfs /sys/kernel/debug
dmesg -n 1
insmod /lib/modules/*/extra/quanta.ko; rmmod quanta  # the kernel is tainted only once
for name in {names}; do
    dmesg -c >/dev/null
    echo "== $name"
    insmod /lib/modules/*/extra/$name.ko
    devices $name
    echo "status $?"
    rmmod $name
    dmesg -r
done
"""
_TIME = re.compile(r"^(<\d+>)\[ *\d+\.\d+\] ", re.MULTILINE)


def build(directory: Path) -> Path:
    """Compile the program, without libraries that are loaded later."""
    program = directory / "devices"
    options = ("-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result", "-D_GNU_SOURCE", "-static")
    subprocess.run(["gcc", *options, "-o", program, SOURCE], check=True)
    return program


def under_qemu(kernel: debian.Debian, program: Path, cache: Path) -> str:
    """What the real kernel did: for each module the output and the status of the program, and the log."""
    guest = qemu.boot(kernel, [MODULES / f"{name}.ko" for name in NAMES], cache, programs=[program])
    text = guest.run(_SCRIPT.format(names=" ".join(NAMES))).text.replace("\r", "")
    return _TIME.sub(r"\1", text)


def here(k: Kernel, program: Path) -> str:
    """The same of the emulated kernel."""
    k.put(program, "/bin/devices")
    k.insmod(str(MODULES / "quanta.ko"))
    k.rmmod("quanta")
    parts = []
    for name in NAMES:
        before = len(k.dmesg(raw=True))
        k.insmod(str(MODULES / f"{name}.ko"))
        done = k.exec(["/bin/devices", name])
        k.rmmod(name)
        log = _TIME.sub(r"\1", k.dmesg(raw=True)[before:])
        parts.append(f"== {name}\n{done.stdout.decode()}status {done.status}\n{log}")
    return "".join(parts)


def stored() -> str:
    """What the real kernel did."""
    return TRANSCRIPT.read_text().split("\n", len(_HEADER))[-1]


def main() -> None:
    """Remake the transcript."""
    kernel = debian.find()
    if kernel is None:
        raise FileNotFoundError(f"no Debian kernel under {debian.cache()}: run {debian.SCRIPT}")
    home = golden.REPOSITORY / ".cache/devices"
    home.mkdir(parents=True, exist_ok=True)
    found = under_qemu(kernel, build(home), home / "guests")
    TRANSCRIPT.write_text("\n".join((*_HEADER, found)))
    sys.stdout.write(f"{TRANSCRIPT}: written\n")


if __name__ == "__main__":
    main()
