"""What the kernel logs of its faults while it works for a program: under QEMU, and here.

Remakes what it did under QEMU: ``python -m tests.real.stumbles``, from the repository's root.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests import golden
from tests.real import debian, qemu

from ukmod.kernel.api import Kernel

SOURCE = golden.REPOSITORY / "examples/programs/stumble.S"
MODULE = golden.REPOSITORY / "tests/data/devices" / golden.RELEASE / "stumble.ko"
WAYS = "wsbnjr"
"""A warning, dump_stack(), BUG(), a null pointer that is written to, one that is called, and one that is
written to while the program ends, of which its parent is never told."""
TRANSCRIPT = golden.REPOSITORY / "tests/golden" / golden.RELEASE / "stumbles"
_HEADER = (
    f"# What Linux {golden.RELEASE} (Debian 12) did under QEMU with examples/programs/stumble.S.",
    "# Remade by: python -m tests.real.stumbles",
)
_SCRIPT = f"""\
export PATH=/sbin:/bin
exec 2>/dev/null  # the shell says how a program ended
dmesg -n 1
insmod /lib/modules/*/extra/stumble.ko
for way in {" ".join(WAYS)}; do
    dmesg -c >/dev/null
    stumble $way &
    child=$!
    case $way in r) sleep 1; echo "== $way";; *) wait $child; echo "== $way $?";; esac
    dmesg -r
done
"""
_VARYING = (
    (re.compile(r"^(<\d>)\[ *\d+\.\d+\] "), r"\1"),
    (re.compile(r"PID: \d+"), "PID: <n>"),
    (re.compile(r"(?<=note: stumble)\[\d+\]"), "[<n>]"),
    (re.compile(r" at \S+/(?=stumble\.c)"), " at "),
    (re.compile(r" #1\b.*"), ""),
    (re.compile(r"(?<= GS:)[0-9a-f]{16}"), "<n>"),
)
_NO_FRAME = re.compile(r"<4> \? |<4> (?:dump_stack_lvl|do_exit)\+")
"""What only may be a caller, and two functions that Python replaces."""
_MACHINE = re.compile(r"<\d>(?:Hardware name: |PGD |CR2: [0-9a-f]{16} CR3: |RSP: 0018:)")
_REGISTERS = re.compile(r"<4>(?:R..: [0-9a-f]{16} |Code: )")


def build(directory: Path) -> Path:
    """Assemble the program. It lies where the linker is told to put it."""
    program = directory / "stumble"
    place = "-Wl,--section-start=.fixed=0x600000,--no-warn-rwx-segments"
    subprocess.run(["gcc", "-static", "-nostdlib", place, "-o", program, SOURCE], check=True)
    return program


def _kept(log: str) -> Iterator[str]:
    """A log's lines without what depends on the machine: of registers, those of user code stay."""
    of_user = False
    for entry in log.splitlines():
        text = entry
        for pattern, replacement in _VARYING:
            text = pattern.sub(replacement, text)
        of_user = text.startswith("<4>RIP: 0033:") or (of_user and text != "<4> </TASK>")
        is_own = _NO_FRAME.match(text) or _MACHINE.match(text)
        if not is_own and (of_user or not _REGISTERS.match(text)):
            yield text


def under_qemu(kernel: debian.Debian, program: Path, cache: Path) -> str:
    """What the real kernel logged, by way, and the program's status."""
    guest = qemu.boot(kernel, [MODULE], cache, programs=[program])
    return "\n".join(_kept(guest.run(_SCRIPT).text.replace("\r", ""))) + "\n"


def here(k: Kernel, program: Path) -> str:
    """The same of the emulated kernel."""
    k.put(program, "/bin/stumble")
    k.insmod(str(MODULE))
    parts = []
    for way in WAYS:
        before = len(k.dmesg(raw=True))
        done = k.exec(["/bin/stumble", way])
        title = f"== {way}" if way == "r" else f"== {way} {done.status}"
        parts += [title, *_kept(k.dmesg(raw=True)[before:])]
    return "\n".join(parts) + "\n"


def stored() -> str:
    """What the real kernel did."""
    return "".join(TRANSCRIPT.read_text().splitlines(keepends=True)[len(_HEADER) :])


def main() -> None:
    """Remake the transcript."""
    kernel = debian.found()
    home = golden.cache("stumbles")
    found = under_qemu(kernel, build(home), home / "guests")
    golden.write(TRANSCRIPT, _HEADER, found)


if __name__ == "__main__":
    main()
