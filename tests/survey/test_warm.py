"""The module that a survey's kernel loads and unloads before it is copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.golden import modules

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import open_tree
from ukmod.record import replace
from ukmod.survey.survey import survey_batch
from ukmod.survey.verdict import ModuleVerdict, Settings
from ukmod.survey.warm import is_silent, smallest, warm

SILENT = ModuleVerdict("x", "loads", unload="ok")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "modules"
    directory.mkdir()
    for name in ("ok_dep", "exporter", "uses_exporter", "ret_enodev"):
        (directory / f"{name}.ko").symlink_to(modules()[name])
    return directory


def test_the_smallest_modules_that_need_no_other_are_tried(tree: Path) -> None:
    sizes = {name: (tree / f"{name}.ko").stat().st_size for name in ("ok_dep", "exporter", "ret_enodev")}
    assert smallest(open_tree(tree), 5) == sorted(sizes, key=lambda name: (sizes[name], name))
    assert smallest(open_tree(tree), 1) == [min(sizes, key=lambda name: (sizes[name], name))]


def test_a_module_whose_file_is_gone_is_not_tried(tree: Path) -> None:
    opened = open_tree(tree)
    (tree / "ok_dep.ko").unlink()
    assert "ok_dep" not in smallest(opened, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "refuses"},
        {"unload": "its exit function did not return"},
        {"blemish": "left timer"},
        {"log": ("a line",)},
        {"requests": ("net-pf-1",)},
        {"warnings": ("a warning",)},
        {"dangling": ("a timer",)},
        {"leaks": ("32 bytes",)},
    ],
)
def test_a_module_that_does_anything_else_is_not_silent(change: dict[str, Any]) -> None:
    assert is_silent(SILENT)
    assert not is_silent(replace(SILENT, **change))


def test_the_first_silent_module_is_loaded_and_unloaded(tree: Path) -> None:
    def verdict_of(name: str) -> ModuleVerdict:
        return SILENT if name == "ok_dep" else replace(SILENT, kind="refuses")

    with Kernel(tree=tree) as k:
        assert warm(k, verdict_of) == "ok_dep"
        said = [record.text for record in k.core.log.records]
        assert said[-2:] == ["ok_dep: init, x=0", "ok_dep: exit"]
        assert not k.modules


def test_without_a_silent_module_the_kernel_is_left_as_it_is(tree: Path) -> None:
    with Kernel(tree=tree) as k:
        k.boot()
        now = k.core.clock.now
        assert warm(k, lambda _: replace(SILENT, kind="refuses")) == ""
        assert k.core.clock.now == now


def test_a_module_that_prints_a_line_is_not_silent(tree: Path) -> None:
    (verdict,) = survey_batch(Settings(str(tree)), ["ok_dep"])
    assert (verdict.kind, verdict.unload) == ("loads", "ok")
    assert not is_silent(verdict)
