"""Builds the guest's root: busybox, the C kmod and its libraries, a tree of modules with indexes, an init."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/sbin", "/usr/sbin"))
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)

PROGRAMS = ("qemu-system-x86_64", "busybox", "cpio", "modprobe", "depmod", "ldd")
"""What must be on the host, besides the kernel, for a guest to be built and run."""

INIT = """\
#!/bin/busybox sh
# Mounts what the steps need, then takes one script from the second serial port and runs it there.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null || /bin/busybox mdev -s
exec </dev/ttyS1 >/dev/ttyS1 2>&1
/bin/busybox stty raw -echo
echo @ready
while IFS= read -r line && [ "$line" != @go ]; do echo "$line"; done >/tmp/script
. /tmp/script
echo @done
/bin/busybox poweroff -f
"""


def absent() -> list[str]:
    """Those of PROGRAMS that are not on this host."""
    return [program for program in PROGRAMS if shutil.which(program, path=_PATH) is None]


def build(target: Path, *, release: str, modules: Iterable[Path], programs: Iterable[Path] = ()) -> None:
    """Write an uncompressed cpio archive to ``target``; ``target.parent`` holds the tree it is made from."""
    root = target.parent / "root"
    shutil.rmtree(root, ignore_errors=True)
    for name in ("bin", "sbin", "dev", "proc", "sys", "tmp", "etc/modprobe.d", "lib", "lib64"):
        (root / name).mkdir(parents=True)
    _copy(_which("busybox"), root / "bin/busybox")
    _copy(_which("modprobe").resolve(), root / "bin/kmod")
    for library in _LIBRARY.findall(_run("ldd", str(_which("modprobe")))):
        _copy(Path(library), root / library.lstrip("/"))
    for applet in ("modprobe", "insmod"):
        (root / "sbin" / applet).symlink_to("/bin/kmod")
    (root / "sbin/rmmod").symlink_to("/bin/busybox")  # kmod's looks at the reference count and does not try
    extra = root / "lib/modules" / release / "extra"
    extra.mkdir(parents=True)
    for module in modules:
        if module.is_dir():
            shutil.copytree(module, extra.parent, dirs_exist_ok=True)
        else:
            _copy(module, extra / module.name)
    for program in programs:
        _copy(program, root / "bin" / program.name)
    _run(str(_which("depmod")), "-b", str(root), release)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    pack(root, target)


def pack(root: Path, target: Path) -> None:
    """Write a directory to an uncompressed cpio archive."""
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    with target.open("wb") as archive:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"],
            input=names.encode(),
            stdout=archive,
            cwd=root,
            check=True,
        )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _which(program: str) -> Path:
    found = shutil.which(program, path=_PATH)
    if found is None:
        raise FileNotFoundError(f"{program} is not installed: run tools/debian.sh")
    return Path(found)


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
