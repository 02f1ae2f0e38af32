"""What all tests share: where caches go, what may use the real kernel, and how much hypothesis tries.

A test that compares with a real kernel or the C kmod is marked ``real``, and only such a test may ask for
them. With UKMOD_REQUIRE=real, as in CI, a run without them ends at once, and a skipped test fails, whatever
its reason.

Parsers must take any bytes. The tests that throw them at one are marked ``fuzz``: every hypothesis test below
the directories of parsers. Each is quick by default; ``--hypothesis-profile=fuzz`` tries ten times as much,
and ``night`` a hundred times.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.kernel.exported_calls import ExportedCalls

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "xdg"
PARSERS = (HERE / "kmod", HERE / "machine", HERE / "kernel" / "image")
REQUIRED = bool(os.environ.get("UKMOD_REQUIRE"))
LEFT_OUT = pytest.StashKey[int]()

# A loaded machine is slow, and that is no fault of the code under test.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=1000)
settings.register_profile("night", settings.get_profile("default"), max_examples=10_000)
settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    """Set where caches go before any test, or a process that one starts, looks."""
    os.environ["XDG_CACHE_HOME"] = str(CACHE)
    config.stash[LEFT_OUT] = 0
    if REQUIRED:
        _check_requirements(os.environ["UKMOD_REQUIRE"])
    config.pluginmanager.register(ExportedCalls(config))


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the parsers' tests."""
    for item in items:
        test = getattr(item, "function", None)
        if getattr(test, "is_hypothesis_test", False) and any(map(item.path.is_relative_to, PARSERS)):
            item.add_marker(pytest.mark.fuzz)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a file's content by its size: compressed data have the time in them, and workers must agree."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 20 else None


# -- the real thing -----------------------------------------------------------------------------------------


def _check_requirements(wanted: str) -> None:
    """End the run, with a sentence, where there is nothing to compare with."""
    from tests.real import debian

    if wanted != "real":
        raise pytest.UsageError(f"UKMOD_REQUIRE={wanted}: only 'real' can be required")
    if missing := debian.missing():
        text = f"UKMOD_REQUIRE=real, but there is no {', no '.join(missing)}: run {debian.SCRIPT} as root"
        raise pytest.UsageError(text)


@pytest.hookimpl(tryfirst=True)  # before the test's fixtures are set up
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say to tests/real/debian.py whether this test may use it."""
    os.environ["UKMOD_REAL_TEST"] = "1" if item.get_closest_marker("real") is not None else "0"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that is skipped, where nothing may be."""
    report = yield
    _refuse_skipping(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a file that is skipped, where nothing may be."""
    report = yield
    _refuse_skipping(report)
    return report


def _refuse_skipping(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRED and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"nothing may be skipped (UKMOD_REQUIRE=real): {reason}"


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count the comparisons that are left out; -k and the like leave out what nobody asked for."""
    if items and "not real" in items[0].config.option.markexpr:
        items[0].config.stash[LEFT_OUT] += sum(1 for item in items if item.get_closest_marker("real"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of xdist: pass the count on to the process that reports it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take a worker's count; all workers collect the same tests, and one that died tells nothing."""
    count = getattr(node, "workeroutput", {}).get("left out", 0)
    node.config.stash[LEFT_OUT] = max(count, node.config.stash[LEFT_OUT])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line what was left out."""
    if count := config.stash[LEFT_OUT]:
        terminalreporter.write_line(
            f"{count:,} comparisons with a real kernel and the C kmod were left out: make real sets them up "
            "and runs them"
        )
