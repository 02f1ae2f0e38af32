"""The cases on another kernel, under QEMU and here: ``python -m tests.real.other_cases --kernel 6.12``.

Nothing of it is stored but the real kernel's transcripts, in .cache/other_cases: the cases' modules are
compiled for the kernel, which ``ukmod kernel fetch 6.12 --headers`` has fetched. Each case whose modules
compile runs on both sides, or those that are named. ``--modules DIRECTORY`` takes modules that were compiled
elsewhere.
"""

from __future__ import annotations

import argparse
import difflib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests import golden, normalise
from tests.cases import BY_NAME, CASES
from tests.kernel import emulator
from tests.kernel.image.conftest import in_a_copy
from tests.real import kernel_tests, qemu
from tests.real.kernel_tests import Subject
from tests.steps import Case, Insmod, Start, Step

from ukmod.kernel.api import Kernel
from ukmod.packages.build import compiler

CACHE = golden.REPOSITORY / ".cache" / "other_cases"
REASONS = {
    "slab_cache_busy": "6.12 merges the cache with another of its size, whose end is silent; ukmod does not",
}
"""Why a case differs."""
SOURCES = ("request_module", "cases")
"""Below examples/."""


def build(of: Subject, directory: Path) -> dict[str, Path]:
    """Compile what compiles for this kernel, below ``directory``; returns the modules by their names."""
    for name in SOURCES:
        sources = directory / name
        shutil.copytree(golden.REPOSITORY / "examples" / name, sources, dirs_exist_ok=True)
        make = ("make", "-sk", "KBUILD_MODPOST_WARN=1", "-C", str(of.headers), f"M={sources}")
        for _ in range(2):  # the linking of modules needs all objects: those that do not compile are left out
            subprocess.run((*make, *compiler(str(of.headers)), "modules"), check=False, capture_output=True)
            for source in sources.glob("*.c"):
                if not source.with_suffix(".o").exists():
                    source.unlink()
    return found(directory)


def found(directory: Path) -> dict[str, Path]:
    """The compiled modules below a directory, by their names."""
    return {file.stem: file for file in sorted(directory.rglob("*.ko"))}


def runs(case: Case, files: Mapping[str, Path]) -> bool:
    """Whether all modules that the case names have been compiled."""
    return all(module in files for module in map(_module, case.steps) if module)


def _module(step: Step) -> str:
    match step:
        case Insmod(module) | Start(Insmod(module)):
            return module
    return ""


def ours(k: Kernel, case: Case, files: Mapping[str, Path], release: str) -> str:
    """What ukmod does with a case."""

    def outcome() -> str:
        with tempfile.TemporaryDirectory() as root:
            k.tree = emulator.tree(Path(root), case.config, files, release)
            for program in case.programs:
                k.install(program.path, emulator._main(program) if program.executable else None)
            return normalise.text(case, tuple(emulator._outcomes(k, case, files)))

    return str(in_a_copy(k, outcome))


def differences(
    of: Subject, cases: Sequence[Case], files: Mapping[str, Path]
) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each case that runs, and the lines in which the kernels differ."""
    machine = qemu.boot(of.kernel, list(files.values()), of.cache / "guests")
    with Kernel(image=of.kernel.vmlinuz, strict_modprobe=True) as k:
        k.boot()
        for case in cases:
            expected = kernel_tests.real(machine, case, of.cache)
            lines = expected.splitlines(), ours(k, case, files, of.kernel.release).splitlines()
            yield case.name, list(difflib.unified_diff(*lines, "real", "ukmod", "", "", 1, ""))


def main(argv: Sequence[str]) -> None:
    """Compile, unless that has been done, and compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.other_cases", description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--kernel", default="")
    parser.add_argument("--modules", type=Path)
    options = parser.parse_intermixed_args(argv)
    of = kernel_tests.subject(options.kernel, CACHE)
    of = replace(of, cache=CACHE / of.kernel.release)
    of.cache.mkdir(parents=True, exist_ok=True)
    directory = options.modules or of.cache / "build"
    files = found(directory) or build(of, directory)
    cases = [case for case in CASES if runs(case, files)]
    chosen = [BY_NAME[name] for name in options.names] or cases
    kernel_tests.report(differences(of, chosen, files), REASONS)
    sys.stdout.write(f"{len(CASES) - len(cases)} cases have modules that do not compile for this kernel\n")


if __name__ == "__main__":
    main(sys.argv[1:])
