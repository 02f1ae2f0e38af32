"""Scripts for the guest, and what is made of its answers; no guest is needed for this."""

from __future__ import annotations

import pytest
from tests.real import guest
from tests.real.qemu import Output
from tests.steps import Case, Insmod, Join, LogLine, Modprobe, Outcome, Program, Read, Rmmod, Sleep, Start


class Canned:
    """A guest that has one answer."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def run(self, script: str, *, seconds: float) -> Output:
        assert "dmesg" in script
        assert seconds > 0
        return self.output


def answer(case: Case, text: str, console: str = "") -> tuple[Outcome, ...]:
    finished = text.endswith("@end\n")
    return guest.run(Canned(Output(text, console, finished)), case)  # type: ignore[arg-type]


def test_each_step_gets_its_result_output_and_log() -> None:
    case = Case("c", "", (Insmod("ok_dep"), Read("/proc/modules"), Modprobe(("nobody",))))
    assert answer(
        case,
        "@step\n@result 0\n@log <6>[    1.000000] ok_dep: init, x=0\n@log <13>[    1.1] \n@end\n"
        "@step\n@result 0\n@output ok_dep 16384 0\n@end\n"
        "@step\n@result 1\n@output modprobe: FATAL\n@end\n",
    ) == (
        Outcome("insmod ok_dep", "0", log=(LogLine(6, "ok_dep: init, x=0"), LogLine(5, ""))),
        Outcome("read /proc/modules", "0", ("ok_dep 16384 0",)),
        Outcome("modprobe nobody", "1", ("modprobe: FATAL",)),
    )


@pytest.mark.parametrize(
    ("status", "message", "result"),
    [
        ("1", "insmod: ERROR: could not insert module x.ko: Unknown symbol in module", "-ENOENT"),
        ("1", "insmod: ERROR: could not insert module x.ko: No such device", "-ENODEV"),
        ("1", "insmod: ERROR: could not insert module x.ko: Unknown error 4095", "-4095"),
        ("139", "Segmentation fault", "SIGSEGV"),
        ("137", "Killed", "SIGKILL"),
    ],
)
def test_a_failure_becomes_an_errno_or_a_signal(status: str, message: str, result: str) -> None:
    case = Case("c", "", (Insmod("x"),))
    (outcome,) = answer(case, f"@step\n@result {status}\n@output {message}\n@end\n")
    assert outcome == Outcome("insmod x", result)


def test_a_failure_nobody_knows_is_not_taken_for_a_result() -> None:
    with pytest.raises(ValueError, match="no errno is known"):
        answer(Case("c", "", (Rmmod("x"),)), "@step\n@result 1\n@output rmmod: so there\n@end\n")


def test_joined_steps_have_their_own_results() -> None:
    case = Case("c", "", (Start(Insmod("x")), Start(Modprobe(("y",))), Join()))
    outcomes = answer(
        case,
        "@step\n@result started\n@end\n" * 2
        + "@step\n@job 1 insmod: ERROR: x: File exists\n@job 0 \n@result joined\n@end\n",
    )
    assert [outcome.result for outcome in outcomes] == ["started", "started", "-EEXIST 0"]


def test_a_machine_that_dies_leaves_its_console() -> None:
    case = Case("c", "", (Insmod("oops"), Rmmod("oops")), dies=True)
    console = "SeaBIOS\r\n[    5.000000] oops: panic\r\n[    5.1] Kernel panic - not syncing: 42\r\n"
    assert answer(case, "@step\n", console) == (
        Outcome(
            "insmod oops", "", log=(LogLine(0, "oops: panic"), LogLine(0, "Kernel panic - not syncing: 42"))
        ),
    )


def test_programs_and_configuration_are_put_in_place() -> None:
    script = guest.script(
        Case(
            "c",
            "",
            (Sleep(0.5),),
            programs=(Program("/sbin/dies", signal=9), Program("/sbin/file", executable=False)),
            config="options ok_dep x='1'\n",
        )
    )
    assert "usleep 500000" in script
    assert "chmod 755 /sbin/dies" in script
    assert "chmod 644 /sbin/file" in script
    assert "kill -9 $$" in script
    assert "/etc/modprobe.d/case.conf" in script
