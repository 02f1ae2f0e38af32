"""The demo's modules, built here and now by their own Makefile, do what the shipped ones do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.real.debian import RELEASE, REPOSITORY

from ukmod.cli import demo
from ukmod.errors import LayoutError
from ukmod.kernel.api import Kernel

pytestmark = pytest.mark.real

HEADERS = Path("/usr/src") / f"linux-headers-{RELEASE}"
SOURCES = REPOSITORY / "examples" / "request_module"
NAMES = ("send_signal", "signal_handling")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules as kbuild makes them: with debugging information."""
    if not HEADERS.is_dir() or shutil.which("make") is None or shutil.which("gcc") is None:
        pytest.skip(f"needs a compiler and kernel headers: apt-get install build-essential {HEADERS.name}")
    directory = tmp_path_factory.mktemp("build") / "request_module"
    shutil.copytree(SOURCES, directory, ignore=shutil.ignore_patterns("*.ko", "*.o", ".*"))
    made = subprocess.run(
        ["make", f"KREL={RELEASE}", f"KDIR={HEADERS}", "modules"],
        cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    tree = tmp_path_factory.mktemp("tree")
    for name in NAMES:
        shutil.copy(directory / f"{name}.ko", tree)
    return tree


@pytest.fixture(scope="module")
def stripped(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without it."""
    tree = tmp_path_factory.mktemp("stripped")
    for name in NAMES:
        command = ["strip", "--strip-debug", "-o", str(tree / f"{name}.ko"), str(built / f"{name}.ko")]
        subprocess.run(command, check=True)
    return tree


@pytest.fixture
def no_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of which ukmod knows nothing."""
    monkeypatch.setattr("ukmod.machine.types.select.SHIPPED_PROFILES", str(tmp_path))


def transcript(tree: Path) -> list[str]:
    """The demo's log, without addresses in memory."""
    with Kernel(tree=tree) as k:
        k.insmod(tree / "signal_handling.ko")
        k.run(demo.SECONDS)
        for name in NAMES:
            k.rmmod(name)
        assert not k.leaks()
        assert not k.oopses
        return k.dmesg().splitlines()


def test_with_debugging_information_and_a_profile(built: Path) -> None:
    assert transcript(built) == transcript(Path(demo.modules()))


def test_with_debugging_information_alone(built: Path, no_profiles: None) -> None:
    log = transcript(built)
    assert log
    assert [line.partition("] ")[2] for line in log] == [
        line.partition("] ")[2] for line in transcript_of_shipped()
    ]


def transcript_of_shipped() -> list[str]:
    """What the shipped modules do; their profile is put back for it."""
    with pytest.MonkeyPatch.context() as patch:
        from ukmod.machine import types

        profiles = Path(types.__file__).parents[2] / "data" / "profiles"
        patch.setattr("ukmod.machine.types.select.SHIPPED_PROFILES", str(profiles))
        return transcript(Path(demo.modules()))


def test_without_debugging_information(stripped: Path) -> None:
    assert transcript(stripped) == transcript(Path(demo.modules()))


def test_without_btf_and_debugging_information_the_error_names_the_option(
    stripped: Path, no_profiles: None
) -> None:
    with pytest.raises(LayoutError, match="--btf"):
        transcript(stripped)
