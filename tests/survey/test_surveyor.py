"""The process that tries modules for a survey: it answers, it may die, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.golden import modules
from tests.processes import all_end, children, descendants

from ukmod.errors import MachineError, UkmodError
from ukmod.kernel.trees import open_tree
from ukmod.survey.surveyor import Surveyors
from ukmod.survey.verdict import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("ok_dep", "ret_enodev", "endless"):
        (tmp_path / f"{name}.ko").symlink_to(modules()[name])
    return Settings(str(tmp_path), patience=100)


@pytest.fixture
def surveyors() -> Iterator[Surveyors]:
    surveyors = Surveyors()
    yield surveyors
    surveyors.close()


def mine(surveyors: Surveyors) -> int:
    """The process of this thread."""
    return int(surveyors._mine.child.process.pid)


def busy(surveyors: Surveyors, pids: set[int]) -> int:
    """Wait for another process than these that is trying a module."""
    while True:
        for child in tuple(surveyors._all):
            if child.process.pid not in pids and children(child.process.pid):
                return int(child.process.pid)
        time.sleep(0.01)


def test_verdicts_come_in_the_order_of_the_names(surveyors: Surveyors, settings: Settings) -> None:
    verdicts = surveyors.batch(settings, ["ret_enodev", "ok_dep"])
    assert [(one.name, one.kind) for one in verdicts] == [("ret_enodev", "refuses"), ("ok_dep", "loads")]


def test_a_thread_keeps_its_process(surveyors: Surveyors, settings: Settings) -> None:
    surveyors.batch(settings, ["ok_dep"])
    first = mine(surveyors)
    surveyors.batch(settings, ["ret_enodev"])
    assert mine(surveyors) == first


def test_another_process_takes_the_place_of_one_that_died(surveyors: Surveyors, settings: Settings) -> None:
    surveyors.batch(settings, ["ok_dep"])
    os.kill(mine(surveyors), signal.SIGKILL)
    (verdict,) = surveyors.batch(settings, ["ok_dep"])
    assert verdict.kind == "loads"


def test_the_module_that_has_its_process_killed_is_named(surveyors: Surveyors, settings: Settings) -> None:
    def kill_what_tries_endless() -> None:
        pids: set[int] = set()
        for _ in ("with the others", "alone"):
            pids.add(pid := busy(surveyors, pids))
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_what_tries_endless)
    killer.start()
    endless, other = surveyors.batch(settings, ["endless", "ok_dep"])
    killer.join()
    assert (endless.kind, endless.cause) == ("emulator", "the process that tried it was killed by SIGKILL")
    assert other.kind == "loads"


def test_stopping_leaves_no_process(surveyors: Surveyors, settings: Settings) -> None:
    stopped: list[int] = []

    def stop() -> None:
        stopped.append(pid := busy(surveyors, set()))
        stopped.extend(children(pid))
        surveyors.stop()

    killer = threading.Thread(target=stop)
    killer.start()
    with pytest.raises(MachineError, match="was killed by SIGKILL"):
        surveyors.batch(settings, ["endless"])
    killer.join()
    surveyors.close()
    assert len(stopped) == 2
    assert all_end(stopped)


def test_a_process_takes_the_indexes_that_were_made(settings: Settings) -> None:
    surveyors = Surveyors(open_tree(settings.tree).made_indexes())
    (Path(settings.tree) / "exporter.ko").symlink_to(modules()["exporter"])
    try:
        (verdict,) = surveyors.batch(settings, ["ok_dep"])
        assert verdict.kind == "loads"
        with pytest.raises(UkmodError, match="exporter: no such module"):
            surveyors.batch(settings, ["exporter"])
    finally:
        surveyors.close()


def test_what_cannot_be_surveyed(surveyors: Surveyors) -> None:
    with pytest.raises(UkmodError, match="/nowhere: there is no such directory"):
        surveyors.batch(Settings("/nowhere"), ["ok_dep"])


WORKER = """
import sys
from ukmod.survey.surveyor import survey_apart
from ukmod.survey.verdict import Settings
for name in sys.argv[2:]:
    (verdict,) = survey_apart(Settings(sys.argv[1], patience=100), [name])
    print(verdict.kind, flush=True)
"""
"""What a cluster's worker does; it ends when all is done."""


def worker(settings: Settings, *names: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-X", "dev", "-c", WORKER, settings.tree, *names]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_cluster_s_worker_keeps_processes_of_its_own_and_leaves_none(settings: Settings) -> None:
    with worker(settings, "ok_dep", "ret_enodev") as process:
        out, _ = process.communicate()
    assert (out, process.returncode) == ("loads\nrefuses\n", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed_in_the_midst_of_a_module_leaves_no_process(
    settings: Settings, number: int
) -> None:
    with worker(settings, "ok_dep", "endless") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loads\n"
        while len(started := descendants(process.pid)) < 2:  # what tries modules, and its copy
            time.sleep(0.01)
        process.send_signal(number)
    assert all_end(started)


def test_a_process_whose_parent_ended_before_it_could_ask_ends() -> None:
    command = [sys.executable, "-m", "ukmod.survey.surveyor", str(os.getppid())]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 1
