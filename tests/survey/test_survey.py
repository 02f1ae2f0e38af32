"""A survey: each module in a copy of the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.golden import modules

from ukmod.errors import MachineError, NotFoundError
from ukmod.kernel.core import Core
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.machine.abi import Int
from ukmod.survey.survey import booted, plan, survey, survey_batch
from ukmod.survey.verdict import ModuleVerdict, Settings


class Inline(Executor):
    """Does the work at once, here."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as executors do
            future.set_exception(error)
        return future


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "modules"
    directory.mkdir()
    for name in ("ok_dep", "ret_enodev", "needs_missing_symbol", "endless", "exporter", "uses_exporter"):
        (directory / f"{name}.ko").symlink_to(modules()[name])
    return directory


def kinds(verdicts: Iterable[ModuleVerdict]) -> dict[str, str]:
    return {verdict.name: verdict.kind for verdict in verdicts}


def needs(monkeypatch: pytest.MonkeyPatch, name: str, other: str) -> None:
    """Have one module need another."""
    orders = {name: (f"{other}.ko", f"{name}.ko")}
    monkeypatch.setattr(
        "ukmod.survey.survey.load_order", lambda _tree, asked: orders.get(asked, (f"{asked}.ko",))
    )


def test_a_module_that_loads_and_unloads(tree: Path) -> None:
    (verdict,) = survey_batch(Settings(str(tree)), ["ok_dep"])
    assert (verdict.name, verdict.kind, verdict.unload) == ("ok_dep", "loads", "ok")
    assert verdict.fine


def test_modules_that_do_not_load(tree: Path) -> None:
    refuses, unknown = survey_batch(Settings(str(tree)), ["ret_enodev", "needs_missing_symbol"])
    assert (refuses.kind, refuses.cause, refuses.fine) == ("refuses", "ENODEV", True)
    assert (unknown.kind, unknown.fine) == ("unknown symbol", False)


def test_a_module_leaves_nothing_for_the_next(tree: Path) -> None:
    settings = Settings(str(tree))
    first, second = survey_batch(settings, ["ok_dep"]), survey_batch(settings, ["ok_dep"])
    assert kinds(first) == kinds(second) == {"ok_dep": "loads"}


def test_what_a_module_needs_is_loaded_first(tree: Path) -> None:
    (verdict,) = survey_batch(Settings(str(tree)), ["uses_exporter"])
    assert (verdict.kind, verdict.unload) == ("loads", "ok")


def test_a_module_is_judged_without_those_that_need_it(tree: Path) -> None:
    verdicts = survey_batch(Settings(str(tree)), ["uses_exporter", "exporter"])
    assert [(verdict.name, verdict.unload) for verdict in verdicts] == [
        ("uses_exporter", "ok"),
        ("exporter", "ok"),
    ]


def test_modules_that_begin_alike_share_the_beginning() -> None:
    root = plan(Dependencies(a="a.ko:", b="b.ko: a.ko", c="c.ko: b.ko a.ko", d="d.ko: a.ko"), "bcd")  # type: ignore[arg-type]
    (a,) = root.above.values()
    assert (a.file, a.names, list(a.above)) == ("a.ko", set(), ["b.ko", "d.ko"])
    assert list(root.all_names()) == ["b", "c", "d"]


class Dependencies:
    """A tree that knows modules.dep only."""

    def __init__(self, **lines: str) -> None:
        self.dependency_line = lines.get


def test_what_is_needed_and_refuses(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(monkeypatch, "ok_dep", "ret_enodev")
    verdict, needed = survey_batch(Settings(str(tree)), ["ok_dep", "ret_enodev"])
    assert (verdict.kind, verdict.cause) == ("dependency", "ret_enodev: ENODEV")
    assert needed.kind == "refuses"


def test_host_time_is_up(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(monkeypatch, "ok_dep", "endless")
    verdicts = survey_batch(Settings(str(tree), patience=0.5), ["ok_dep", "endless", "exporter"])
    assert kinds(verdicts) == {"ok_dep": "stuck", "endless": "stuck", "exporter": "loads"}
    assert verdicts[0].cause == "no end in endless_init"


def forgets(k: Core) -> None:
    """Allocates, each time."""
    k.slab.kmalloc(64)


def keeps(k: Core, kept: list[int] = []) -> None:  # noqa: B006 - of the process that tries the module
    """Allocates for the first who calls, and keeps that for all."""
    if not kept:
        kept.append(k.slab.kmalloc(64))


def frees_later(k: Core) -> None:
    """Allocates, and leaves it to a timer to free that."""
    address = k.slab.kmalloc(64)
    k.clock.at(k.clock.now + 300 * NSEC_PER_SEC, lambda: k.slab.kfree(address))


def replaces(k: Core, kept: list[int] = []) -> None:  # noqa: B006 - of the process that tries the module
    """Allocates a new one and frees the last one, as a maple tree does with its nodes."""
    kept.append(k.slab.kmalloc(64))
    if len(kept) > 1:
        k.slab.kfree(kept[-2])


def replaces_the_kernels(k: Core, kept: list[int] = []) -> None:  # noqa: B006 - of that process
    """Allocates and keeps one with the first load; with the second, replaces one of the kernel's own."""
    if len(kept) in (0, 3):  # three calls are a load
        k.slab.kmalloc(64)
    if len(kept) == 3:
        k.slab.kfree(kept[0])
    kept.append(0 if kept else k.slab.kernel_object(64))


@pytest.mark.parametrize(
    ("function", "classification"),
    [
        (forgets, "leak"),
        (keeps, "clean"),
        (frees_later, "clean"),
        (replaces, "clean"),
        (replaces_the_kernels, "clean"),
    ],
)
def test_a_leak_is_what_each_load_loses(
    tmp_path: Path, function: Callable[[Core], None], classification: str
) -> None:
    (tmp_path / "uses_exporter.ko").symlink_to(modules()["uses_exporter"])
    settings = Settings(str(tmp_path))
    k = booted(settings)

    def exporter() -> Int:
        function(k.core)
        return 0

    for name in ("exporter_plain", "exporter_gpl", "exporter_ns"):
        k.export(exporter, name=name)
    (verdict,) = survey_batch(settings, ["uses_exporter"])
    assert (verdict.kind, verdict.unload, verdict.classification) == ("loads", "ok", classification)
    if classification == "leak":
        assert verdict.blemish == "left kmalloc-64"
        assert sum(int(leak.split()[0]) for leak in verdict.leaks) == 3
        assert "[uses_exporter]" in verdict.leaks[0]
    assert verdict.log.count("uses_exporter: exit") == 1


def test_a_name_that_the_tree_does_not_know(tree: Path) -> None:
    with pytest.raises(NotFoundError, match="no such module"):
        list(survey(Inline(), Settings(str(tree)), ["ok_dep", "nonsense"]))


def test_a_worker_that_is_lost(tree: Path) -> None:
    def killed(_settings: Settings, _names: Sequence[str]) -> list[ModuleVerdict]:
        raise BrokenExecutor("killed")

    with pytest.raises(MachineError, match="ok_dep: a worker was lost: BrokenExecutor: killed"):
        list(survey(Inline(), Settings(str(tree)), ["ok_dep"], work=killed))


def test_the_executor_is_a_parameter(tree: Path) -> None:
    verdicts = list(survey(Inline(), Settings(str(tree)), ["ok_dep"], batch=1))
    assert [verdict.name for verdict in verdicts] == ["ok_dep"]


def test_a_thread_that_a_module_left_is_told_and_crashes(tree: Path) -> None:
    (tree / "thread_left.ko").symlink_to(modules()["thread_left"])
    (verdict,) = survey(Inline(), Settings(str(tree)), ["thread_left"])
    assert (verdict.classification, verdict.unload) == ("oops", "ok")
    assert verdict.dangling[0].startswith("thread leftover (pid ")


def test_what_a_module_left_behind_is_a_class_of_its_own() -> None:
    left = ("pointer to ear [leaves] in module_notify_list",)
    verdict = ModuleVerdict("leaves", "loads", unload="ok", dangling=left)
    assert (verdict.classification, verdict.fine) == ("dangling", False)


def test_a_verdict_of_an_older_journal_has_left_nothing_behind() -> None:
    values = asdict(ModuleVerdict("ok_dep", "loads", unload="ok"))
    del values["dangling"]
    assert ModuleVerdict.of(values).dangling == ()
