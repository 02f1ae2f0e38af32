"""``ukmod kernel check``: what holds of an image, for a person and for a program."""

from __future__ import annotations

import json

import pytest
from tests.real import debian

from ukmod import cli
from ukmod.kernel.image.natives import LEFT_NATIVE

pytestmark = pytest.mark.real


def check(*arguments: str) -> int:
    return cli.main(["ukmod", "kernel", "check", *arguments, str(debian.require().vmlinuz)])


def test_a_kernel_of_which_all_holds_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert check() == 0
    (head,) = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{debian.RELEASE}: assumptions: ")
    assert ", 0 does not hold, " in head
    assert head.endswith(" 0 failed")


def test_all_assumptions_are_listed_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "kfree: holds: Python reads its arguments as they are passed" in lines
    assert "struct timer_list: holds: it has the member expires" in lines


def test_what_does_not_hold_is_listed_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(LEFT_NATIVE, "ww_mutex_lock")
    assert check() == 1
    _, line = capsys.readouterr().out.splitlines()
    assert line.startswith("ww_mutex_lock: does not hold: ")
    assert line.endswith("modules that call ww_mutex_lock()")


def test_a_program_is_told_every_assumption(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ukmod.kernel/1"
    assert document["release"] == debian.RELEASE
    assert document["steps"] > 600
    assert document["failed"] == []
    assert {one["state"] for one in document["assumptions"]} == {"holds", "not needed"}
    assert {frozenset(one) for one in document["assumptions"]} == {
        frozenset(("symbol", "assumed", "state", "detail", "endangers"))
    }


def test_what_is_no_image_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "kernel", "check", "/etc/hostname"]) == cli.NOT_RUN
    assert "/etc/hostname: not a kernel image" in capsys.readouterr().err
