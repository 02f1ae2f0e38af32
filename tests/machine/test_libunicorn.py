"""The numbers of Unicorn's C API that ours are, and how its library is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from unicorn import unicorn_const, x86_const

from ukmod.machine import libunicorn


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in vars(libunicorn)
        if name.startswith(("ARCH_", "MODE_", "PROT_", "HOOK_", "ERR_", "CTL_"))
    ],
)
def test_a_number_is_that_of_the_binding(name: str) -> None:
    assert getattr(libunicorn, name) == getattr(unicorn_const, f"UC_{name}")


@pytest.mark.parametrize("name", ["X86_INS_IN", "X86_INS_OUT", "CPU_X86_QEMU64"])
def test_a_number_of_x86_is_that_of_the_binding(name: str) -> None:
    assert getattr(libunicorn, name) == getattr(x86_const, f"UC_{name}")


def test_registers_have_the_numbers_of_the_binding() -> None:
    theirs = {name: getattr(x86_const, f"UC_X86_REG_{name.upper()}") for name in libunicorn.REGISTERS}
    assert theirs == libunicorn.REGISTERS


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_machine_does_not_import_the_binding() -> None:
    done = _python("import sys, ukmod.kernel.api; print([m for m in sys.modules if m.startswith('unicorn')])")
    assert done.stdout.strip() == "[]"


def test_the_binding_finds_a_library_that_the_environment_names(tmp_path: Path) -> None:
    done = _python(
        "import ukmod.machine.libunicorn as it; print(it.version())", LIBUNICORN_PATH=str(tmp_path)
    )
    assert done.stdout.strip() == str(libunicorn.version())  # the directory is empty, so it looks further


def test_a_library_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    name = Path(libunicorn.path()).name
    (tmp_path / "unicorn" / "lib").mkdir(parents=True)
    (tmp_path / "unicorn" / "__init__.py").touch()
    (tmp_path / "unicorn" / "lib" / name).write_bytes(b"\x7fELF")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import ukmod; ukmod.Kernel"
    done = _python(code)
    assert (
        "MissingExtraError: The emulated machine needs an optional dependency that is installed"
        in done.stderr
    )
    assert str(tmp_path / "unicorn" / "lib" / name) in done.stderr
