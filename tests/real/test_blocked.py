"""The scenarios, run by the C modprobe: each is what the table says, and explain is never wrong."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.kmod.predict import images
from tests.kmod.predict.scenarios import (
    BLOCKED,
    BUILTIN,
    LOADED,
    MODULES,
    NOT_FOUND,
    SCENARIOS,
    UNKNOWN,
    Scenario,
)
from tests.kmod.predict.test_blocked import explained
from tests.real import configurations, judge
from tests.real.judge import Judge

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    judge.require()
    return judge.make(tmp_path_factory.mktemp("court"), MODULES, BUILTIN)


def truth(court: Judge, scenario: Scenario) -> str:
    """Return what the C modprobe does: the modules that the word stands for are loaded, or are not."""
    images.configure(court.root, scenario.files)
    options = ["-b"] if scenario.use_blacklist else []
    meant = court.meant(scenario.word, scenario.cmdline)
    if not meant:
        return NOT_FOUND
    meant |= {scenario.word.replace("-", "_")} & MODULES.keys()
    there = court.loaded_by(*options, scenario.word, cmdline=scenario.cmdline) | set(BUILTIN)
    return LOADED if meant <= there else BLOCKED


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_is_what_the_table_says(court: Judge, scenario: Scenario) -> None:
    if scenario.verdict != UNKNOWN:
        assert truth(court, scenario) == scenario.verdict


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32))
@example(seed=30)
@example(seed=927)
def test_explain_is_never_wrong_about_a_configuration_by_chance(court: Judge, seed: int) -> None:
    """``--hypothesis-profile=fuzz`` tries a thousand."""
    chosen = configurations.of_seed(seed)
    expected = truth(court, chosen)
    assert explained(court.root, chosen).verdict in {expected, UNKNOWN}
