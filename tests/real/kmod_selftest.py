"""The kernel's selftest of request_module() here: ``python -m tests.real.kmod_selftest LINUX [NUMBER...]``.

LINUX is the source tree of the kernel, as for tests.real.kernel_tests, which builds lib/test_kmod.c. The
script tools/testing/selftests/kmod/kmod.sh drives it, unchanged, in bash under a root of this machine's
programs; helpers are the root's, so each request starts the C modprobe. Each case runs once, all of them by
default; the exit status is 1 if the script says that one fails.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.kernel.user import roots
from tests.real import kernel_tests

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import open_tree
from ukmod.kernel.user.program import ENVIRONMENT, Completed
from ukmod.kmod.closures import closure
from ukmod.kmod.context import Context

SCRIPT = "tools/testing/selftests/kmod/kmod.sh"
DRIVER = "crc_itu_t"
"""The module that is requested; the script's own choice, test_module, is not built in the kernel's tree here,
and for a module that taints the kernel the last field of /proc/modules is not its address."""
NEEDED = (DRIVER, "xfs", "crc32c")
"""Modules of the kernel's own tree, of which the last one is requested when libcrc32c is loaded."""
PROGRAMS = ("bash", "capsh")
NUMBER = re.compile(r'ALL_TESTS="(?:\$ALL_TESTS )?(\d{4}):')
PATIENCE = 3600.0
TIMEOUT = 600.0
"""Virtual seconds for a case: in the longest ones, requests wait for others."""


def root(of: kernel_tests.Subject, linux: Path, files: Sequence[Path]) -> Path:
    """A root with the script, its programs, and the modules, indexed."""
    directory = of.cache / "kmod-root"
    shutil.rmtree(directory, ignore_errors=True)
    roots.add_kmod(directory)
    path = "/bin:/sbin:/usr/bin:/usr/sbin"
    found = {f"bin/{name}": shutil.which(name, path=path) or name for name in PROGRAMS}
    roots.add_programs(directory, found)
    roots.copy(str(linux / SCRIPT), directory / "kmod.sh")
    members = closure(Context.open(open_tree(of.kernel.modules)), NEEDED).modules
    own = [file for file in files if file.stem == "test_kmod"]
    roots.add_modules(directory, of.kernel.release, [*own, *(Path(it.path) for it in members if it.path)])
    return directory


def results(of: kernel_tests.Subject, directory: Path, numbers: Sequence[str]) -> Iterator[Completed]:
    """Run each case in the same machine."""
    vmlinuz = of.kernel.vmlinuz
    with Kernel(image=vmlinuz, root=directory, root_helpers=True, patience=PATIENCE) as k:
        k.boot()
        k.exec(["/bin/busybox", "--install", "-s", "/bin"])
        for number in numbers:
            variables = {**ENVIRONMENT, "DEFAULT_KMOD_DRIVER": DRIVER}
            yield k.exec(["/bin/bash", "/kmod.sh", "-s", number], env=variables, timeout=TIMEOUT)


def main(argv: Sequence[str]) -> int:
    """Build, unless that has been done, and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.kmod_selftest", description=__doc__)
    parser.add_argument("linux", type=Path)
    parser.add_argument("numbers", nargs="*", metavar="NUMBER")
    parser.add_argument("--kernel", default="")
    options = parser.parse_intermixed_args(argv)
    of = kernel_tests.subject(options.kernel)
    of.cache.mkdir(parents=True, exist_ok=True)
    numbers = options.numbers or NUMBER.findall((options.linux / SCRIPT).read_text())
    directory = root(of, options.linux, kernel_tests.built(of, options.linux))
    failed = 0
    for number, done in zip(numbers, results(of, directory, numbers), strict=True):
        failed += bool(done.status)
        said = (done.stdout + done.stderr).decode() if done.status else ""
        sys.stdout.write(f"{number} {'fails' if done.status else 'passes'}\n{said}")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
