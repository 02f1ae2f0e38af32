"""Finding the image that a module was built for: by its release's name, and then by its vermagic."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tests.machine.dwarfwriter import linked
from tests.machine.imagewriter import BANNER, RELEASE, VERMAGIC, bzimage, vmlinux

from ukmod.errors import FormatError
from ukmod.machine.image.find import LINKED_PLACES, PLACES, find_image, find_linked
from ukmod.machine.image.image import KernelImage
from ukmod.machine.types import types_for


def install(root: Path, place: str, content: bytes) -> str:
    path = root / place.format(release=RELEASE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("place", PLACES)
def test_the_image_is_found_where_distributions_put_it(tmp_path: Path, place: str) -> None:
    path = install(tmp_path, place, vmlinux())
    assert find_image(VERMAGIC, str(tmp_path)).path == path


def test_roots_are_looked_through_in_order(tmp_path: Path) -> None:
    install(tmp_path / "two", PLACES[0], vmlinux())
    one = install(tmp_path / "one", PLACES[1], vmlinux())
    found = find_image(VERMAGIC, str(tmp_path / "one"), str(tmp_path / "two"))
    assert found.path == one
    assert str(found) == f"the image of kernel {RELEASE} is {one}"


def test_another_build_of_the_release_is_not_taken(tmp_path: Path) -> None:
    path = install(tmp_path, PLACES[0], vmlinux())
    found = find_image(f"{RELEASE} SMP preempt mod_unload ", str(tmp_path))
    assert found.path is None
    assert f'{path} has vermagic "{VERMAGIC.strip()}", the module "{RELEASE} SMP preempt mod_unload"' in str(
        found
    )


def test_the_next_is_taken_if_one_is_damaged(tmp_path: Path) -> None:
    damaged = install(tmp_path, PLACES[0], b"no kernel")
    path = install(tmp_path, PLACES[1], vmlinux())
    found = find_image(VERMAGIC, str(tmp_path))
    assert found.path == path
    assert found.refused[0].startswith(damaged)


def test_where_it_was_looked_for_is_said(tmp_path: Path) -> None:
    found = find_image(VERMAGIC, str(tmp_path))
    assert found.path is None
    text = f"no image of kernel {RELEASE} was found (looked for {tmp_path}/boot/vmlinuz-{RELEASE}, "
    assert str(found).startswith(text)


def test_a_module_without_a_vermagic(tmp_path: Path) -> None:
    install(tmp_path, PLACES[0], vmlinux())
    found = find_image("", str(tmp_path))
    assert found.path is None
    assert str(found) == "no image was found: the module does not say which kernel it is for"


@pytest.mark.parametrize("release", ["../../etc", "/etc", "a\0b", "."])
def test_a_release_that_is_no_name(tmp_path: Path, release: str) -> None:
    assert find_image(f"{release} SMP", str(tmp_path)).looked_at == ()


class TestAnImageWithoutBtf:
    """Its types are in the DWARF of the vmlinux that it was made from."""

    @pytest.fixture
    def packed(self, tmp_path: Path) -> KernelImage:
        path = install(tmp_path, "boot/vmlinuz-{release}", bzimage(gzip.compress(vmlinux())))
        return KernelImage(path, cache="")

    @pytest.mark.parametrize("place", LINKED_PLACES)
    def test_a_vmlinux_is_found_where_builds_and_packages_put_it(
        self, packed: KernelImage, tmp_path: Path, place: str
    ) -> None:
        path = install(tmp_path, place, vmlinux(debug=linked()))
        found = find_linked(packed)
        assert found is not None
        assert found.path == path
        assert types_for((), kernel=packed).offset("own", "word") == 4

    @pytest.mark.parametrize("content", [vmlinux(), b"no kernel", b""], ids=["no DWARF", "text", "empty"])
    def test_what_says_nothing_of_types_is_passed_over(
        self, packed: KernelImage, tmp_path: Path, content: bytes
    ) -> None:
        install(tmp_path, LINKED_PLACES[0], content)
        path = install(tmp_path, LINKED_PLACES[1], vmlinux(debug=linked()))
        found = find_linked(packed)
        assert found is not None
        assert found.path == path

    def test_the_vmlinux_of_another_build_is_not_taken(self, packed: KernelImage, tmp_path: Path) -> None:
        other = vmlinux(debug=linked()).replace(BANNER.encode(), BANNER.replace("#1", "#2").encode())
        assert other != vmlinux(debug=linked())
        install(tmp_path, LINKED_PLACES[0], other)
        assert find_linked(packed) is None
        with pytest.raises(FormatError, match="or the kernel's vmlinux with debugging information"):
            types_for((), kernel=packed).sizeof("own")

    def test_a_vmlinux_with_dwarf_needs_no_other_file(self, tmp_path: Path) -> None:
        path = install(tmp_path, "vmlinux", vmlinux(debug=linked()))
        assert types_for((), kernel=KernelImage(path)).sizeof("own") == 40
        assert types_for((), btf=path).sizeof("own") == 40
