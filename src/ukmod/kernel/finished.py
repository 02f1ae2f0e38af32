"""A program of the machine that has ended, and what a modprobe that failed says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from errno import EINVAL, ENOENT, errorcode

from ukmod.errors import LoadError
from ukmod.record import record


@record
class Finished:
    """A program that has ended: its exit status (or 128 + the signal that killed it) and what it wrote."""

    status: int
    output: str


def modprobe_error(arguments: Sequence[str], finished: Finished) -> LoadError:
    """The error that a modprobe which failed reports, with the errno that its last line names in words."""
    command = " ".join(("modprobe", *arguments))
    lines = finished.output.strip().splitlines()
    if not lines:
        return LoadError(
            f"exited with status {finished.status}, without a word", errno=EINVAL, subject=command
        )
    text = lines[-1].removeprefix("modprobe: ").removeprefix("FATAL: ").removeprefix("ERROR: ")
    for number in errorcode:
        if text.endswith(f": {os.strerror(number)}"):
            text = text.removesuffix(f": {os.strerror(number)}")
            return LoadError(text, errno=number, subject=command)
    return LoadError(text, errno=ENOENT if "not found" in text else EINVAL, subject=command)
