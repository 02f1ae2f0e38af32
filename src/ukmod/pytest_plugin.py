"""The fixture ``ukmod_kernel``: unit tests of compiled kernel modules, under pytest.

::

    def test_it_loads_and_leaves_nothing(ukmod_kernel):
        ukmod_kernel.insmod("build/frob.ko", "level=3")
        ukmod_kernel.run(5)  # virtual seconds
        assert "frob: ready" in ukmod_kernel.dmesg()
        ukmod_kernel.rmmod("frob")

Every test has a machine of its own. A test fails if its machine ends with an oops, a warning, misused memory,
or memory, threads, timers or registrations that an unloaded module left, unless the test allows that:
``ukmod_kernel.allow("leak")`` or ``@pytest.mark.ukmod_allow("oops", "leak")``. The kernel log is part of the
report of a test that failed. A test is one result, whatever fails while its fixtures are torn down.

pytest imports this file at each start, so it imports nothing of ukmod before a test asks for a machine.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import runtestprotocol  # what other plugins that change reports call, too

if TYPE_CHECKING:
    from ukmod.kernel.checked import CheckedKernel

__all__ = ["ukmod_kernel"]

_FIXTURE = "ukmod_kernel"
_MACHINE: pytest.StashKey[CheckedKernel] = pytest.StashKey()
_LOG: pytest.StashKey[str] = pytest.StashKey()
"""The kernel log of a machine that has been shut down."""
_LATE: pytest.StashKey[list[str]] = pytest.StashKey()
"""The problems found when the machine was shut down, unless that itself is what fails the test."""
_OPTIONS = {
    "tree": "what modprobe loads from: a /lib/modules/RELEASE, or any directory of .ko files",
    "image": "the kernel's image, 'none', or 'auto' (the default): the one found by vermagic, if needed",
    "btf": "a file with the kernel's BTF, for modules without debug information",
    "seed": "runnable tasks take turns at random, reproducibly, by this number",
    "patience": "the seconds of CPU time that one call of the machine may take (300 by default)",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option and a setting of the ini file for each argument of the machine."""
    group = parser.getgroup("ukmod", "emulated kernel")
    for name, text in _OPTIONS.items():
        group.addoption(f"--ukmod-{name}", metavar=name.upper(), help=text)
        parser.addini(f"ukmod_{name}", f"{text} (see --ukmod-{name})", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "ukmod_allow(*kinds): ukmod_kernel may end with an oops, warning, misuse, leak, thread or dangling",
    )


@pytest.fixture
def ukmod_kernel(request: pytest.FixtureRequest) -> Iterator[CheckedKernel]:
    """A ``ukmod.Kernel`` that fails its test if it ends badly; ``allow(*kinds)`` says what is expected.

    Options: --ukmod-tree, --ukmod-image, --ukmod-btf, --ukmod-seed, --ukmod-patience, or ukmod_tree,
    ukmod_image, ukmod_btf, ukmod_seed, ukmod_patience in the ini file.
    """
    from ukmod.errors import UkmodError

    node = request.node
    try:
        kernel = _make(request.config)
        for mark in node.iter_markers("ukmod_allow"):
            kernel.allow(*mark.args)
    except UkmodError as error:
        pytest.fail(f"ukmod_kernel: {error}", pytrace=False)
    with kernel:
        node.stash[_MACHINE] = kernel
        yield kernel
        del node.stash[_MACHINE]
        # Other fixtures may have done something after the test, such as unloading a module.
        text = _problems(kernel)
        node.stash[_LOG] = kernel.dmesg()
        if text and _LATE in node.stash:
            node.stash[_LATE].append(text)
        elif text:
            pytest.fail(text, pytrace=False)


def _make(config: pytest.Config) -> CheckedKernel:
    from ukmod.errors import UsageError
    from ukmod.kernel.checked import CheckedKernel
    from ukmod.kernel.limits import PATIENCE

    seed, patience = _setting(config, "seed"), _setting(config, "patience")
    try:
        number = int(seed, 0) if seed else None
    except ValueError:
        raise UsageError("the seed is not a number", subject=seed) from None
    try:
        seconds = float(patience or PATIENCE)
    except ValueError:
        raise UsageError("the patience is not a number", subject=patience) from None
    image = _setting(config, "image") or "auto"
    return CheckedKernel(
        tree=_path(config, "tree"),
        btf=_path(config, "btf"),
        image=image if image in ("auto", "none") else _path(config, "image"),
        seed=number,
        patience=seconds,
    )


def _setting(config: pytest.Config, name: str) -> str:
    return str(config.getoption(f"--ukmod-{name}") or config.getini(f"ukmod_{name}"))


def _path(config: pytest.Config, name: str) -> str | None:
    """A path on the command line is relative to where pytest was started, one in the ini file to the root."""
    if given := config.getoption(f"--ukmod-{name}"):
        return os.path.join(config.invocation_params.dir, given)
    written = config.getini(f"ukmod_{name}")
    return os.path.join(config.rootpath, written) if written else None


def _problems(kernel: CheckedKernel) -> str:
    """What is wrong with a machine; empty if nothing is."""
    found = kernel.final_problems()
    head = "the kernel did not end well (ukmod_kernel.allow(KIND) if that is meant):"
    return "\n  ".join([head, *map(str, found)]) if found else ""


# -- one result for each test -----------------------------------------------------------------------------


@pytest.hookimpl
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test that uses the fixture, and make its reports one result before anybody sees them."""
    if _FIXTURE not in getattr(item, "fixturenames", ()):
        return None
    item.stash[_LATE] = []
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    _merge(reports, item.stash[_LATE])
    if any(report.failed for report in reports) and (log := item.stash.get(_LOG, "")):
        _attach(log, reports)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


# A test that asks for the fixture by request.getfixturevalue() is not known to use it before it has done so.
# It fails in its call if it can, and its report is complete then.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail such a test that passed if its machine did not end well."""
    __tracebackhide__ = True
    result = yield
    kernel = item.stash.get(_MACHINE, None)
    if kernel is not None and _LATE not in item.stash and (text := _problems(kernel)):
        pytest.fail(text, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Complete the report of such a test that failed."""
    report = yield
    kernel = item.stash.get(_MACHINE, None)
    if report.failed and kernel is not None and _LATE not in item.stash:
        item.stash[_LATE] = []  # this report is the test's result
        if (text := _problems(kernel)) and text not in report.longreprtext:
            report.sections.append((_FIXTURE, text))
        _attach(kernel.dmesg(), [report])
    return report


def _attach(log: str, reports: Sequence[pytest.TestReport]) -> None:
    """Put the kernel log into the reports of a test that failed, and into JUnit's XML as a property."""
    for report in reports:
        report.user_properties.append(("dmesg", log))
        if report.failed:
            report.sections.append(("dmesg of ukmod_kernel", log))


def _merge(reports: Sequence[pytest.TestReport], late: list[str]) -> None:
    """Leave at most one report that is not "passed": the test's own, or that of a set-up which failed.

    late: problems of the machine that no report has.
    """
    result = next((report for report in reports if report.when == "call"), reports[0])
    for other in reports:
        if other is not result and not other.passed:
            _add(result, other)
            other.outcome, other.longrepr = "passed", None
            vars(other).pop("wasxfail", None)
    for text in late:
        if result.failed:
            result.sections.append((_FIXTURE, text))
        else:  # as expected, if a failure was expected
            result.outcome, result.longrepr = "skipped" if hasattr(result, "wasxfail") else "failed", text


def _add(result: pytest.TestReport, other: pytest.TestReport) -> None:
    """Make what another report of the same test says part of its result: as its reason, or as a section."""
    if result.failed:
        if other.failed:
            result.sections.append((f"failed at {other.when}", other.longreprtext))
        return
    result.sections[:] = other.sections  # of all phases until then
    result.outcome, result.longrepr = other.outcome, other.longrepr
    vars(result).pop("wasxfail", None)
    if hasattr(other, "wasxfail"):
        result.wasxfail = other.wasxfail
