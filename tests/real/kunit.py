"""KUnit's suites, under QEMU and here: ``python -m tests.real.kunit LINUX [NAME...]``.

LINUX is the source tree of the kernel that tools/release names, as linux-source-6.1 unpacks it. Debian's
kernels have no CONFIG_KUNIT, so kunit.ko is built beside the suites, without what needs members that only
such a kernel has: ``current->kunit_test`` and ``mod->kunit_suites``. A header that each source includes first
makes kunit_test_suites() a module's init and exit function, as it was before v6.0. Each suite is loaded, its
TAP is compared, and it is unloaded; :mod:`tests.real.kernel_tests` does that.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests import golden
from tests.real.kernel_tests import differences, report, subject

from ukmod.kmod.elf import Elf

CACHE = golden.REPOSITORY / ".cache" / "kunit"
SHIM = """\
#include <kunit/test.h>
#undef kunit_test_suites
#define kunit_test_suites(suites...) \\
	static struct kunit_suite *these_suites[] = { suites }; \\
	static int __init init_suites(void) \\
	{ \\
		return __kunit_test_suites_init(these_suites, ARRAY_SIZE(these_suites)); \\
	} \\
	module_init(init_suites); \\
	static void __exit exit_suites(void) \\
	{ \\
		__kunit_test_suites_exit(these_suites, ARRAY_SIZE(these_suites)); \\
	} \\
	module_exit(exit_suites);
"""
LICENCE = '\nMODULE_LICENSE("GPL");\n'
FLAGS = "-g0 -include $(src)/shim.h -DCONFIG_KUNIT_DEFAULT_ENABLED=1 -DCONFIG_KUNIT_DEBUGFS=1"
CORE = ("test", "resource", "string-stream", "assert", "try-catch", "executor", "debugfs")
"""The sources of kunit.ko, in lib/kunit."""
ELSEWHERE = ("arch/", "tools/", "scripts/", "mm/k")
"""Where suites are for other architectures or kernels: KASAN, KFENCE, KMSAN."""
_ABSENT = (
    (re.compile(r"current->kunit_test = \w+;"), ""),
    (re.compile(r"current->kunit_test"), "((struct kunit *)NULL)"),
    (re.compile(r"mod->kunit_suites, mod->num_kunit_suites"), "NULL, 0"),
)
_SUITES = re.compile(r"^kunit_test_suites?\(", re.MULTILINE)
REASONS = {
    "slub_kunit": "its TAP is the same; SLUB's reports on its caches are not there, as slabs are Python's"
}
"""Why a suite's log differs."""


def build(linux: Path, directory: Path) -> list[Path]:
    """Compile kunit.ko and the suites that compile; returns the suites' modules."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "shim.h").write_text(SHIM)
    for header in (linux / "lib/kunit").glob("*.h"):
        shutil.copy(header, directory)
    for name in CORE:
        text = (linux / f"lib/kunit/{name}.c").read_text()
        for pattern, replacement in _ABSENT:
            text = pattern.sub(replacement, text)
        (directory / f"core_{name}.c").write_text(text)
    names: list[str] = []
    includes: list[str] = []
    for file in _suites(linux):
        name = file.stem.replace("-", "_")
        name = f"{file.parent.name}_{name}" if name in (*names, "test") else name
        text = file.read_text()
        (directory / f"{name}.c").write_text(text + LICENCE * ("MODULE_LICENSE" not in text))
        names.append(name)
        includes.append(f"CFLAGS_{name}.o := -I{file.parent}")
    for _ in range(2):  # the linking of modules needs all objects: those that do not compile are left out
        objects = " ".join(f"{name}.o" for name in ("kunit", *names))
        parts = " ".join(f"core_{name}.o" for name in CORE)
        lines = (f"ccflags-y := {FLAGS}", *includes, f"obj-m := {objects}", f"kunit-y := {parts}", "")
        (directory / "Makefile").write_text("\n".join(lines))
        headers = f"/usr/src/linux-headers-{golden.RELEASE}"
        make = ["make", "-sk", "KBUILD_MODPOST_WARN=1", "-C", headers, f"M={directory}", "modules"]
        subprocess.run(make, check=False, capture_output=True)
        names = [name for name in names if (directory / f"{name}.o").exists()]
    return built(directory)


def _suites(linux: Path) -> Iterator[Path]:
    """The sources of suites that may be modules."""
    for file in sorted(linux.rglob("*.c")):
        elsewhere = str(file.relative_to(linux)).startswith(ELSEWHERE)
        if not elsewhere and _SUITES.search(file.read_text(errors="replace")):
            yield file


def built(directory: Path) -> list[Path]:
    """The suites that have been compiled."""
    return sorted(file for file in directory.glob("*.ko") if file.stem != "kunit")


def needed(suites: Iterable[Path], kernel: Path) -> list[Path]:
    """The modules of the kernel's tree that suites depend on, in no order."""
    known = {file.stem.replace("-", "_"): file for file in kernel.rglob("*.ko")}
    found: dict[str, Path] = {}
    queue = list(suites)
    while queue:
        fields = dict(Elf(queue.pop().read_bytes()).modinfo())
        for name in fields.get("depends", "").replace("-", "_").split(","):
            if name in known and name not in found:
                found[name] = known[name]
                queue.append(known[name])
    return list(found.values())


def main(linux: str, *names: str) -> None:
    """Build, unless that has been done, and compare."""
    CACHE.mkdir(parents=True, exist_ok=True)
    directory, of = CACHE / "build", subject(cache=CACHE)
    suites = built(directory) or build(Path(linux), directory)
    others = [directory / "kunit.ko", *needed(suites, of.kernel.modules)]
    report(differences(of, suites, names, others), REASONS)


if __name__ == "__main__":
    main(*sys.argv[1:])
