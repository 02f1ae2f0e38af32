"""``ukmod run --trace``: the path of each request, in four formats."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.golden import modules
from tests.pages import whole

from ukmod import cli
from ukmod.cli.trace import trace_text
from ukmod.kernel.timeline import timeline
from ukmod.kernel.trace import TraceStep

PHASES = {"X": {"dur", "cat"}, "i": {"s"}, "s": {"id", "cat"}, "f": {"id", "cat", "bp"}, "M": set[str]()}
"""Phases of Chrome's Trace Event Format, and the members that each has beside those that all have."""
HOSTILE = '</script><b>"x"; end\x1b[2J\n  t1->>t2: no'


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a module that requests others."""
    directory = tmp_path_factory.mktemp("trace")
    for name in ("rm_call", "ok_dep", "exporter"):
        shutil.copy(modules()[name], directory / f"{name}.ko")
    return directory


@pytest.fixture(scope="module")
def traces(here: Path) -> dict[str, str]:
    """The trace of one run in each format, by the suffix."""
    found = {}
    for suffix in ("txt", "json", "mmd", "html"):
        path = here / f"trace.{suffix}"
        cli.main(["ukmod", "run", str(here / "rm_call.ko"), "name=ok_dep", "--trace", str(path)])
        found[suffix] = path.read_text()
    return found


def test_the_suffix_says_which_format(traces: dict[str, str]) -> None:
    assert re.search(r"^  \d+\.\d{6} +\d+  .* calls request_module\('", traces["txt"], re.MULTILINE)
    assert traces["mmd"].startswith("sequenceDiagram\n")
    assert traces["html"].startswith("<!DOCTYPE html>")
    assert json.loads(traces["json"])["displayTimeUnit"] == "ns"


def check(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a document, whose members are those of the Trace Event Format."""
    events: list[dict[str, Any]] = document["traceEvents"]
    for event in events:
        wanted = {"ph", "name", "pid", "tid", "ts"} | PHASES[event["ph"]]
        assert wanted <= set(event) <= wanted | {"args"}, event
        assert isinstance(event["ts"], float)
        assert event["ts"] >= 0
        assert event.get("dur", 1) > 0
    flows = [(event["id"], event["ph"]) for event in events if event["ph"] in "sf"]
    assert sorted(flows) == sorted({(number, phase) for number, _ in flows for phase in "sf"})
    return events


def test_a_chrome_trace_has_a_track_a_task_and_arrows_that_begin_and_end_in_slices(
    traces: dict[str, str],
) -> None:
    events = check(json.loads(traces["json"]))
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"modprobe", "insmod"} <= set(names.values())
    slices = [event for event in events if event["ph"] == "X"]
    assert {event["tid"] for event in slices} <= set(names)
    for event in events:
        if event["ph"] in "sf":
            around = [
                one
                for one in slices
                if one["tid"] == event["tid"] and one["ts"] <= event["ts"] <= one["ts"] + one["dur"]
            ]
            assert around, event
    assert {event["name"] for event in events if event["ph"] == "f"} == {
        "helper",
        "program",
        "init",
        "result",
    }


def test_times_are_virtual(traces: dict[str, str]) -> None:
    events = json.loads(traces["json"])["traceEvents"]
    (asked,) = [event for event in events if event["name"] == "request_module ok_dep"]
    assert f"{asked['ts'] / 1e6:.6f}" in traces["txt"]
    assert f"{asked['ts'] / 1e6:.6f}" in traces["mmd"]


def test_hostile_names_stay_text() -> None:
    steps = [TraceStep(1, 7, HOSTILE, "request_module", HOSTILE), TraceStep(2, 7, HOSTILE, "live", HOSTILE)]
    found = timeline(steps)
    assert "\x1b" not in trace_text(found, "text")
    assert trace_text(found, "text").count("\n") == 2
    lines = trace_text(found, "mermaid").splitlines()
    assert len(lines) == 4
    assert not any(";" in re.sub("#[0-9]+;", "", line) for line in lines)
    check(json.loads(trace_text(found, "chrome")))
    whole(trace_text(found, "html"))


def test_one_kernel_and_a_file_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, to = str(here / "ok_dep.ko"), str(here / "none.json")
    for words in (["--trace", to, "--kernel", "a", "--kernel", "b"], ["--trace-format", "html"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(["ukmod", "run", module, *words])
        assert ended.value.code == 2
    assert "--trace: name one kernel" in capsys.readouterr().err
    assert cli.main(["ukmod", "run", module, "--trace", f"{to}/x"]) == 3


def test_a_trace_goes_with_junit_and_a_format_that_is_named(here: Path) -> None:
    to = here / "trace"
    words = ["--trace", str(to), "--trace-format", "chrome", "--junit", str(here / "junit.xml")]
    assert cli.main(["ukmod", "run", str(here / "ok_dep.ko"), *words]) == 0
    check(json.loads(to.read_text()))
    words[1] = f"{to}/nowhere"
    assert cli.main(["ukmod", "run", str(here / "ok_dep.ko"), *words]) == 3
