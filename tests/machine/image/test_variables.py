"""Names of variables that a kernel's kallsyms lacks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ukmod.machine.image.symbols import ImageSymbol
from ukmod.machine.image.variables import MAP_PLACES, names_variables, read_map, symbols_beside, unnamed

RELEASE = "6.1.0-lean"
FUNCTIONS = [ImageSymbol("_text", "T", 0xFFFFFFFF81000000), ImageSymbol("schedule", "T", 0xFFFFFFFF81000040)]
MAP = """\
0000000000000000 D __per_cpu_start
ffffffff81000000 T _text
ffffffff81000040 T schedule
ffffffff82000000 D init_task
"""


def image(root: Path) -> Any:
    """All that the search looks at of a packed image without debugging information."""
    return SimpleNamespace(
        path=str(root / "boot" / f"vmlinuz-{RELEASE}"), release=RELEASE, banner="", has_dwarf=False
    )


@pytest.mark.parametrize("place", MAP_PLACES)
def test_variables_are_named_by_the_system_map_of_the_same_build(tmp_path: Path, place: str) -> None:
    path = tmp_path / place.format(release=RELEASE)
    path.parent.mkdir(parents=True)
    path.write_text(MAP)
    found = unnamed(FUNCTIONS, symbols_beside(image(tmp_path), FUNCTIONS))
    assert [(symbol.name, symbol.address) for symbol in found] == [
        ("__per_cpu_start", 0),
        ("init_task", 0xFFFFFFFF82000000),
    ]
    assert names_variables(found)
    assert not names_variables(FUNCTIONS)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(MAP.replace("81000040", "81000080"), id="another build"),
        pytest.param("ffffffffffffffff B The real System.map is in the linux-image-dbg package\n", id="stub"),
        pytest.param("", id="empty"),
    ],
)
def test_a_system_map_of_another_build_names_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / MAP_PLACES[0].format(release=RELEASE)
    path.parent.mkdir()
    path.write_text(text)
    assert list(symbols_beside(image(tmp_path), FUNCTIONS)) == []


def test_lines_that_nm_does_not_print_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "System.map"
    path.write_bytes(b"\xff\xfe\n\nffffffff8100zzzz T no\n-fffffff81000000 T no\n" + MAP.encode())
    assert [symbol.name for symbol in read_map(str(path))] == [
        "__per_cpu_start",
        "_text",
        "schedule",
        "init_task",
    ]
