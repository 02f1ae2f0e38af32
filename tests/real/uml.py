"""A real kernel in user mode: user-mode-linux with the host's own file system as its root, read-only.

It needs neither root nor KVM and boots in about a second. The guest sees the host's programs, this checkout
and its Python at their places; modules and configuration are mounted over /lib/modules and /etc/modprobe.d,
in the guest alone. A script runs as the guest's init and leaves its results in a directory of the host.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

MODULES = Path("/usr/lib/uml/modules")
PROGRAMS = ("linux.uml", "gcc", "modprobe", "ip", "mount")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_XSTATE = Path(__file__).with_name("uml_xstate.c")

# What the guest's init does before and after the script. halt(8) would want a writable /var.
_INIT = """\
#!/bin/sh
export PATH={path}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts && mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount --bind {modules} /lib/modules
mount --bind {config} /etc/modprobe.d
mount -t hostfs none /mnt -o {results}
{script}
echo finished >/mnt/finished
sync
echo o >/proc/sysrq-trigger
sleep 60
"""


class GuestError(Exception):
    """The guest did not come to its end; the message is its console."""


@dataclass(frozen=True, slots=True)
class Uml:
    """A directory for guests' files."""

    directory: Path

    def run(
        self,
        script: str,
        *,
        config: Path,
        command_line: str = "",
        files: Mapping[str, str] | None = None,
        seconds: float = 1500,
    ) -> Path:
        """Boot, run a shell script as root, and return the directory that is /mnt in the guest.

        ``files`` are put there beforehand, ``config`` becomes /etc/modprobe.d, ``command_line`` is added to
        the kernel's. GuestError if the guest does not finish in ``seconds``.
        """
        results = self.directory / "results"
        results.mkdir()
        for name, text in (files or {}).items():
            path = results / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        init = self.directory / "init"
        init.write_text(
            _INIT.format(path=PATH, modules=MODULES, config=config, results=results, script=script)
        )
        init.chmod(0o755)
        arguments = f"mem=256M rootfstype=hostfs rootflags=/ ro init={init} quiet {command_line}"
        consoles = "con=null con0=null,fd:1 ssl=null"
        console = self.directory / "console"
        with console.open("wb") as output:
            guest = subprocess.Popen(
                ["linux.uml", *arguments.split(), *consoles.split(), f"uml_dir={self.directory}/"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": PATH, "HOME": str(self.directory), "LD_PRELOAD": str(self._preload())},
                start_new_session=True,
            )
            try:
                guest.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
            finally:
                _end(guest)
        if not (results / "finished").exists():
            raise GuestError(console.read_text(errors="replace"))
        return results

    def _preload(self) -> Path:
        library = self.directory / "uml_xstate.so"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, _XSTATE], check=True)
        return library


def require() -> None:
    """Skip the test, saying what to install, where user-mode-linux cannot run."""
    if platform.machine() != "x86_64":
        pytest.skip("user-mode-linux runs on x86 only")
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if missing or not MODULES.is_dir():
        pytest.skip("user-mode-linux is not here: apt-get install user-mode-linux kmod iproute2 gcc")


def release() -> str:
    """The release of the guest's kernel, as its tree of modules is named."""
    return next(entry.name for entry in MODULES.iterdir())


def _end(guest: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a guest: its processes are a session of their own."""
    if guest.poll() is None:
        os.killpg(guest.pid, 9)
        guest.wait()
