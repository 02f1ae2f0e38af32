"""What a real kernel made of every module of its tree: the stored table, read and written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tests.golden import DIRECTORY, RELEASE

PATH = DIRECTORY / "modules.verdicts"
_HEADER = (
    f"# What Linux {RELEASE} (Debian 12) makes of each of its modules, on one CPU under QEMU: its name, the",
    "# result of loading it after what it needs, that of removing it a second later, what the kernel said.",
    "# Then, after a bar, the lines it logged. A result is an errno; MODULE:ERRNO is of one that it needs.",
    "# Remade by: python -m tests.real.verdicts",
)


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


def load() -> dict[str, Verdict]:
    """The stored verdicts by the module's name."""
    found: dict[str, Verdict] = {}
    name = ""
    for line in PATH.read_text().splitlines():
        if line.startswith("|"):
            found[name] = replace(found[name], log=(*found[name].log, line[1:]))
        elif not line.startswith("#"):
            name, result, unload, notes, *_ = (line + "\t").split("\t")
            found[name] = Verdict(name, result, unload.replace("-", ""), notes)
    return found


def store(verdicts: Iterable[Verdict]) -> None:
    """Write the table, in the order of the names."""
    lines = [*_HEADER]
    for verdict in sorted(verdicts, key=lambda verdict: verdict.name):
        lines += [verdict.row(), *(f"|{line}" for line in verdict.log)]
    new = PATH.with_name(PATH.name + ".new")
    new.write_text("\n".join(lines) + "\n")
    new.replace(PATH)
