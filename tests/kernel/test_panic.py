"""Taint, warnings and panic(): kernel/panic.c; tests/golden has what modules see of them (oops_*)."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest, layouts
from tests.kernel.tasks import in_task, start

from ukmod.errors import KernelPanic
from ukmod.kernel.bug import Site
from ukmod.kernel.core import Core
from ukmod.kernel.oops import Wording
from ukmod.record import replace


class TestTaint:
    """Documentation/admin-guide/tainted-kernels.rst."""

    @pytest.mark.parametrize(
        ("letters", "text"),
        [
            ("", "Not tainted"),
            ("P", "Tainted: P                  "),
            ("W", "Tainted: G        W         "),
            ("POE", "Tainted: P           OE     "),
            ("N", "Tainted: G                 N"),
        ],
    )
    def test_in_words(self, kernel: Core, letters: str, text: str) -> None:
        """print_tainted(): G where there is no P, and a blank for each other that is not set."""
        for letter in letters:
            kernel.taint.add(letter)
        assert str(kernel.taint) == text

    def test_by_name(self, kernel: Core) -> None:
        """print_tainted_verbose(): each flag with its name, in the order of the letters."""
        assert kernel.taint.verbose() == ""
        kernel.taint.add("E")
        kernel.taint.add("O")
        assert kernel.taint.verbose() == "Tainted: [O]=OOT_MODULE, [E]=UNSIGNED_MODULE"

    @pytest.mark.parametrize(
        ("letter", "bit"), [("P", 0), ("R", 3), ("D", 7), ("W", 9), ("O", 12), ("E", 13), ("N", 18)]
    )
    def test_in_numbers(self, kernel: Core, guest: Guest, letter: str, bit: int) -> None:
        guest.call("add_taint", bit, 0)
        assert kernel.taint.has(letter)
        assert kernel.procfs.read("/proc/sys/kernel/tainted") == f"{1 << bit}\n"
        assert guest.call("get_taint") == 1 << bit
        assert guest.call_int("test_taint", bit) == 1
        assert guest.call_int("test_taint", bit ^ 1) == 0


def warn(k: Core, words: bytes = b"", taint: int = 9) -> None:
    guest = Guest(k)
    guest.call("warn_slowpath_fmt", b"drivers/x.c", 7, taint, guest.put(words) if words else 0)


class TestWarnings:
    def test_one_is_kept_and_printed_and_taints(self, kernel: Core) -> None:
        warn(kernel, b"odd\n")
        assert [(w.message, w.file, w.line) for w in kernel.warnings] == [("odd", "drivers/x.c", 7)]
        lines = [line.partition("] ")[2] for line in kernel.log.dmesg().splitlines()]
        assert lines[0] == "------------[ cut here ]------------"
        assert lines[1] == "odd"
        assert lines[2].startswith("WARNING: CPU: 0 PID: ")
        assert " at drivers/x.c:7 " in lines[2]
        assert kernel.taint.has("W")

    def test_one_without_words_is_just_that(self, kernel: Core) -> None:
        warn(kernel)
        lines = [line.partition("] ")[2] for line in kernel.log.dmesg().splitlines()]
        assert lines[1].startswith("WARNING: CPU: 0 PID: ")

    def test_newer_kernels_name_the_place_first_and_the_task_last(self, kernel: Core) -> None:
        warn(kernel, b"odd\n")
        (report,) = kernel.warnings
        newer = replace(report, state=replace(report.state, wording=Wording(warns_by_place=True)))
        (_, first), *_ = newer.lines()
        comm, pid = report.state.comm, report.state.pid
        assert first == f"WARNING: drivers/x.c:7 at {report.state.rip}, CPU#0: {comm}/{pid}"

    def test_whoever_warns_goes_on(self, kernel: Core) -> None:
        warn(kernel)
        warn(kernel)
        assert len(kernel.warnings) == 2

    def test_panic_on_warn(self, kernel: Core) -> None:
        kernel.procfs.write("/proc/sys/kernel/panic_on_warn", "1")
        with pytest.raises(KernelPanic, match=r"kernel: panic_on_warn set \.\.\."):
            warn(kernel)
        assert "Kernel panic - not syncing: kernel: panic_on_warn set ..." in kernel.log.dmesg()

    def test_of_many_the_first_are_kept_and_all_are_printed(
        self, kernel: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ukmod.kernel.panic.MAX_REPORTS", 2)
        for words in (b"first\n", b"second\n", b"third\n"):
            warn(kernel, words)
        assert [report.message for report in kernel.warnings] == ["first", "second"]
        assert "third\n" in kernel.log.dmesg()


class TestPanic:
    def panic(self, k: Core) -> str:
        """The log of a machine that panics."""
        with pytest.raises(KernelPanic, match="no 5 left"):
            Guest(k).call("panic", b"no %d left\n", 5)
        return k.log.dmesg()

    def test_a_panic_names_its_reason_and_its_task(self, kernel: Core) -> None:
        log = self.panic(kernel)
        assert "Kernel panic - not syncing: no 5 left\n" in log
        assert "Comm: test " in log, "dump_stack()"
        assert log.endswith("---[ end Kernel panic - not syncing: no 5 left ]---\n")

    def test_an_oops_has_dumped_the_stack_already(self, kernel: Core) -> None:
        kernel.taint.add("D")
        assert "Comm: test " not in self.panic(kernel)

    def test_too_many_oopses_are_a_panic(self, kernel: Core, monkeypatch: pytest.MonkeyPatch) -> None:
        """oops_count_store(): kernel.oops_limit."""
        monkeypatch.setattr("ukmod.kernel.panic.OOPS_LIMIT", 3)

        def fails() -> None:
            kernel.crash.bug(Site("kernel/test.c", 1, "fails"))

        for _ in range(2):
            in_task(kernel, fails)
        with pytest.raises(KernelPanic, match=r"Oopsed too often \(kernel\.oops_limit is 3\)"):
            in_task(kernel, fails)
        assert len(kernel.oopses) == 3

    def test_nothing_runs_after_it(self, kernel: Core) -> None:
        ran: list[int] = []
        kernel.clock.at(kernel.clock.now + 10**9, lambda: ran.append(1))
        self.panic(kernel)
        start(kernel, "t", lambda: ran.append(2))
        with pytest.raises(KernelPanic):
            kernel.run(10)
        assert ran == []

    @pytest.mark.parametrize(("timeout", "end"), [("5", "Rebooting in 5 seconds..\n"), ("-1", "")])
    def test_a_machine_that_is_to_restart_says_when(self, kernel: Core, timeout: str, end: str) -> None:
        """kernel.panic: 0 stays for ever, and less than 0 restarts at once."""
        kernel.procfs.write("/proc/sys/kernel/panic", timeout)
        log = self.panic(kernel)
        assert "---[ end" not in log
        assert log.endswith(end)
        assert ("Rebooting" in log) == bool(end)


@pytest.mark.parametrize(
    ("cmdline", "expected"),
    [
        ("", ("0", "0", "0")),
        ("oops=panic panic=-1 quiet", ("1", "0", "-1")),
        ("panic_on_warn=1 panic=30", ("0", "1", "30")),
        ("panic_on_warn=0 panic=0x10", ("0", "0", "16")),
        ("panic_on_warn panic=3000000000", ("0", "0", "0")),  # an int needs a value, of 32 bits
        ("panic_on_warn=-1 panic_on_warn=0", ("0", "0", "0")),
        ("oops=other panic=x", ("0", "0", "0")),
    ],
)
def test_the_kernel_command_line(cmdline: str, expected: tuple[str, str, str]) -> None:
    """Documentation/admin-guide/kernel-parameters.txt."""
    with Core(layouts(), cmdline=cmdline) as k:
        names = ("panic_on_oops", "panic_on_warn", "panic")
        assert tuple(k.procfs.read(f"/proc/sys/kernel/{name}").strip() for name in names) == expected


@pytest.mark.parametrize(("prefix", "level"), [(b"\x013", 3), (b"\x016", 6), (b"", 4)])
def test_a_stack_is_dumped_at_the_given_level(kernel: Core, guest: Guest, prefix: bytes, level: int) -> None:
    guest.call("dump_stack_lvl", prefix)
    assert kernel.log.lines[0].startswith("CPU: 0 PID: ")
    assert "Call Trace:" in kernel.log.lines
    assert {record.level for record in kernel.log.records} == {level}
