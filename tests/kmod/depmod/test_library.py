"""depmod as a function writes what the program writes, and says in values what the program prints."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from tests.elfwriter import module
from tests.kmod.depmod.trees import CHAIN, RELEASE, make_tree
from tests.kmod.fakehost import FakeHost

from ukmod.errors import MissingExtraError, NotFoundError, UkmodError
from ukmod.kmod import Context, Tree, plan
from ukmod.kmod import depmod as by_name
from ukmod.kmod.depmod.library import depmod
from ukmod.kmod.tools.depmod import main


def written(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_the_files_are_the_programs(tmp_path: Path) -> None:
    ours, theirs = make_tree(tmp_path / "ours", CHAIN), make_tree(tmp_path / "theirs", CHAIN)
    done = depmod(tmp_path / "ours", RELEASE)
    assert main(["depmod", "--no-cache", "-b", str(tmp_path / "theirs"), RELEASE], FakeHost()) == 0
    assert written(ours) == written(theirs)
    assert done.directory == str(ours)
    assert set(done.files) <= set(written(ours))
    assert "modules.dep" in done.files


def test_a_tree_can_be_looked_up_in_then(tmp_path: Path) -> None:
    make_tree(tmp_path, CHAIN)
    with pytest.raises(NotFoundError, match="depmod"):
        plan(Context.open(Tree.open(tmp_path)), "top")
    assert "top" in depmod(tmp_path).modules
    (target,) = plan(Context.open(Tree.open(tmp_path)), "top").targets
    assert [step.module for step in target.steps] == ["base_x", "middle", "top"]


def test_the_name_in_the_package_is_the_function_whichever_is_imported_first() -> None:
    code = "import {}; from ukmod.kmod import depmod; depmod('/nonexistent', '6.1')"
    for first in ("ukmod.kmod", "ukmod.kmod.depmod", "ukmod.kmod.depmod.graph"):
        command = [sys.executable, "-c", code.format(first)]
        found = subprocess.run(command, check=False, capture_output=True, text=True)
        assert "NotFoundError: /nonexistent/lib/modules/6.1: cannot search for modules" in found.stderr
    assert by_name.__doc__


def test_another_root_can_be_written_to(tmp_path: Path) -> None:
    directory = make_tree(tmp_path / "in", CHAIN)
    done = depmod(tmp_path / "in", outdir=tmp_path / "out")
    assert done.directory == f"{tmp_path}/out/lib/modules/{RELEASE}"
    assert "modules.dep.bin" in written(Path(done.directory))
    assert "modules.dep.bin" not in written(directory)


def test_the_roots_own_configuration_counts(tmp_path: Path) -> None:
    make_tree(tmp_path, {"a.ko": module(), "off/b.ko": module()})
    (tmp_path / "etc/depmod.d").mkdir(parents=True)
    (tmp_path / "etc/depmod.d/x.conf").write_text("exclude off\n")
    assert depmod(tmp_path).modules == ("a",)
    assert depmod(tmp_path, config_paths=()).modules == ("a", "b")


def test_modules_that_need_each_other_leave_the_old_files(tmp_path: Path) -> None:
    directory = make_tree(tmp_path, {"a.ko": (["a_do"], ["b_do"]), "b.ko": (["b_do"], ["a_do"])})
    before = written(directory)
    with pytest.raises(UkmodError, match=r"modules need each other: (a -> b -> a|b -> a -> b)") as caught:
        depmod(tmp_path)
    assert caught.value.errno == errno.ELOOP
    assert written(directory) == before


def test_a_file_that_is_no_module_is_a_message(tmp_path: Path) -> None:
    make_tree(tmp_path, {"a.ko": b"not a module"})
    assert any("failed to load symbols from" in line for line in depmod(tmp_path).messages)


@pytest.mark.parametrize("program", [False, True])
def test_without_zstd_the_extra_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bool
) -> None:
    directory = make_tree(tmp_path, {"a.ko.zst": b"\x28\xb5\x2f\xfd" + bytes(100)})
    before = written(directory)
    monkeypatch.setitem(sys.modules, "backports", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    if program:
        host = FakeHost()
        assert main(["depmod", "--no-cache", "-b", str(tmp_path), RELEASE], host) == 1
        assert host.stderr.text.endswith("pip install 'ukmod[zstd]'\n")
        assert host.stderr.text.count("\n") == 1
    else:
        with pytest.raises(MissingExtraError, match=r"pip install 'ukmod\[zstd\]'"):
            depmod(tmp_path)
    assert written(directory) == before


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    make_tree(tmp_path, CHAIN)
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(UkmodError, match="cannot be written: Not a directory") as caught:
        depmod(tmp_path, outdir=tmp_path / "out")
    assert caught.value.errno == errno.ENOTDIR
