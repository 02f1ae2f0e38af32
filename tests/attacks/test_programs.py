"""Whatever a program in ring 3 does, the machine lives on: it runs another program.

The attacks are those of examples/programs/hostile.c, besiege.c, intrude.c and strain.c, which list them. Each
runs in a copy of one machine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.test_attacks import SAMPLED
from tests.kernel.user import programs
from tests.kernel.user.conftest import booted, in_machine, kernel_package

from ukmod.errors import PatienceError
from ukmod.kernel.api import Kernel

__all__ = ["booted", "in_machine", "kernel_package"]
pytestmark = pytest.mark.real

PROGRAM = "/bin/hostile"
InMachine = Callable[[Callable[[Kernel], Any]], Any]


@pytest.mark.parametrize("source", ["hostile", "besiege", "intrude", "strain"])
def test_after_any_attack_of_a_program_others_run(in_machine: InMachine, tmp_path: Path, source: str) -> None:
    program = programs.build(tmp_path, source)
    names = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()[::SAMPLED]
    assert names

    def attack(k: Kernel, name: str) -> str:
        """What is wrong with the end of an attack; empty if nothing is."""
        k.patience = 0.4
        try:
            with suppress(TimeoutError):
                k.exec([PROGRAM, name], timeout=1)
            k.run(1)  # for timers that it has left
        except PatienceError:  # it was still at it: the machine is left as it is
            return "; ".join(map(str, k.oopses))
        k.patience = 10
        status = k.exec([PROGRAM]).status
        return "; ".join([*map(str, k.oopses), *([f"status {status}"] if status else [])])

    def work(k: Kernel) -> dict[str, str]:
        k.put(program, PROGRAM)
        ends = {name: in_machine(partial(attack, name=name)) for name in names}
        return {name: wrong for name, wrong in ends.items() if wrong}

    assert in_machine(work) == {}
