"""A sample of the modules of other kernels, in the emulated kernel and in the real one."""

from __future__ import annotations

import os
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from _pytest.mark.structures import ParameterSet
from tests import verdicts
from tests.real import debian
from tests.real.test_survey import DIFFERENT, OTHER_WORDS, gist, in_words_of_the_table
from tests.verdicts import Verdict

from ukmod.survey.survey import survey
from ukmod.survey.verdict import Settings

pytestmark = [pytest.mark.real, pytest.mark.kernels, pytest.mark.slow, pytest.mark.timeout(1800)]

HANGS = "the real kernel hangs in it, under QEMU with -icount"
DIFFERENT_THERE = {"5.10.0-46-amd64": {"nvmet_rdma": HANGS}}
"""Modules that need not do the same, by the kernel's release, and why."""
OTHER_WORDS_THERE = OTHER_WORDS | {"amd_pmf": "it needs button"}
"""Modules that need not log the same, and why."""
FEW = 60
"""The modules of a kernel that are tried where UKMOD_SURVEY asks for less than all, always the same ones."""


def of(release: str) -> ParameterSet:
    """A kernel; one process makes its survey, for all of these tests."""
    return pytest.param(release, marks=pytest.mark.xdist_group(f"survey of {release}"))


@pytest.fixture(scope="module", params=map(of, verdicts.others()))
def compared(request: pytest.FixtureRequest) -> dict[str, tuple[Verdict, Verdict]]:
    """By module: the real kernel's verdict, and ours."""
    kernel = debian.require_release(request.param)
    stored = verdicts.load(kernel.release)
    names = sorted(stored)
    if os.environ.get("UKMOD_SURVEY") is not None:
        names = random.Random(1).sample(names, FEW)
    settings = Settings(str(kernel.modules), str(kernel.vmlinuz))
    left_out = DIFFERENT_THERE.get(kernel.release, {}).keys() | DIFFERENT.keys()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        found = map(in_words_of_the_table, survey(executor, settings, sorted({*names} - left_out)))
        return {verdict.name: (stored[verdict.name], verdict) for verdict in found}


def test_each_loads_or_refuses_as_on_the_real_kernel(compared: dict[str, tuple[Verdict, Verdict]]) -> None:
    loads = {name: (real.load, found.load) for name, (real, found) in compared.items()}
    assert {name: pair for name, pair in loads.items() if pair[0] != pair[1]} == {}


def test_each_can_be_unloaded_where_the_real_kernel_can(
    compared: dict[str, tuple[Verdict, Verdict]],
) -> None:
    removals = {name: (real.unload, found.unload) for name, (real, found) in compared.items()}
    assert {name: pair for name, pair in removals.items() if pair[0] != pair[1]} == {}


def test_each_logs_what_it_logs_on_the_real_kernel(compared: dict[str, tuple[Verdict, Verdict]]) -> None:
    logs = {
        name: (gist(real.log), gist(found.log))
        for name, (real, found) in compared.items()
        if name not in OTHER_WORDS_THERE
    }
    assert {name: pair for name, pair in logs.items() if pair[0] != pair[1]} == {}
