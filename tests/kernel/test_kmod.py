"""request_module(): kernel/kmod.c; tests/golden has what modules see of it (rm_*)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from errno import ENAMETOOLONG, ENOENT, ETIME

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import kill, start

from ukmod.kernel.core import Core
from ukmod.kernel.kmod import MAX_KMOD_CONCURRENT
from ukmod.kernel.sched.core import ERESTARTSYS, Task
from ukmod.userland import Process


@dataclass
class Modprobe:
    """A /sbin/modprobe that takes its time, and keeps what it was asked for."""

    kernel: Core
    seconds: float = 0
    status: int = 0
    ran: list[Process] = field(default_factory=list)
    ended: int = 0

    def __call__(self, process: Process) -> int:
        self.ran.append(process)
        if self.seconds:
            process.sys.nanosleep(round(self.seconds * 1e9))
        self.ended += 1
        return self.status

    @property
    def names(self) -> list[str]:
        return [process.argv[-1] for process in self.ran]


@pytest.fixture
def modprobe(kernel: Core) -> Modprobe:
    made = Modprobe(kernel)
    kernel.processes.programs.install("/sbin/modprobe", made)
    return made


def ask(k: Core, name: str, results: list[int], *, wait: bool = True) -> Task:
    return start(k, "asker", lambda: results.append(k.requests.request(name, wait=wait)))


def request(k: Core, name: str, *, wait: bool = True) -> int:
    results: list[int] = []
    ask(k, name, results, wait=wait)
    k.run(30)
    return results[0]


def log(k: Core) -> str:
    """The log. What kmod.c prints has no newline: nobody sees a line before the next one is begun."""
    k.printk("the next line\n")
    return k.log.dmesg()


def test_modprobe_is_run_as_the_kernel_runs_it(kernel: Core, modprobe: Modprobe) -> None:
    """call_modprobe()."""
    request(kernel, "net-pf-10")
    (process,) = modprobe.ran
    assert tuple(process.argv) == ("/sbin/modprobe", "-q", "--", "net-pf-10")
    assert process.env == {"HOME": "/", "TERM": "linux", "PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}


def test_another_modprobe_is_given_its_own_name(kernel: Core) -> None:
    other = Modprobe(kernel)
    kernel.processes.programs.install("/opt/load", other)
    kernel.requests.modprobe_path = "/opt/load"
    request(kernel, "foo")
    assert other.ran[0].argv[0] == "/opt/load"


@pytest.mark.parametrize("status", [0, 1, 255])
def test_a_waiting_request_returns_the_wait_status(kernel: Core, modprobe: Modprobe, status: int) -> None:
    modprobe.status = status
    assert request(kernel, "foo") == status << 8


def test_a_request_that_does_not_wait_returns_zero_once_modprobe_runs(
    kernel: Core, modprobe: Modprobe
) -> None:
    modprobe.status, modprobe.seconds = 1, 10
    results: list[int] = []
    ask(kernel, "foo", results, wait=False)
    kernel.run(1)
    assert (results, modprobe.names, modprobe.ended) == ([0], ["foo"], 0)


@pytest.mark.parametrize("wait", [True, False])
def test_without_modprobe_there_is_an_error_even_for_who_does_not_wait(kernel: Core, wait: bool) -> None:
    kernel.requests.modprobe_path = "/sbin/none"
    assert request(kernel, "foo", wait=wait) == -ENOENT


class TestName:
    """vsnprintf() into MODULE_NAME_LEN bytes: 64 less an unsigned long."""

    def test_the_name_is_formatted(self, kernel: Core, guest: Guest, modprobe: Modprobe) -> None:
        assert guest.call_int("__request_module", 1, b"net-pf-%d-proto-%s", 16, b"tcp") == 0
        assert modprobe.names == ["net-pf-16-proto-tcp"]

    @pytest.mark.parametrize(("length", "result"), [(55, 0), (56, -ENAMETOOLONG)])
    def test_a_name_of_56_characters_or_more_is_refused(
        self, kernel: Core, modprobe: Modprobe, length: int, result: int
    ) -> None:
        assert request(kernel, "x" * length) == result
        assert len(modprobe.ran) == (not result)

    def test_without_a_path_nobody_looks_at_it(self, kernel: Core, guest: Guest) -> None:
        """The path is the first thing that __request_module() looks at: not even a bad pointer matters."""
        kernel.requests.modprobe_path = ""
        assert guest.call_int("__request_module", 1, b"%s", 0x10) == -ENOENT
        assert request(kernel, "x" * 100) == -ENOENT
        assert not kernel.oopses

    def test_an_empty_one_is_modprobes_business(self, kernel: Core, modprobe: Modprobe) -> None:
        assert request(kernel, "") == 0
        assert modprobe.names == [""]


class TestLimit:
    """MAX_KMOD_CONCURRENT: 50 at a time; one more waits for five seconds at most."""

    @pytest.fixture
    def flood(self, kernel: Core, modprobe: Modprobe) -> Callable[[int], list[int]]:
        def begin(count: int) -> list[int]:
            results: list[int] = []
            for number in range(count):
                ask(kernel, f"m{number}", results)
            kernel.run(0.1)
            return results

        modprobe.seconds = 3
        return begin

    def test_fifty_run_at_once(
        self, kernel: Core, modprobe: Modprobe, flood: Callable[[int], list[int]]
    ) -> None:
        flood(MAX_KMOD_CONCURRENT)
        assert len(modprobe.ran) == 50
        assert "throttling" not in log(kernel)

    def test_the_next_waits_for_one_to_end(
        self, kernel: Core, modprobe: Modprobe, flood: Callable[[int], list[int]]
    ) -> None:
        results = flood(MAX_KMOD_CONCURRENT + 2)
        assert len(modprobe.ran) == 50
        words = "close to 0 (max_modprobes: 50), for module m50, throttling..."
        assert f"request_module: kmod_concurrent_max (0) {words}" in log(kernel)
        kernel.run(4)
        assert len(modprobe.ran) == 52
        kernel.run(4)
        assert results == [0] * 52

    def test_a_request_beyond_the_limit_gives_up_after_five_seconds(
        self, kernel: Core, modprobe: Modprobe, flood: Callable[[int], list[int]]
    ) -> None:
        modprobe.seconds = 30
        results = flood(MAX_KMOD_CONCURRENT + 1)
        kernel.run(4.8)
        assert results == []
        kernel.run(0.5)
        assert results == [-ETIME]
        words = "cannot be processed, kmod busy with 50 threads for more than 5 seconds now"
        assert f"request_module: modprobe m50 {words}" in log(kernel)

    def test_a_request_that_waits_for_its_turn_can_be_killed(
        self, kernel: Core, modprobe: Modprobe, flood: Callable[[int], list[int]]
    ) -> None:
        flood(MAX_KMOD_CONCURRENT)
        results: list[int] = []
        task = ask(kernel, "late", results)
        kernel.run(1)
        kill(kernel, task)
        kernel.run(0.1)
        assert results == [-ERESTARTSYS]
        assert "request_module: sigkill sent for modprobe late, giving up" in log(kernel)
        assert "late" not in modprobe.names

    def test_what_failed_gives_its_place_back(self, kernel: Core, modprobe: Modprobe) -> None:
        kernel.requests.modprobe_path = "/sbin/none"
        assert {request(kernel, "foo") for _ in range(MAX_KMOD_CONCURRENT + 1)} == {-ENOENT}
        kernel.requests.modprobe_path = "/sbin/modprobe"
        assert request(kernel, "bar") == 0

    def test_a_request_that_does_not_wait_gives_its_place_back_at_once(
        self, kernel: Core, modprobe: Modprobe
    ) -> None:
        """So request_module_nowait() is not limited to 50 modprobes, only to 50 that are being started."""
        modprobe.seconds = 10
        results: list[int] = []
        for number in range(60):
            ask(kernel, f"m{number}", results, wait=False)
            kernel.run(0.01)
        assert results == [0] * 60
        assert len(modprobe.ran) - modprobe.ended == 60


def test_a_waiter_that_is_killed_leaves_modprobe_running(kernel: Core, modprobe: Modprobe) -> None:
    """call_modprobe() waits with UMH_KILLABLE."""
    modprobe.seconds = 3
    results: list[int] = []
    task = ask(kernel, "foo", results)
    kernel.run(1)
    kill(kernel, task)
    kernel.run(0.1)
    assert (results, modprobe.ended) == ([-ERESTARTSYS], 0)
    kernel.run(5)
    assert modprobe.ended == 1


def test_modprobe_may_lead_to_more_requests(kernel: Core) -> None:
    """As where an init function asks for another module: each is a modprobe of its own."""
    names: list[str] = []

    def modprobe(process: Process) -> int:
        name = process.argv[-1]
        names.append(name)
        return kernel.requests.request(name[:-1]) >> 8 if len(name) > 1 else 7

    kernel.processes.programs.install("/sbin/modprobe", modprobe)
    assert request(kernel, "abc") == 7 << 8
    assert names == ["abc", "ab", "a"]
