"""What a module's tree lacks comes from its kernel's own modules."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from tests.elfwriter import module

from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import completed, needed_files, open_tree, read_module_file, tree_beside
from ukmod.kmod.depmod.library import depmod
from ukmod.kmod.tree import Tree


def write(directory: Path, name: str, depends: str = "", needs: str = "") -> Path:
    directory.mkdir(exist_ok=True)
    file = directory / f"{name}.ko"
    file.write_bytes(module(name, f"depends={depends}", exports=[f"{name}_f"], needs=needs.split()))
    return file


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A driver and its library, built elsewhere, on top of two modules of the kernel's; all need another."""
    own = tmp_path / "own"
    write(own, "bus")
    write(own, "core", "bus", "bus_f")
    write(own, "library", "bus", "bus_f")  # an older one
    write(tmp_path / "build", "library", "core", "core_f")
    return write(tmp_path / "build", "driver", "library,absent", "library_f")


def test_dependencies_are_taken_from_beside_the_module_first(driver: Path, tmp_path: Path) -> None:
    elf = read_module_file(str(driver)).elf()
    beside = needed_files(tree_beside(str(driver)), elf)
    files = completed(beside, elf, open_tree(tmp_path / "own"), read_module_file)
    assert [Path(file).relative_to(tmp_path).as_posix() for file in files] == [
        "own/bus.ko",
        "own/core.ko",
        "build/library.ko",
    ]


def test_a_kernel_named_by_its_release_lends_its_modules(
    driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ukmod.kernel.api.modules_of_image", lambda _: str(tmp_path / "own"))
    with Kernel(image=None) as k:
        (one,) = k.open_modules([str(driver)])
        assert [Path(file.path).stem for file in one.needs] == ["bus", "core", "library"]
        tree = k._search.tree_for(["-q", "--", "bus"])
        assert tree is not None
        assert tree.dirname == str(tmp_path / "own")
        assert k._search.tree_for(["-q", "--", "library"]) is k.tree
        assert k._search.tree_for(["-q", "--", "nonesuch"]) is tree


def test_indexes_that_were_made_in_memory_are_not_made_again(tmp_path: Path) -> None:
    write(tmp_path, "first")
    tree = open_tree(tmp_path)
    write(tmp_path, "second")
    again = open_tree(tmp_path, tree.made_indexes())
    assert list(again.module_names()) == list(tree.module_names()) == ["first"]
    assert again.config_paths == tree.config_paths


def test_indexes_of_a_tree_in_an_archive_are_made_once(tmp_path: Path) -> None:
    write(tmp_path, "first")
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add(tmp_path / "first.ko", "lib/modules/6.1.0/first.ko")
    tree = Tree.open(tmp_path / "root.tar")
    again = open_tree(tree.dirname, tree.made_indexes())
    assert again.made_indexes() == tree.made_indexes()
    with again.open_module(again.module_path("first")) as file:
        assert file.contents() == (tmp_path / "first.ko").read_bytes()


def test_a_tree_that_has_indexes_has_none_in_memory(tmp_path: Path) -> None:
    directory = tmp_path / "lib/modules/6.1.0"
    directory.mkdir(parents=True)
    write(directory, "first")
    depmod(tmp_path, "6.1.0")
    assert open_tree(directory).made_indexes() == {}
