"""Building a module for a kernel: the plan, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ukmod.errors import NotFoundError, UkmodError
from ukmod.machine.image.installed import Installed
from ukmod.packages.build import Building, build, building


@pytest.fixture
def headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Headers of a kernel that was built by a compiler which is nowhere."""
    monkeypatch.delenv("CC", raising=False)
    place = tmp_path / "headers"
    place.mkdir()
    (place / ".kernelvariables").write_text("CCACHE = ccache\nCC = $(CROSS_COMPILE)gcc-99\n")
    return place


def plan(headers: Path, tmp_path: Path) -> Building:
    kernel = Installed("6.12", "vmlinuz", "/", headers=str(headers))
    return building(kernel, str(tmp_path / "source"), str(tmp_path / "copy"))


def test_a_copy_of_the_source_is_built_by_the_headers(headers: Path, tmp_path: Path) -> None:
    command = plan(headers, tmp_path).command
    assert command[:2] == ("make", "-s")
    assert command[3:] == ("-C", str(headers), f"M={tmp_path}/copy", "CC=gcc", "modules")


def test_the_users_compiler_is_named(headers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "clang")
    assert "CC=clang" in plan(headers, tmp_path).command


def test_a_compiler_that_is_installed_is_the_kernels(headers: Path, tmp_path: Path) -> None:
    (headers / ".kernelvariables").unlink()
    assert not any(word.startswith("CC=") for word in plan(headers, tmp_path).command)


def test_a_kernel_without_headers_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        NotFoundError, match=r"6\.12: its headers are not .*: ukmod kernel fetch 6\.12 --headers"
    ):
        building(Installed("6.12", "vmlinuz", "/"), "source", "copy")


@pytest.fixture
def source(headers: Path, tmp_path: Path) -> Path:
    """A source, with what an earlier build left in it; kbuild is a Makefile that copies and complains."""
    place = tmp_path / "source"
    (place / "sub").mkdir(parents=True)
    (place / "x.c").write_text("x")
    (place / "old.ko").write_text("built for another kernel")
    (place / "sub" / "y.c").write_text("y")
    (headers / "Makefile").write_text(
        "modules:\n"
        "\t@test ! -e $(M)/fails.c || { echo $(M)/fails.c:1: error >&2; exit 1; }\n"
        "\t@cp $(M)/x.c $(M)/x.ko; cp $(M)/sub/y.c $(M)/sub/y.ko\n"
    )
    return place


@pytest.mark.usefixtures("source")
def test_what_was_built_is_found_and_what_lay_there_is_not(headers: Path, tmp_path: Path) -> None:
    assert build(plan(headers, tmp_path)) == [f"{tmp_path}/copy/sub/y.ko", f"{tmp_path}/copy/x.ko"]


def test_a_failure_is_what_the_compiler_says(headers: Path, source: Path, tmp_path: Path) -> None:
    (source / "fails.c").touch()
    with pytest.raises(UkmodError) as caught:
        build(plan(headers, tmp_path))
    assert str(caught.value) == "build for 6.12: make failed:\nfails.c:1: error"
