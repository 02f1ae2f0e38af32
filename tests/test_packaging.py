"""What is installed: the wheel's files, what works without the extras, the public names."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.golden import RELEASE

from ukmod.cli import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = REPOSITORY / "src" / "ukmod"
EXTRAS = ("unicorn", "greenlet", "elftools", "cryptography")
BLOCK = f"import sys\nfor name in {EXTRAS}: sys.modules[name] = None\n"


def bare(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python as it is where only the base package is installed."""
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_data(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(REPOSITORY)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("hatchling is not within reach: no package index")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    present = {
        path.relative_to(SOURCES.parent).as_posix()
        for path in SOURCES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert present <= packed
    assert {"ukmod/py.typed", f"ukmod/data/profiles/{RELEASE}.json.gz"} <= packed
    shared = {name.partition(".data/data/")[2] for name in packed}
    assert {"share/man/man1/ukmod-run.1", "share/bash-completion/completions/ukmod"} <= shared
    assert any(name.startswith("ukmod/data/demo/") and name.endswith(".ko") for name in packed)


def test_the_base_package_needs_no_extra() -> None:
    done = bare(
        "from ukmod.kmod import *\nfrom ukmod.cli import main\nsys.exit(main(['', 'modprobe', '--version']))"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("kmod version")


def test_without_the_machine_the_demo_says_what_to_install() -> None:
    done = bare("from ukmod.cli import main\nsys.exit(main(['ukmod', 'demo']))")
    assert done.returncode == 3
    assert re.fullmatch(r"ukmod demo: .*pip install 'ukmod\[machine\]'\n", done.stderr)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_no_extra(name: str) -> None:
    done = bare(f"from ukmod.cli import main\nsys.exit(main(['ukmod', 'help', '{name}']))")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: ukmod {name}")


@pytest.mark.parametrize("package", ["ukmod", "ukmod.errors", "ukmod.kmod"])
def test_public_names_are_sorted_and_there(package: str) -> None:
    module = importlib.import_module(package)
    assert list(module.__all__) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)
