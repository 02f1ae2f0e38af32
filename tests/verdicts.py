"""What a real kernel made of every module of its tree: the stored table, read and written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.golden import DIRECTORY, RELEASE

PATH = DIRECTORY / "modules.verdicts"
_HEADER = (
    "# What Linux {} makes of each of its modules, on one CPU under QEMU: its name, the",
    "# result of loading it after what it needs, that of removing it a second later, what the kernel said.",
    "# Then, after a bar, the lines it logged. A result is an errno; MODULE:ERRNO is of one that it needs.",
    "# Remade by: python -m tests.real.verdicts",
)


def path(release: str) -> Path:
    """The table of a kernel: of all modules of the one that tools/release names, of some of any other."""
    return DIRECTORY.parent / release / "modules.verdicts"


def others() -> list[str]:
    """The releases of the other kernels that have a table."""
    return sorted(table.parent.name for table in DIRECTORY.parent.glob("*/modules.verdicts") if table != PATH)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one module."""

    name: str
    load: str
    """"loads", an errno's name, "MODULE:ERRNO" where that dependency would not load, "killed" (by an oops),
    "dies" (the machine does), "hangs"."""
    unload: str = ""
    """"ok" or an errno's name; empty where it was not loaded."""
    notes: str = ""
    """"oops" and "warns", where the kernel did."""
    log: tuple[str, ...] = ()
    """What was logged while it, and what it needs, was loaded and removed."""

    def row(self) -> str:
        """As it stands in the table."""
        return "\t".join((self.name, self.load, self.unload or "-", self.notes)).rstrip()


def load(release: str = RELEASE) -> dict[str, Verdict]:
    """A kernel's stored verdicts by the module's name."""
    found: dict[str, Verdict] = {}
    name = ""
    for line in path(release).read_text().splitlines():
        if line.startswith("|"):
            found[name] = replace(found[name], log=(*found[name].log, line[1:]))
        elif not line.startswith("#"):
            name, result, unload, notes, *_ = (line + "\t").split("\t")
            found[name] = Verdict(name, result, unload.replace("-", ""), notes)
    return found


def store(verdicts: Iterable[Verdict], release: str = RELEASE) -> None:
    """Write a kernel's table, in the order of the names."""
    table = path(release)
    table.parent.mkdir(exist_ok=True)
    lines = [_HEADER[0].format(f"{release} (Debian 12)" if release == RELEASE else release), *_HEADER[1:]]
    for verdict in sorted(verdicts, key=lambda verdict: verdict.name):
        lines += [verdict.row(), *(f"|{line}" for line in verdict.log)]
    new = table.with_name(table.name + ".new")
    new.write_text("\n".join(lines) + "\n")
    new.replace(table)
