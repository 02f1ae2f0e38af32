"""Modules in an archive are run, surveyed and indexed where they are."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.golden import modules
from tests.machine.imagewriter import RELEASE as OF_IMAGE
from tests.machine.imagewriter import VERMAGIC, vmlinux
from tests.real.debian import RELEASE

import ukmod
from ukmod import cli
from ukmod.kmod import Tree, depmod
from ukmod.kmod.cpio import ArchiveEntry, newc
from ukmod.machine.image.find import find_image, image_in

NAMES = ("ok_dep", "exporter", "uses_exporter", "ret_enodev")


def archive(path: Path, files: dict[str, bytes]) -> str:
    path.write_bytes(
        b"".join(newc([ArchiveEntry(name, stat.S_IFREG | 0o644, files[name]) for name in files]))
    )
    return str(path)


@pytest.fixture
def packed(tmp_path: Path) -> str:
    """An archive of modules without indexes, which says no kernel's name but theirs."""
    below = f"usr/lib/modules/{RELEASE}/kernel"
    return archive(
        tmp_path / "a.cpio", {f"{below}/{name}.ko": modules()[name].read_bytes() for name in NAMES}
    )


def test_run_loads_a_module_and_what_it_needs(packed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "run", "-d", packed, "--kernel", "none", "uses_exporter"]) == 0
    assert "unloaded: uses_exporter, exporter\n" in capsys.readouterr().out


def test_modprobe_in_the_machine_finds_it(packed: str) -> None:
    with ukmod.Kernel(tree=Tree.open(packed), image=None) as k:
        k.modprobe("uses-exporter")
        assert list(k.modules) == ["uses_exporter", "exporter"]


def test_survey_tries_each_in_processes_of_their_own(packed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ukmod", "survey", "-d", packed, "--kernel", "none", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    for name in NAMES:
        assert f"  {name}\n" in out


def test_the_archive_has_the_image(tmp_path: Path, packed: str, capsys: pytest.CaptureFixture[str]) -> None:
    below = f"lib/modules/{OF_IMAGE}"
    path = archive(
        tmp_path / "b.cpio",
        {f"{below}/kernel/a.ko": modules()["ok_dep"].read_bytes(), f"{below}/vmlinuz": vmlinux()},
    )
    tree = Tree.open(path)
    found = find_image(VERMAGIC, path, tree=tree)
    assert found.path == f"{path}/{below}/vmlinuz"
    assert image_in(tree, found.path).release == OF_IMAGE
    assert find_image(VERMAGIC, path).path is None
    assert cli.main(["ukmod", "run", "-d", packed, "--kernel", f"{packed}/boot/vmlinuz", "ok_dep"]) == 3
    assert (
        capsys.readouterr().err
        == f"ukmod run: {packed}/boot/vmlinuz: cannot read: No such file or directory\n"
    )


def test_depmod_prints_its_indexes_or_writes_them_elsewhere(
    tmp_path: Path, packed: str, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / f"root/lib/modules/{RELEASE}"
    (plain / "kernel").mkdir(parents=True)
    for name in NAMES:
        (plain / f"kernel/{name}.ko").write_bytes(modules()[name].read_bytes())
    depmod(tmp_path / "root", RELEASE)
    assert cli.main(["ukmod", "depmod", "-b", packed, "-m", "usr/lib/modules", "-n"]) == 0
    printed = capfd.readouterr().out
    for name in ("modules.dep", "modules.symbols"):
        assert (plain / name).read_text() in printed
    out = tmp_path / "out"
    assert cli.main(["ukmod", "depmod", "-b", packed, "-m", "usr/lib/modules", "-o", str(out), RELEASE]) == 0
    for name in ("modules.dep.bin", "modules.symbols.bin"):
        assert (out / f"usr/lib/modules/{RELEASE}" / name).read_bytes() == (plain / name).read_bytes()
    assert cli.main(["ukmod", "depmod", "-b", packed, RELEASE]) == 1
    assert capfd.readouterr().err == (
        f"depmod: ERROR: {packed} is an archive: -n prints its indexes, -o ROOT writes them there\n"
    )
    assert cli.main(["ukmod", "depmod", "--strict", "-b", packed, RELEASE]) == 1
