"""The kernel's own test modules, under QEMU and here: ``python -m tests.real.kernel_tests LINUX [NAME...]``.

LINUX is the source tree of the kernel that tools/release names, as linux-source-6.1 unpacks it. Every test
and sample that builds against the kernel's headers is loaded with modprobe, runs for two virtual seconds and
is unloaded: by a real kernel, whose transcripts are kept in .cache/kernel_tests, and by ukmod with the same
image. Their differences after normalisation are printed, and a table with the reasons at the end.

``--kernel 6.12`` takes another kernel, which ``ukmod kernel fetch 6.12 --headers`` has fetched; LINUX is its
source tree, then.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import golden, normalise
from tests.kernel import emulator
from tests.kernel.image.conftest import in_a_copy
from tests.real import debian, guest, qemu
from tests.steps import Case, Modprobe, Sleep
from tests.transcript import parse, render

from ukmod.kernel.api import Kernel
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.tree import Tree
from ukmod.machine.image.installed import kernel_named

CACHE = golden.REPOSITORY / ".cache" / "kernel_tests"
SOURCES = (
    *("lib/test_*.c", "lib/*_test.c", "kernel/backtracetest.c", "kernel/locking/test-ww_mutex.c"),
    *("kernel/locking/locktorture.c", "kernel/scftorture.c", "kernel/time/test_udelay.c"),
    *("kernel/trace/preemptirq_delay_test.c", "kernel/trace/ring_buffer_benchmark.c"),
    *(f"samples/{name}/*.c" for name in ("kfifo", "kobject", "kprobes", "fprobe", "ftrace", "workqueue")),
    *(f"samples/{name}/*.c" for name in ("trace_printk", "trace_events", "hw_breakpoint", "connector")),
    *(f"samples/{name}/*.c" for name in ("configfs", "livepatch", "kmemleak", "rpmsg")),
)
"""Below the source tree. KUnit's suites need a kernel with CONFIG_KUNIT, which Debian's are not."""
REASONS = {
    "fprobe_example": "on 6.12, the stack that a hook's callback saves ends at the hook",
}
"""Why a module's log differs."""
PROBES = {"kprobe_example": "symbol", "kretprobe_example": "func", "fprobe_example": "symbol"}
"""Samples that probe a function, and the parameter that names it."""
PROBED, REACHES = "cn_add_callback", "cn_test"
"""A function of the kernel, and a module that calls it. The samples probe kernel_clone() if they are not told
otherwise, which the guest's own shell calls, too, as often as it likes."""
LOG = "log_buf_len=1M"
"""The guest's kernel has this option, too: some tests log more than the usual buffer holds."""
PATIENCE = 3600.0
"""Seconds of wall time that the real kernel has for a module: test_bpf takes minutes on a busy machine."""
HEADERS = ("lib/*.h", "samples/*/*.h")
KSELFTEST = "tools/testing/selftests/kselftest_module.h"
MAKEFILE = "obj-m := {}\nccflags-y := -I$(src)\n"


_MEASURED = re.compile(
    r"\d+(?= cycles)|(?<=Time: )\d+|(?<=Duration of test: )\d+|(?<=Average test time: )\d+"
    r"|(?<=_perf:\t)\d+|(?<=fns: ) *\d+(?= ns)"
    r"|(?<=took )\d+(?= ns)|(?<= in )\d+(?= ns)|(?<=expires @ )\w+|(?<=expired = )\w+"
    r"|\d+(?=ns \(\d+ns / call)|\d+(?=ns / call)| \d+(?= ns to execute)"
    r"|(?<=offset )0x\w+|(?<=PA: )0x\w+"
    r"|(?<=jited:[01] )\d+(?: \d+)*(?= (?:PASS|FAIL))"
)
"""How long something took, when it ends, and where it lies: no two machines agree on these."""
_OURS = re.compile(r"<\d>watchdog: (?:still running|lockup suspected) - .*\n")
"""What a long call of ours adds for its user."""
_BETWEEN = re.compile(r" \n<\d>watchdog: (?:still running|lockup suspected) - .*\n<4>")
"""The same, in the middle of a line that KERN_CONT continues."""
_PLACE = re.compile(r"\S*libkmod-module\.c:\d+ \w+\(\) ")
"""Where in its source the guest's kmod, 30, reports an error; ukmod's tools are kmod 34's, which does not."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A kernel whose tests are run: with what they are built, and where its transcripts are kept."""

    kernel: debian.Debian
    headers: Path
    cache: Path


def subject(name: str = "", cache: Path = CACHE) -> Subject:
    """The kernel of tools/release or, with a ``name``, one that ``ukmod kernel fetch --headers`` fetched.

    Raises FileNotFoundError if there is none, NotFoundError if there is none of that name.
    """
    if name:
        found = kernel_named(name)
        if not found.headers:
            raise FileNotFoundError(f"no headers of {found.release}: ukmod kernel fetch {name} --headers")
        root = Path(found.image).parent.parent
        kernel = debian.Debian(root, found.release)
        return Subject(kernel, Path(found.headers), cache / found.release)
    default = debian.found()
    return Subject(default, Path(f"/usr/src/linux-headers-{default.release}"), cache)


def build(linux: Path, headers: Path, directory: Path) -> list[Path]:
    """Compile what compiles, in ``directory``/src; returns the modules."""
    sources = directory / "src"
    shutil.rmtree(directory, ignore_errors=True)
    sources.mkdir(parents=True)
    (directory / KSELFTEST).parent.mkdir(parents=True)
    shutil.copy(linux / KSELFTEST, directory / KSELFTEST)
    for pattern in (*SOURCES, *HEADERS):
        for file in sorted(linux.glob(pattern)):
            shutil.copy(file, sources)
    names = sorted(file.stem for file in sources.glob("*.c") if "MODULE_LICENSE" in file.read_text())
    for _ in range(2):  # the linking of modules needs all objects: those that do not compile are left out
        objects = " ".join(f"{name}.o" for name in names)
        (sources / "Makefile").write_text(MAKEFILE.format(objects))
        make = ["make", "-sk", "KBUILD_MODPOST_WARN=1", "-C", str(headers), f"M={sources}", "modules"]
        subprocess.run(make, check=False, capture_output=True)
        names = [name for name in names if (sources / f"{name}.o").exists()]
    return sorted(sources.glob("*.ko"))


def built(of: Subject, linux: Path) -> list[Path]:
    """The modules of the kernel's tests, which are compiled the first time."""
    directory = of.cache / "build"
    return sorted((directory / "src").glob("*.ko")) or build(linux, of.headers, directory)


def case_of(file: Path) -> Case:
    """modprobe loads a module with its dependencies, and removes it after two seconds."""
    name = file.stem
    if name in PROBES:
        loaded = Modprobe((name, f"{PROBES[name]}={PROBED}")), Modprobe((REACHES,))
        return Case(name, "", (*loaded, Sleep(2), Modprobe(("-r", REACHES)), Modprobe(("-r", name))))
    return Case(name, "", (Modprobe((name,)), Sleep(2), Modprobe(("-r", name))))


def real(machine: qemu.Guest, case: Case, cache: Path) -> str:
    """What a real kernel does with a case; asked once, and again if it had too little time."""
    kept = cache / f"{case.name}.txt"
    if kept.exists():
        return normalise.text(case, parse(kept.read_text()))
    outcomes = guest.run(machine, case, seconds=PATIENCE)
    if len(outcomes) == len(case.steps) and outcomes[-1].result:
        kept.write_text(render(outcomes))
    return normalise.text(case, outcomes)


def ours(k: Kernel, case: Case) -> str:
    """What ukmod does with it, or how it failed."""
    try:
        return str(in_a_copy(k, lambda: normalise.text(case, tuple(emulator._outcomes(k, case)))))
    except Exception as error:  # noqa: BLE001 - the other modules are to be tried too
        return f"{type(error).__name__}: {error}"


def _lines(text: str) -> list[str]:
    """A transcript's lines, without what is measured."""
    return _MEASURED.sub("<n>", _PLACE.sub("", _OURS.sub("", _BETWEEN.sub(" ", text)))).splitlines()


def tree(directory: Path, files: Sequence[Path], release: str) -> Tree:
    """A module tree with these files."""
    extra = directory / "lib/modules" / release / "extra"
    shutil.rmtree(directory, ignore_errors=True)
    extra.mkdir(parents=True)
    for file in files:
        (extra / file.name).symlink_to(file)
    emulator.depmod(directory, release)
    return Tree(f"/lib/modules/{release}", DirectoryFiles(str(directory)), config_paths=())


def differences(
    of: Subject, files: Sequence[Path], names: Sequence[str], needed: Sequence[Path] = ()
) -> Iterator[tuple[str, list[str]]]:
    """Yield each module's name and the lines in which the kernels differ; ``needed`` are other modules."""
    machine = qemu.boot(of.kernel, [*files, *needed], of.cache / "guests")
    with Kernel(image=of.kernel.vmlinuz, strict_modprobe=True, cmdline=LOG) as k:
        k.boot()
        k.tree = tree(of.cache / "root", [*files, *needed], of.kernel.release)
        for file in files:
            if names and file.stem not in names:
                continue
            case = case_of(file)
            expected, found = _lines(real(machine, case, of.cache)), _lines(ours(k, case))
            yield file.stem, list(difflib.unified_diff(expected, found, "real", "ukmod", "", "", 1, ""))


def report(found: Iterable[tuple[str, list[str]]], reasons: Mapping[str, str]) -> None:
    """Print differences as they are found, then a table with the known reasons."""
    table: list[tuple[str, bool]] = []
    for name, lines in found:
        sys.stdout.write("".join(f"{line}\n" for line in (f"== {name}", *lines)))
        sys.stdout.flush()
        table.append((name, not lines))
    for name, same in table:
        verdict = "same" if same else f"differs: {reasons.get(name, 'unknown')}"
        sys.stdout.write(f"{name:32} {verdict}\n")
    sys.stdout.write(f"{sum(same for _, same in table)} of {len(table)} are the same\n")


def main(argv: Sequence[str]) -> None:
    """Build, unless that has been done, and compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.kernel_tests", description=__doc__)
    parser.add_argument("linux", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--kernel", default="")
    options = parser.parse_intermixed_args(argv)
    of = subject(options.kernel)
    of.cache.mkdir(parents=True, exist_ok=True)
    report(differences(of, built(of, options.linux), options.names), REASONS)


if __name__ == "__main__":
    main(sys.argv[1:])
