"""Modules of examples/devices, used by a C program: under QEMU, and here.

Remakes what it did under QEMU: ``python -m tests.real.devices``, from the repository's root.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests import golden
from tests.real import debian, qemu

from ukmod.kernel.api import Kernel

SOURCES = golden.REPOSITORY / "examples/programs/devices"
MODULES = golden.REPOSITORY / "tests/data/devices" / golden.RELEASE
NAMES = (
    "quanta", "conduit", "window", "shelf", "errand", "mirror", "crowd", "tune", "grove", "chime", "gates",
    "keys", "line", "ware", "port", "disk", "wire", "herald", "ledger", "marks",
)  # fmt: skip
"""The modules, each with the part of the program that uses it."""
NEEDED = (
    "drivers/input/evdev", "drivers/uio/uio", "lib/crc16", "fs/mbcache", "fs/jbd2/jbd2",
    "crypto/crc32c_generic", "fs/ext4/ext4",
)  # fmt: skip
"""Modules of the kernel's own that those, or what the program does, need; in the order in which they load."""
TRANSCRIPT = golden.REPOSITORY / "tests/golden" / golden.RELEASE / "devices"
_HEADER = (
    f"# What Linux {golden.RELEASE} (Debian 12) did under QEMU with examples/programs/devices.",
    "# Remade by: python -m tests.real.devices",
)
_SCRIPT = """\
export PATH=/sbin:/bin
busybox --install -s /bin
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
dmesg -n 1
insmod /lib/modules/*/extra/quanta.ko; rmmod quanta  # the kernel is tainted only once
for name in {needed}; do insmod /lib/modules/*/extra/$name.ko; done
ifconfig lo up
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
_TIME = re.compile(r"^(<\d+>)\[ *\d+\.\d+\] |(?<=/input/input)\d+$", re.MULTILINE)
"""What no two machines agree on: times, and the numbers of input devices."""


def build(directory: Path) -> list[Path]:
    """Compile the program, without libraries that are loaded later, and make a file system that it mounts."""
    program, disk, files = directory / "devices", directory / "ext4.img", directory / "files"
    options = ("-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result", "-D_GNU_SOURCE", "-static")
    subprocess.run(["gcc", *options, "-o", program, *sorted(SOURCES.glob("*.c"))], check=True)
    files.mkdir(exist_ok=True)
    (files / "greeting").write_text("hello\n")
    disk.unlink(missing_ok=True)
    mkfs = ["/sbin/mkfs.ext4", "-q", "-b", "1024", "-N", "64", "-d", str(files), str(disk), "8M"]
    subprocess.run(mkfs, check=True)
    return [program, disk]


def needed(kernel: debian.Debian) -> list[Path]:
    """The files of NEEDED."""
    return [kernel.modules / "kernel" / f"{name}.ko" for name in NEEDED]


def under_qemu(kernel: debian.Debian, programs: Sequence[Path], cache: Path) -> str:
    """What the real kernel did: for each module the output and the status of the program, and the log."""
    modules = [*(MODULES / f"{name}.ko" for name in NAMES), *needed(kernel)]
    guest = qemu.boot(kernel, modules, cache, programs=programs)
    names = " ".join(file.stem for file in needed(kernel))
    text = guest.run(_SCRIPT.format(names=" ".join(NAMES), needed=names)).text.replace("\r", "")
    return _TIME.sub(r"\1", text)


def prepare(k: Kernel, programs: Sequence[Path], kernel: debian.Debian) -> None:
    """Have in the emulated machine what the guest's script prepares."""
    for file in programs:
        k.put(file, f"/bin/{file.name}")
    k.insmod(str(MODULES / "quanta.ko"))
    k.rmmod("quanta")
    for module in needed(kernel):
        k.insmod(str(module))
    k.netdev("lo").up()


def here(k: Kernel, name: str) -> str:
    """The same of the emulated kernel, with one module."""
    before = len(k.dmesg(raw=True))
    k.insmod(str(MODULES / f"{name}.ko"))
    done = k.exec(["/bin/devices", name])
    k.rmmod(name)
    log = _TIME.sub(r"\1", k.dmesg(raw=True)[before:])
    return f"== {name}\n{done.stdout.decode()}status {done.status}\n{log}"


def stored() -> dict[str, str]:
    """What the real kernel did, by module."""
    _, *parts = TRANSCRIPT.read_text().split("== ")
    return {part.partition("\n")[0]: f"== {part}" for part in parts}


def main() -> None:
    """Remake the transcript."""
    kernel = debian.found()
    home = golden.cache("devices")
    found = under_qemu(kernel, build(home), home / "guests")
    golden.write(TRANSCRIPT, _HEADER, found)


if __name__ == "__main__":
    main()
