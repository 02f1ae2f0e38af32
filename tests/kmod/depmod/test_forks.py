from __future__ import annotations

import os

import pytest

from ukmod.kmod.depmod import forks
from ukmod.kmod.depmod.forks import Fork


@pytest.fixture(params=[1, 2], ids=["one core", "two cores"])
def _cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "cores", lambda: request.param)


@pytest.mark.usefixtures("_cores")
def test_a_result_of_any_size_comes_back() -> None:
    assert Fork(lambda: ("x" * 1_000_000, [b"\xff"], "\udcff")).result() == (
        "x" * 1_000_000,
        [b"\xff"],
        "\udcff",
    )


def test_the_work_of_a_child_that_dies_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "cores", lambda: 2)
    parent = os.getpid()

    def fragile() -> str:
        if os.getpid() != parent:
            os.kill(os.getpid(), 9)
        return "done"

    assert Fork(fragile).result() == "done"


def test_a_childs_error_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "cores", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        Fork(lambda: 1 // 0).result()
