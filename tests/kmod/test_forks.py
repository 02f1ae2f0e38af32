from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

from ukmod.kmod import forks
from ukmod.kmod.forks import Fork

Work = Generator[Any, Any, None]


@pytest.fixture(params=[1, 2], ids=["one core", "two cores"])
def _cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "cores", lambda: request.param)


@pytest.fixture
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "cores", lambda: 2)


@pytest.mark.usefixtures("_cores")
@pytest.mark.parametrize("here", [False, True])
def test_parent_and_child_exchange_messages_of_any_size(*, here: bool) -> None:
    large = "x" * 5_000_000

    def work() -> Work:
        answer = yield large, [b"\xff"], "\udcff"
        yield answer[::-1]

    child = Fork(work, here=here)
    assert child.receive() == (large, [b"\xff"], "\udcff")
    child.send("ab" * 3_000_000)
    assert child.receive() == "ba" * 3_000_000
    child.close()


@pytest.mark.usefixtures("_two_cores")
def test_a_child_is_another_process() -> None:
    def work() -> Work:
        yield os.getpid()

    child = Fork(work)
    assert child.receive() != os.getpid()
    child.close()


@pytest.mark.usefixtures("_two_cores")
@pytest.mark.parametrize("dies_at", [0, 1, 2])
def test_the_work_of_a_child_that_dies_is_done_here(dies_at: int) -> None:
    parent = os.getpid()

    def die(step: int) -> None:
        if os.getpid() != parent and step == dies_at:
            os.kill(os.getpid(), 9)

    def fragile() -> Work:
        die(0)
        one = yield "first"
        die(1)
        two = yield one + "!"
        die(2)
        yield one, two

    child = Fork(fragile)
    assert child.receive() == "first"
    child.send("a")
    assert child.receive() == "a!"
    child.send("b" * 2_000_000)  # it may be gone by now
    assert child.receive() == ("a", "b" * 2_000_000)
    child.close()


@pytest.mark.usefixtures("_two_cores")
def test_a_childs_error_is_raised_here() -> None:
    def divide() -> Work:
        yield 1 // 0

    with pytest.raises(ZeroDivisionError):
        Fork(divide).receive()


@pytest.mark.usefixtures("_two_cores")
def test_no_child_is_left() -> None:
    def work() -> Work:
        yield os.getpid()

    children = Fork(work), Fork(work)  # the second has the pipes of the first one too
    processes = [child.receive() for child in children]
    for child, process in zip(children, processes, strict=True):
        child.close()
        with pytest.raises(ChildProcessError):
            os.waitpid(process, os.WNOHANG)
