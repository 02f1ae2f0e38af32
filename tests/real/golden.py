"""Remakes the stored transcripts: ``python -m tests.real.golden [CASE...]``, from the repository's root.

A file is rewritten only where what it says has changed once normalised.
"""

from __future__ import annotations

import sys

from tests import golden
from tests.cases import BY_NAME, CASES
from tests.normalise import outcomes
from tests.real import debian, guest, qemu
from tests.steps import Case, Outcome
from tests.transcript import render


def header(case: Case) -> tuple[str, ...]:
    """The lines that begin a case's file."""
    return (
        f"{case.name}: {case.about}",
        f"What Linux {golden.RELEASE} (Debian 12) did, on one CPU under QEMU.",
        f"Remade by: python -m tests.real.golden {case.name}",
    )


def prepare() -> qemu.Guest:
    """The guest that every case runs in. Raises FileNotFoundError where the kernel is not there."""
    kernel = debian.found()
    return qemu.boot(kernel, list(golden.modules().values()), golden.REPOSITORY / ".cache" / "guests")


def store(case: Case, found: tuple[Outcome, ...]) -> bool:
    """Write a transcript where it says something new; True if it was written."""
    path = golden.path(case)
    if path.exists() and outcomes(case, golden.load(case)) == outcomes(case, found):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(found, header(case)))
    return True


def main(names: list[str]) -> None:
    """Remake these cases, or all of them."""
    machine = prepare()
    for case in [BY_NAME[name] for name in names] or CASES:
        changed = store(case, guest.run(machine, case))
        sys.stdout.write(f"{case.name}: {'written' if changed else 'unchanged'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
