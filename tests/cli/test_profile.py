from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tests.machine.btfwriter import small_kernel
from tests.machine.dwarfwriter import small_module
from tests.machine.imagewriter import RELEASE, VERMAGIC, bzimage, vmlinux

from ukmod.cli.profile import main
from ukmod.errors import LayoutError, UsageError
from ukmod.machine.types import TypeSource, read_profile


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("packed", [True, False], ids=["bzImage", "vmlinux"])
def test_a_kernel_image_says_everything(tmp_path: Path, packed: bool) -> None:
    kernel = vmlinux(btf=small_kernel().data())
    (tmp_path / "kernel").write_bytes(bzimage(gzip.compress(kernel)) if packed else kernel)
    output = str(tmp_path / "profile.json.gz")
    assert main([str(tmp_path / "kernel"), "-o", output]) == 0
    profile = read_profile(output)
    assert (profile.stamp.release, profile.stamp.vermagic) == (RELEASE, VERMAGIC)
    assert profile.stamp.module_size == 64
    assert TypeSource(profile).struct("task_struct") is not None


def test_raw_btf_does_not_say_its_vermagic(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(small_kernel().data())
    arguments = [str(tmp_path / "vmlinux"), "-o", str(tmp_path / "profile.json")]
    with pytest.raises(UsageError, match="--vermagic"):
        main(arguments)
    assert main([*arguments, "--vermagic", "6.2 SMP "]) == 0
    assert read_profile(arguments[2]).stamp.release == "6.2"


def test_a_module_that_does_not_know_struct_module(tmp_path: Path) -> None:
    (tmp_path / "own.ko").write_bytes(small_module())
    with pytest.raises(LayoutError, match="struct module"):
        main([str(tmp_path / "own.ko"), "-o", str(tmp_path / "x.json"), "--vermagic", "6.2 "])
    assert not (tmp_path / "x.json").exists()
