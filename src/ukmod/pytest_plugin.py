"""The fixture ``ukmod_kernel``: unit tests of compiled kernel modules, under pytest.

::

    def test_it_loads_and_leaves_nothing(ukmod_kernel):
        ukmod_kernel.insmod("build/frob.ko", "level=3")
        ukmod_kernel.run(5)  # virtual seconds
        assert "frob: ready" in ukmod_kernel.dmesg()
        ukmod_kernel.rmmod("frob")

Every test has a machine of its own. A test fails if its machine ends with an oops, a warning, misused memory,
memory or threads that an unloaded module left, unless the test allows that: ``ukmod_kernel.allow("leak")``
or ``@pytest.mark.ukmod_allow("oops", "leak")``. The kernel log is part of the report of a test that failed.

pytest imports this file at each start, so it imports nothing of ukmod before a test asks for a machine.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ukmod.kernel.checked import CheckedKernel, Problem

__all__ = ["ukmod_kernel"]

_MACHINE: pytest.StashKey[CheckedKernel] = pytest.StashKey()
_REPORTED: pytest.StashKey[frozenset[Problem]] = pytest.StashKey()
_FAILED: pytest.StashKey[bool] = pytest.StashKey()
"""Has the test itself failed? Its machine's end is then no result of its own."""
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
        "markers", "ukmod_allow(*kinds): ukmod_kernel may end with an oops, warning, misuse, leak or thread"
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
        if not node.stash.get(_FAILED, False):
            # Other fixtures may have done something after the test, such as unloading a module.
            _check(kernel, node.stash.get(_REPORTED, frozenset()))


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


def _check(kernel: CheckedKernel, known: frozenset[Problem] = frozenset()) -> None:
    __tracebackhide__ = True
    found = [problem for problem in kernel.problems() if problem not in known]
    if found:
        lines = ["the kernel did not end well (ukmod_kernel.allow(KIND) if that is meant):", *map(str, found)]
        pytest.fail("\n  ".join(lines), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that passed if its machine did not end well."""
    __tracebackhide__ = True
    result = yield
    kernel = item.stash.get(_MACHINE, None)
    if kernel is not None:
        item.stash[_REPORTED] = frozenset(kernel.problems())
        _check(kernel)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the kernel log into the report of a test that failed, and into JUnit's XML as a property."""
    report = yield
    kernel = item.stash.get(_MACHINE, None)
    if kernel is not None and report.failed:
        item.stash[_FAILED] = True
        if log := kernel.dmesg():
            report.sections.append(("dmesg of ukmod_kernel", log))
            item.user_properties.append(("dmesg", log))
    return report
