"""Runs examples/programs/hammer.c in a fork of a machine with an image: a program that tests ask.

``python -m tests.kernel.hostile_programs VMLINUZ PROGRAM`` reads lines of JSON, ``[seed, count]``: the system
calls that a program in ring 3 makes. It answers as tests.kernel.hostile_calls does.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from functools import partial

from tests.kernel.hostile_calls import end, in_fork
from tests.kernel.hostile_system_calls import DEVICES
from tests.kernel.user.conftest import device

from ukmod.kernel.api import Kernel


def attempt(k: Kernel, seed: int, count: int) -> None:
    """Run the program, and let a second pass; then another program runs."""

    def run() -> None:
        with suppress(TimeoutError):
            k.exec(["/bin/hammer", str(seed), str(count)], timeout=60)
        assert not k.oopses, k.dmesg()
        assert k.exec(["/bin/hammer", "0", "0"]).stdout == b"through\n"

    end(k.core, run)


def main(vmlinuz: str, program: str) -> None:
    """Answer questions until there are no more."""
    with Kernel(image=vmlinuz) as k:
        for name in DEVICES:
            k.insmod(device(name))
        k.put(program, "/bin/hammer")
        assert k.exec(["/bin/hammer", "0", "0"]).stdout == b"through\n"
        for line in sys.stdin:
            print(json.dumps(in_fork(k.core, partial(attempt, k, *json.loads(line)))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
