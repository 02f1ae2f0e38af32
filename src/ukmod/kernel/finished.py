"""The result of a program that has ended, and the error of a failed modprobe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from errno import EINVAL, ENOENT, errorcode

from ukmod.errors import LoadError
from ukmod.record import record


@record
class Finished:
    """The result of a program: its exit status (or 128 + the signal that killed it) and its output."""

    status: int
    output: str


def modprobe_error(arguments: Sequence[str], finished: Finished) -> LoadError:
    """The error that a failed modprobe reported, with the errno that its last line names."""
    command = " ".join(("modprobe", *arguments))
    lines = finished.output.strip().splitlines()
    if not lines:
        return LoadError(
            f"exited with status {finished.status}, without a message", errno=EINVAL, subject=command
        )
    text = lines[-1].removeprefix("modprobe: ").removeprefix("FATAL: ").removeprefix("ERROR: ")
    for number in errorcode:
        if text.endswith(f": {os.strerror(number)}"):
            text = text.removesuffix(f": {os.strerror(number)}")
            return LoadError(text, errno=number, subject=command)
    return LoadError(text, errno=ENOENT if "not found" in text else EINVAL, subject=command)
