"""``ukmod demo``: both signals, the path of the request, and a clean end."""

from __future__ import annotations

import json

import pytest

from ukmod import cli


def test_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "demo"]) == 0
    out, err = capsys.readouterr()
    path = out[out.index("the path of the request") :]
    steps = [
        "calls request_module('send_signal')",
        "queues work for khelper",
        "starts kernel threads for the helper /sbin/modprobe",
        "do_execve: /sbin/modprobe -q -- send_signal",
        "calls finit_module(",
        "its init function runs: ",
        "the module send_signal is live",
        "request_module() returns 0 to ",
    ]
    at = 0
    for step in steps:
        at = path.index(step, at)
    assert 'request_module("send_signal") = 0: loaded send_signal' in out
    assert "unloaded: send_signal, signal_handling\n" in out
    assert "\nclean: " in out
    assert err == ""


def test_the_demo_prints_the_same_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["ukmod", "demo"])
    first = capsys.readouterr().out
    cli.main(["ukmod", "demo"])
    assert capsys.readouterr().out == first


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "demo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["clean"]
    (request,) = found["requests"]
    assert (request["name"], request["result"], request["loaded"]) == ("send_signal", 0, ["send_signal"])
