from __future__ import annotations

import hashlib
import json
import os
import shutil
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


def test_json_has_the_members_that_its_page_lists(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert closure(root, "--json", "--why", "base", "user") == 0
    assert json.loads(capsys.readouterr().out)["why"] == ["base", "user"]
    assert closure(root, "--json", "--format", "manifest", "user") == 0
    value = json.loads(capsys.readouterr().out)
    page = (Path(__file__).parents[2] / "docs/reference/json.md").read_text()
    section = page.partition("## ukmod.closure/1")[2].partition("\n## ")[0]
    members = {key for rows in value.values() if isinstance(rows, list) for row in rows for key in row}
    members |= {"why", *value} - {"schema", "ukmod"}
    assert {name for name in members if f"`{name}`" not in section} == set()


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


def test_many_missing_files_are_one_line_and_none_if_quiet(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = [f"firmware=x{number}.bin" for number in range(200)]
    (root / "lib/modules/4.4.4/kernel/user.ko").write_bytes(module(*fields, name="user"))
    assert closure(root, "user") == 0
    assert capsys.readouterr().err == (
        "ukmod closure: warning: 200 firmware files are missing: for user (200); --json lists them\n"
    )
    assert closure(root, "--quiet", "user", "nothing") == 1
    assert capsys.readouterr().err == "ukmod closure: error: module nothing is missing\n"


def archive(root: Path, path: Path, *words: str) -> bytes:
    assert closure(root, "--quiet", "--format", "cpio", "-o", str(path), *words) == 0
    return path.read_bytes()


def test_an_archive_is_the_same_each_time_and_wherever_its_root_lies(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = archive(root, tmp_path / "1.cpio", "user")
    shutil.copytree(root / "lib", tmp_path / "moved/lib")
    os.utime(tmp_path / "moved/lib/modules/4.4.4/kernel/user.ko", (1, 1))
    assert archive(tmp_path / "moved", tmp_path / "2.cpio", "base", "user") == first
    assert b"lib/modules/4.4.4/modules.dep.bin\0" in first
    assert b"modules.dep" not in archive(root, tmp_path / "3.cpio", "--no-indexes", "user")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    dated = archive(root, tmp_path / "4.cpio", "user")
    assert len(dated) == len(first)
    assert b"%08X" % 86400 in dated
    assert b"%08X" % 86400 not in first


def test_no_archive_is_written_of_what_is_incomplete(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "modules.cpio"
    assert closure(root, "--format", "cpio", "-o", str(path), "user", "nothing") == 1
    assert not path.exists()
    assert closure(root, "--on-missing", "warn", "--format", "cpio", "-o", str(path), "user", "nothing") == 0
    assert path.exists()


def test_a_manifest_is_mtree(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "lib/firmware/u.bin.xz").write_bytes(b"12345")
    assert closure(root, "--format", "manifest", "--no-indexes", "user") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["#mtree", "/set uid=0 gid=0 time=0.0", "./lib type=dir mode=0755"]
    digest = hashlib.sha256(b"12345").hexdigest()
    assert f"./lib/firmware/u.bin.xz type=file mode=0644 size=5 sha256digest={digest}" in lines


def test_copies_into_one_root_are_indexed_together(root: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    assert closure(root, "--quiet", "--copy", str(to), "base") == 0
    assert closure(root, "--quiet", "--copy", str(to), "user") == 0
    assert (to / "lib/firmware/u.bin.xz").exists()
    text = (to / "lib/modules/4.4.4/modules.dep").read_text().splitlines()
    assert sorted(text) == ["kernel/base.ko:", "kernel/user.ko: kernel/base.ko"]
    assert closure(root, "--copy", str(tmp_path / "nowhere"), "base") == 3


def test_why_shows_the_chain(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert closure(root, "--quiet", "--why", "base", "user") == 0
    assert capsys.readouterr().out == "base: a dependency of user\nuser: requested as user\n"
    assert closure(root, "--quiet", "--why", "nothing", "user") == 1
    assert capsys.readouterr().err == "ukmod closure: nothing is not needed by any of them\n"


def test_what_a_machine_has_loaded_is_a_beginning(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lsmod").write_text("Module  Size  Used by\nuser 16384 0\ngone 1 0\n")
    (tmp_path / "modules").write_text("base 16384 1 - Live 0x0000000000000000\n")
    assert closure(root, "--no-firmware", "--loaded", str(tmp_path / "lsmod")) == 0
    found = capsys.readouterr()
    assert found.out.split("/")[-1] == "user.ko\n"
    assert found.err == "ukmod closure: warning: loaded gone is missing\n"
    (tmp_path / "sys/base").mkdir(parents=True)
    (tmp_path / "sys/base/initstate").write_text("live\n")
    (tmp_path / "sys/kernel").mkdir()
    assert closure(root, "--loaded", str(tmp_path / "sys")) == 0
    assert capsys.readouterr().out.endswith("base.ko\n")


def test_devices_are_a_beginning(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alias = "alias=pci:v00008086d00001237sv*sd*bc*sc*i*"
    (root / "lib/modules/4.4.4/kernel/pci.ko").write_bytes(module(alias, name="pci"))
    assert depmod.main(["depmod", "-b", str(root), "4.4.4"], LinuxHost()) == 0
    (tmp_path / "list").write_text("00:00.0 0600: 8086:1237 (rev 02)\n")
    assert closure(root, "--modalias", str(tmp_path / "list")) == 0
    assert capsys.readouterr().out.endswith("pci.ko\n")


def test_nothing_to_begin_with_is_a_mistake(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert closure(root) == 2
    assert "name modules" in capsys.readouterr().err
    assert closure(root, "re:(") == 2


def test_a_tree_without_indexes_says_how_to_make_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "lib/modules/4.4.4/modules.dep.bin").unlink()
    assert closure(root, "user") == 3
    assert f"run depmod 4.4.4 -b {root}" in capsys.readouterr().err
