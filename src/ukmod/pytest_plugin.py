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

With several images, ``ukmod_images = 5.10 6.1 6.12`` in the ini file, each test runs on each of them, and the
fixture ``ukmod_image`` is the one of the test: ``ukmod_kernel.insmod(f"build/{ukmod_image}/frob.ko")``.

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

__all__ = ["ukmod_image", "ukmod_kernel"]

_FIXTURE = "ukmod_kernel"
_IMAGE = "ukmod_image"
_MACHINE: pytest.StashKey[CheckedKernel] = pytest.StashKey()
_LOG: pytest.StashKey[str] = pytest.StashKey()
"""The kernel log of a machine that has been shut down."""
_LATE: pytest.StashKey[list[str]] = pytest.StashKey()
"""The problems found when the machine was shut down, unless that itself is what fails the test."""
_OPTIONS = {
    "tree": "what modprobe loads from: a /lib/modules/RELEASE, or any directory of .ko files",
    "image": "the kernel's image, a kernel such as 6.12, 'none', or 'auto' (the default): if needed",
    "images": "several of these, separated by spaces or commas: each test runs on each of them",
    "btf": "a file with the kernel's BTF, for modules without debug information",
    "root": "the files that the root file system begins with: a directory or an archive; it needs an image",
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
    config.addinivalue_line(
        "markers", "ukmod_images(*images): the test runs on each of these, not on those of the ini file"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test that uses the fixture one test for each image."""
    if _IMAGE in metafunc.fixturenames and (images := _images(metafunc.config, metafunc.definition)):
        metafunc.parametrize(_IMAGE, images, indirect=True)


def _images(config: pytest.Config, node: pytest.Item) -> list[str]:
    """The images of a test, each once; empty if it has the one that is the default."""
    if given := config.getoption("--ukmod-images"):
        return _listed(given)
    if config.getoption("--ukmod-image"):
        return []
    if (mark := node.get_closest_marker("ukmod_images")) is not None:
        return list(dict.fromkeys(map(str, mark.args)))
    return _listed(config.getini("ukmod_images"))


def _listed(text: str) -> list[str]:
    return list(dict.fromkeys(text.replace(",", " ").split()))


@pytest.fixture
def ukmod_image(request: pytest.FixtureRequest) -> str:
    """The image of the test's ``ukmod_kernel``, as it is written in the setting, the option or the marker.

    With --ukmod-images, ukmod_images in the ini file, or the marker ukmod_images, a test runs once for each.
    """
    if hasattr(request, "param"):
        return str(request.param)
    images = _images(request.config, request.node)
    if len(images) > 1:  # it was asked for by getfixturevalue(), too late to make several tests of one
        text = f"has several images ({', '.join(images)}), so a test names it, or {_FIXTURE}, as an argument"
        pytest.fail(f"{_IMAGE}: {text}", pytrace=False)
    return images[0] if images else _setting(request.config, "image") or "auto"


@pytest.fixture
def ukmod_kernel(request: pytest.FixtureRequest, ukmod_image: str) -> Iterator[CheckedKernel]:
    """A ``ukmod.Kernel`` that fails its test if it ends badly; ``allow(*kinds)`` says what is expected.

    Options: --ukmod-tree, --ukmod-image, --ukmod-images, --ukmod-btf, --ukmod-root, --ukmod-seed,
    --ukmod-patience, or ukmod_tree, ukmod_image and so on in the ini file.
    """
    from ukmod.errors import UkmodError

    node = request.node
    try:
        kernel = _make(request.config, ukmod_image)
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


def _make(config: pytest.Config, image: str) -> CheckedKernel:
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
    return CheckedKernel(
        tree=_path(config, "tree"),
        btf=_path(config, "btf"),
        image=_image(config, image),
        root=_path(config, "root"),
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


def _image(config: pytest.Config, image: str) -> str:
    """An image as a Kernel takes it: "auto", "none", a kernel's release, or else a path.

    Raises NotFoundError if there is no such file.
    """
    from ukmod.errors import NotFoundError
    from ukmod.machine.image.releases import is_word

    options = (config.getoption("--ukmod-image"), config.getoption("--ukmod-images"))
    path = os.path.join(config.invocation_params.dir if any(options) else config.rootpath, image)
    if os.path.exists(path):
        return path
    if image in ("auto", "none") or is_word(image):
        return image
    raise NotFoundError("there is no such image; a kernel may be named by its release, as 6.12", subject=path)


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
