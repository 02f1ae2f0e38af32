"""The compiled modules in the repository are what their sources compile to."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests import golden

HEADERS = Path("/usr/src") / f"linux-headers-{golden.RELEASE}"
_COMPILER = re.compile(rb"GCC: \([^)]*\) [\d.]+")


def _compiler_of(path: Path) -> bytes:
    """What the compiler of an object file wrote into its .comment."""
    found = _COMPILER.search(path.read_bytes())
    return found[0] if found else b"no GCC"


def _compiler_here(work: Path) -> bytes:
    """The same of this machine's compiler."""
    (work / "probe.c").touch()
    subprocess.run(["gcc", "-c", "-o", work / "probe.o", work / "probe.c"], check=True)
    return _compiler_of(work / "probe.o")


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_compiled_modules_are_their_sources(tmp_path: Path) -> None:
    if not HEADERS.is_dir() or shutil.which("gcc") is None:
        pytest.skip(f"no {HEADERS} or no gcc: run tools/debian.sh as root")
    compiler = _compiler_of(golden.modules()["ok_dep"])
    if (here := _compiler_here(tmp_path)) != compiler:
        pytest.skip(f"the modules were compiled by {compiler.decode()}, here is {here.decode()}")
    subprocess.run([golden.REPOSITORY / "tools/prebuild.sh", tmp_path], check=True, capture_output=True)
    for directory in ("src/ukmod/data", "tests/data"):
        for path in (golden.REPOSITORY / directory).rglob(f"{golden.RELEASE}/*.ko"):
            name = path.relative_to(golden.REPOSITORY)
            assert (tmp_path / name).read_bytes() == path.read_bytes(), f"{name} is not its compiled source"
