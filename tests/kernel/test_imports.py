"""What a short run imports: each module costs it a third of a millisecond, and a shared library more."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.processes import unmeasured

DEMO = "import sys; from ukmod.cli import main; main(['ukmod', 'demo']); print(*sys.modules)"


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """What ``ukmod demo`` imports: it loads two kernel modules, without an image and without DWARF."""
    output = subprocess.check_output([sys.executable, "-c", DEMO], text=True, env=unmeasured())
    return set(output.splitlines()[-1].split())


def test_a_kernel_without_an_image_imports_no_code_for_images(imported: set[str]) -> None:
    used = {
        *("ukmod.kernel.image.choice", "ukmod.machine.image.find"),
        *("ukmod.kernel.image.modules", "ukmod.kernel.image.sysfs"),  # the loader calls them for each module
    }
    parts = {name for name in imported if name.startswith(("ukmod.kernel.image.", "ukmod.machine.image."))}
    assert parts <= used
    assert not imported & {"hmac", "_hashlib", "pickle", "platform"}


def test_modules_without_dwarf_import_no_code_for_dwarf(imported: set[str]) -> None:
    assert "ukmod.machine.types.btf" in imported
    assert not imported & {
        f"ukmod.machine.types.{name}" for name in ("dies", "dwarf", "lines", "lineprogram")
    }
