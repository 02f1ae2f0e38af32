"""What is installed: the wheel's files, what works without the extras, the public names."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.docs.samples import Session
from tests.golden import RELEASE, REPOSITORY

from ukmod.cli import COMMANDS

SOURCES = REPOSITORY / "src" / "ukmod"
EXTRAS = ("unicorn", "greenlet", "elftools", "cryptography")
BLOCK = f"import sys\nfor name in {EXTRAS}: sys.modules[name] = None\n"


def bare(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python as it is where only the base package is installed."""
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)


def succeed(*command: str | Path) -> str:
    """Run a command that must succeed, and return what it prints."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it. No package index is asked."""
    place = tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "build", "--no-isolation", "--outdir", place, REPOSITORY)
    (sdist,) = place.glob("*.tar.gz")
    (wheel,) = place.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the programs of an environment in which only the wheel is installed."""
    place = tmp_path_factory.mktemp("installed")
    succeed(sys.executable, "-m", "venv", "--without-pip", place)
    pip = (sys.executable, "-m", "pip", "--python", place / "bin" / "python")
    succeed(*pip, "install", "--quiet", "--no-index", "--no-deps", distributions[1])
    return place / "bin"


def files_of(directory: Path) -> set[str]:
    """The files below a directory of the repository, without what Python makes."""
    paths = (path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(REPOSITORY).as_posix() for path in paths}


@pytest.mark.xdist_group("distributions")
def test_the_sdist_holds_all_that_building_and_testing_take(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    for directory in ("src", "share", "tests", "examples", "benchmarks", "docs", "tools"):
        assert files_of(REPOSITORY / directory) <= packed
    assert {"pyproject.toml", "Makefile", "LICENSE", "README.md", "CHANGELOG.md", ".ci/run"} <= packed


@pytest.mark.xdist_group("distributions")
def test_the_wheel_holds_the_data(distributions: tuple[Path, Path]) -> None:
    packed = set(zipfile.ZipFile(distributions[1]).namelist())
    assert {name.removeprefix("src/") for name in files_of(SOURCES)} <= packed
    assert {"ukmod/py.typed", f"ukmod/data/profiles/{RELEASE}.json.gz"} <= packed
    shared = {name.partition(".data/data/")[2] for name in packed}
    assert {"share/man/man1/ukmod-run.1", "share/bash-completion/completions/ukmod"} <= shared
    assert any(name.startswith("ukmod/data/demo/") and name.endswith(".ko") for name in packed)


@pytest.mark.xdist_group("distributions")
def test_an_index_would_take_the_distributions(distributions: tuple[Path, Path]) -> None:
    succeed(sys.executable, "-m", "twine", "check", "--strict", *distributions)


@pytest.mark.xdist_group("distributions")
def test_the_wheel_alone_is_kmod(installed: Path) -> None:
    assert succeed(installed / "ukmod", "modprobe", "--version").startswith("kmod version")
    printed = succeed(installed / "python", "-c", "import ukmod, ukmod.kmod; print(ukmod.__file__)")
    assert printed.startswith(str(installed.parent))


@pytest.mark.xdist_group("distributions")
def test_the_readme_is_true_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    """From top to bottom, with the extras and pytest of the environment that runs this test."""
    (packages,) = (installed.parent / "lib").glob("python*/site-packages")
    extras = {Path(importlib.util.find_spec(name).origin).parents[1] for name in ("unicorn", "pytest")}  # type: ignore[union-attr, arg-type]
    (packages / "extras.pth").write_text("".join(f"{path}\n" for path in extras))
    pytest_ = installed / "pytest"
    pytest_.write_text(f'#!/bin/sh\nexec "{installed}/python" -m pytest "$@"\n')
    pytest_.chmod(0o755)
    directory = tmp_path / "reader"
    directory.mkdir()
    Session(REPOSITORY / "README.md", directory, installed, lambda _session, _command: False).run()


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
