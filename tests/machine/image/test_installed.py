"""The kernels on this machine, which are found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ukmod.errors import NotFoundError
from ukmod.kernel.image import choice
from ukmod.machine.image.installed import (
    Installed,
    fetched_roots,
    image_at,
    installed,
    kernel_named,
    modules_of,
    store,
)


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two kernels, one of a package of old and one of split packages, and a fetch at work."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels = Path(store())
    add(kernels / "6.1.0-56-amd64", "boot/vmlinuz-6.1.0-56-amd64", "lib/modules/6.1.0-56-amd64/kernel/a.ko")
    modules = "usr/lib/modules/7.2.13+deb14-amd64"
    add(kernels / "7.2.13+deb14-amd64", f"{modules}/vmlinuz", f"{modules}/kernel/a.ko.xz")
    add(kernels / ".fetch-0123" / "0", "boot/vmlinuz-6.12.1-amd64")
    return kernels


def add(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def of_the_cache() -> list[Installed]:
    return installed(fetched_roots())


def test_fetched_kernels_are_found_the_newest_first(fetched: Path) -> None:
    newest, old = of_the_cache()
    assert newest.release == "7.2.13+deb14-amd64"
    assert newest.modules == f"{newest.root}/usr/lib/modules/{newest.release}"
    assert newest.image == f"{newest.modules}/vmlinuz"
    assert old.image == str(fetched / old.release / "boot/vmlinuz-6.1.0-56-amd64")
    assert old.modules == f"{old.root}/lib/modules/{old.release}"
    assert old.headers == newest.headers == ""


def test_headers_are_found_where_they_were_fetched_to(fetched: Path) -> None:
    build = "usr/src/linux-headers-6.1.0-56-amd64"
    add(fetched.parent / "headers/6.1.0-56-amd64", f"{build}/Makefile")
    assert kernel_named("6.1", of_the_cache()).headers == str(
        fetched.parent / f"headers/6.1.0-56-amd64/{build}"
    )


def test_headers_are_found_by_the_link_of_the_modules(fetched: Path) -> None:
    add(fetched / "6.1.0-56-amd64", "lib/modules/6.1.0-56-amd64/build/Makefile")
    assert kernel_named("6.1", of_the_cache()).headers.endswith("lib/modules/6.1.0-56-amd64/build")


@pytest.mark.parametrize("release", ["6.1.0-56-amd64", "7.2.13+deb14-amd64"])
def test_an_image_in_a_root_has_the_modules_beside_it(fetched: Path, release: str) -> None:
    (one,) = (kernel for kernel in of_the_cache() if kernel.release == release)
    assert modules_of(release) == modules_of(one.image) == one.modules


def test_an_image_in_no_root_has_no_modules(fetched: Path) -> None:
    add(fetched, "vmlinuz-6.1.0-56-amd64", "boot/vmlinuz-6.9")
    assert modules_of(f"{fetched}/vmlinuz-6.1.0-56-amd64") == modules_of(f"{fetched}/boot/vmlinuz-6.9") == ""


def test_an_image_is_a_file_or_the_name_of_a_kernel(fetched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert image_at("7.2.13+deb14-amd64") == of_the_cache()[0].image
    assert image_at("some/vmlinuz") == "some/vmlinuz"
    monkeypatch.chdir(fetched)
    Path("6.1").touch()
    assert image_at("6.1") == "6.1"


def test_a_kernel_that_is_not_here_says_how_to_get_it(fetched: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        kernel_named("6.12", of_the_cache())
    assert "ukmod kernel fetch 6.12" in str(caught.value)
    assert "7.2.13+deb14-amd64, 6.1.0-56-amd64" in str(caught.value)


def test_without_a_cache_there_are_no_fetched_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    assert fetched_roots() == ()
    with pytest.raises(NotFoundError, match="there are no kernels here"):
        kernel_named("6.12", of_the_cache())


def test_an_image_is_searched_for_among_the_fetched_kernels_last(fetched: Path) -> None:
    *before, old, newest = choice.roots("/srv/image/lib/modules/6.1.0/a.ko")
    assert before == ["/srv/image", "/"]
    assert [old, newest] == [str(fetched / "6.1.0-56-amd64"), str(fetched / "7.2.13+deb14-amd64")]
