"""``ukmod kernel check``: what holds of an image, for a person and for a program."""

from __future__ import annotations

import json

import pytest
from tests.real import debian

from ukmod import cli

pytestmark = pytest.mark.real


def test_what_does_not_hold_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "kernel", "check", str(debian.require().vmlinuz)]) == 1
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{debian.RELEASE}: assumptions: ")
    assert head.endswith(" 0 failed")
    assert lines
    assert all(": does not hold: " in line for line in lines)


def test_a_program_is_told_every_assumption(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "kernel", "check", "--json", str(debian.require().vmlinuz)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ukmod.kernel/1"
    assert document["release"] == debian.RELEASE
    assert document["steps"] > 600
    assert document["failed"] == []
    assert {one["state"] for one in document["assumptions"]} == {"holds", "does not hold", "not needed"}


def test_what_is_no_image_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "kernel", "check", "/etc/hostname"]) == cli.NOT_RUN
    assert "/etc/hostname: not a kernel image" in capsys.readouterr().err
