from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.kmod import moduletree
from tests.kmod.moduletree import module

from ukmod import cli
from ukmod.kmod.linux import LinuxHost
from ukmod.kmod.tools import depmod


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with two modules, their indexes, and firmware for one of them."""
    modules = {
        "base": module(name="base", exports=["base_fn"]),
        "user": module("firmware=u.bin", "firmware=v.bin", name="user", needs=["base_fn"]),
    }
    moduletree.write(tmp_path, **modules)
    assert depmod.main(["depmod", "-b", str(tmp_path), "4.4.4"], LinuxHost()) == 0
    (tmp_path / "lib/firmware").mkdir()
    (tmp_path / "lib/firmware/u.bin.xz").write_bytes(b"")
    return tmp_path


def closure(root: Path, *arguments: str) -> int:
    return cli.main(["ukmod", "closure", "-d", str(root), "-S", "4.4.4", *arguments])


def test_files_one_a_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert closure(root, "user") == 0
    kernel = root / "lib/modules/4.4.4/kernel"
    found = capsys.readouterr()
    assert found.out == f"{kernel}/base.ko\n{kernel}/user.ko\n{root}/lib/firmware/u.bin.xz\n"
    assert found.err == "ukmod closure: warning: firmware v.bin is missing (for user)\n"


def test_without_firmware(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert closure(root, "--no-firmware", "user") == 0
    found = capsys.readouterr()
    assert found.out.endswith("/user.ko\n")
    assert found.err == ""


@pytest.mark.parametrize(("choice", "status", "level"), [("error", 1, "error"), ("warn", 0, "warning")])
def test_what_is_missing_is_an_error_or_not(
    root: Path, capsys: pytest.CaptureFixture[str], choice: str, status: int, level: str
) -> None:
    assert closure(root, "--on-missing", choice, "base", "nothing") == status
    found = capsys.readouterr()
    assert found.err == f"ukmod closure: {level}: module nothing is missing\n"
    assert found.out.endswith("base.ko\n")


def test_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert closure(root, "--json", "user") == 0
    value = json.loads(capsys.readouterr().out)
    assert [one["module"] for one in value["modules"]] == ["base", "user"]
    assert value["firmware"][0]["module"] == "user"
    assert value["missing"] == [{"kind": "firmware", "name": "v.bin", "needed_by": "user", "why": ""}]


def test_a_misspelt_module_is_answered_with_the_one_meant(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert closure(root, "bsae") == 1
    assert capsys.readouterr().err.endswith("module bsae is missing; did you mean base?\n")


def test_of_a_file_that_is_no_module_it_says_what_is_wrong(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0")
    for name in ("passwd", "", "nowhere"):
        assert closure(root, str(tmp_path / name)) == 1
    out, err = capsys.readouterr()
    first, second, third = [line for line in err.splitlines() if line.startswith("ukmod closure")]
    assert out == ""
    assert "passwd: not an ELF file" in first
    assert "Is a directory" in second or "not a file" in second
    assert third.endswith("nowhere is missing")
