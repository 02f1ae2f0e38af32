"""kernel.core_pattern: a program that receives core dumps (see also the case usermodehelper_dies)."""

from __future__ import annotations

import pytest
from tests.kernel.test_umh import HELPER

from ukmod.kernel.core import Core
from ukmod.kernel.umh import UMH_WAIT_PROC
from ukmod.userland import Process


@pytest.mark.parametrize(
    ("word", "expanded"),
    [
        ("%s", "11"),
        ("a%sb", "a11b"),
        ("%%s", "%s"),
        ("%e-%f", "helper-helper"),
        ("%u%g%d%c", "0010"),
        ("%Z", ""),
        ("end%", "end"),
    ],
)
def test_specifiers_are_replaced_in_each_argument(kernel: Core, word: str, expanded: str) -> None:
    programs, seen = kernel.processes.programs, list[tuple[str, ...]]()
    programs.install(HELPER, lambda process: process.sys.kill(process.sys.getpid(), 11) or 0)

    def dumper(process: Process) -> int:
        seen.append(tuple(process.argv))
        return 0

    programs.install("/sbin/dumps", dumper)
    kernel.procfs.write("/proc/sys/kernel/core_pattern", f"|/sbin/dumps {word} end\n")
    results: list[int] = []
    info = kernel.helpers.setup(HELPER, [HELPER], [])
    kernel.run_task("asker", lambda: results.append(kernel.helpers.exec(info, UMH_WAIT_PROC)) or 0)
    assert results == [0x80 | 11]
    assert seen == [("/sbin/dumps", expanded, "end")]


def test_a_pattern_without_a_program_dumps_nothing(kernel: Core) -> None:
    kernel.processes.programs.install(HELPER, lambda process: process.sys.kill(process.sys.getpid(), 6) or 0)
    for pattern, logged in (("core", False), ("|", True)):
        kernel.sysctl["kernel.core_pattern"] = pattern
        info, results = kernel.helpers.setup(HELPER, [HELPER], []), list[int]()

        def ask(info: object = info, results: list[int] = results) -> int:
            results.append(kernel.helpers.exec(info, UMH_WAIT_PROC))  # type: ignore[arg-type]
            return 0

        kernel.run_task("asker", ask)
        assert results == [6]
        assert any("pipe failed" in line for record in kernel.log.records for line in record.lines) == logged
