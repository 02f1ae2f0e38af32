"""The cases of tests/cases.py with a real image under the modules: still what the real kernel did."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import golden, normalise
from tests.cases import CASES
from tests.kernel import emulator
from tests.real.debian import Debian
from tests.steps import Case

from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def machine(kernel_package: Debian) -> Iterator[Kernel]:
    """A kernel whose image has been brought up, to fork from."""
    with Kernel(image=kernel_package.vmlinuz, strict_modprobe=True) as k:
        k.boot()
        yield k


def in_child(k: Kernel, case: Case, root: Path) -> str:
    """What a case comes to in a copy of the machine."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            k.core.cpu.after_fork()
            k.tree = emulator.tree(root, case.config)
            for program in case.programs:
                k.install(program.path, emulator._main(program) if program.executable else None)
            text = normalise.text(case, tuple(emulator._outcomes(k, case)))
            with os.fdopen(writer, "wb") as file:
                file.write(pickle.dumps(text))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    return pickle.loads(data) if data else "the process died"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_does_what_the_real_kernel_did(case: Case, machine: Kernel, tmp_path: Path) -> None:
    assert in_child(machine, case, tmp_path) == normalise.text(case, golden.load(case))
