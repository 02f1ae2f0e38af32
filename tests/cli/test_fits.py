from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.kmod import moduletree
from tests.kmod.moduletree import module

from ukmod import cli
from ukmod.kmod import depmod

SYMVERS = "0x00000011\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n0x00000022\tf\tvmlinux\tEXPORT_SYMBOL_GPL\t\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a module that exports base_fn, and the Module.symvers of its kernel."""
    directory = moduletree.write(tmp_path, base=module(name="base", exports={"base_fn": 0x33}))
    (directory / "build").mkdir()
    (directory / "build/Module.symvers").write_text(SYMVERS)
    depmod(tmp_path)
    return tmp_path


def fits(*arguments: str) -> int:
    return cli.main(["ukmod", "fits", *arguments])


def written(path: Path, crcs: dict[str, int], needs: tuple[str, ...] = ("f", "base_fn")) -> str:
    path.write_bytes(module(name="own", needs=needs, crcs={"module_layout": 0x11, **crcs}))
    return str(path)


def test_a_file_that_fits_its_root(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = written(root / "own.ko", {"f": 0x22, "base_fn": 0x33})
    assert fits("-d", str(root), own) == 0
    assert capsys.readouterr().out == f"{own}: fits\n"
    assert fits("-d", str(root), "--all", own) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines == ["  f => vmlinux, 0x00000022, GPL only", "  base_fn => base, 0x00000033"]


def test_a_file_that_was_built_against_another_kernel(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = written(root / "own.ko", {"f": 0x22, "base_fn": 0x34})
    assert fits("-d", str(root), own) == 1
    assert "base_fn => base, 0x00000033: exported with another version" in capsys.readouterr().out


def test_files_may_use_each_other(root: Path) -> None:
    own = written(root / "own.ko", {"f": 0x22, "other": 0x44}, ("f", "other"))
    assert fits("-d", str(root), own) == 1
    (root / "other.ko").write_bytes(
        module(name="other", exports={"other": 0x44}, crcs={"module_layout": 0x11})
    )
    assert fits("-d", str(root), own, str(root / "other.ko")) == 0


def test_without_the_kernel_s_exports_nobody_can_tell(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "lib/modules/4.4.4/build/Module.symvers").unlink()
    own = written(root / "own.ko", {"f": 0x22, "base_fn": 0x33})
    assert fits("-d", str(root), own) == 2
    assert "the kernel's exports are not known" in capsys.readouterr().out


def test_a_doubt_about_many_symbols_is_said_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "lib/modules/4.4.4/build/Module.symvers").unlink()
    names = ("a", "b", "c", "d", "e", "base_fn")
    own = written(root / "own.ko", dict.fromkeys(names, 51), names)
    assert fits("-d", str(root), own) == 2
    out = capsys.readouterr().out
    assert out.count("the kernel's exports are not known") == 1
    assert "  a, b, c and 2 more: exported by no module" in out
    assert fits("-d", str(root), "--all", own) == 2
    assert capsys.readouterr().out.count("the kernel's exports are not known") == 5


def test_symvers_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = written(root / "own.ko", {"f": 0x22}, ("f",))
    (root / "symvers").write_text(SYMVERS)
    assert fits("--symvers", str(root / "symvers"), own) == 0
    assert fits("--symvers", str(root / "symvers"), "--vermagic", "5.5.5 SMP", own) == 1
    assert "vermagic differs" in capsys.readouterr().out


def test_json_has_each_symbol(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = written(root / "own.ko", {"f": 0x22, "base_fn": 0x34})
    assert fits("-d", str(root), "--json", own) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ukmod.fits/1"
    (found,) = document["files"]
    assert [(one["symbol"], one["exporter"], one["gpl_only"]) for one in found["symbols"]] == [
        ("f", "vmlinux", True),
        ("base_fn", "base", False),
    ]
    page = (Path(__file__).parents[2] / "docs/reference/json.md").read_text()
    section = page.partition("## ukmod.fits/1")[2].partition("\n## ")[0]
    assert {name for name in (*found, *found["symbols"][0]) if f"`{name}`" not in section} == set()


@pytest.mark.parametrize("arguments", [["own.ko"], ["-d", "/nowhere", "own.ko"], ["--bogus"]])
def test_mistakes_have_a_status_of_their_own(
    root: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(root)
    written(root / "own.ko", {})
    try:
        status: object = fits(*arguments)
    except SystemExit as error:
        status = error.code
    assert status == 3
    assert fits("--symvers", "x", str(root / "nowhere.ko")) == 3
