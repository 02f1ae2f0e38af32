"""Patterns that select modules, as mkosi's and dracut's configurations have them."""

from __future__ import annotations

import pytest

from ukmod.errors import UsageError
from ukmod.kmod.selection import is_pattern, selector, selector_of_any

MODULES = {
    "e1000e": "kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko.xz",
    "hid_generic": "kernel/drivers/hid/hid-generic.ko",
    "hid_hyperv": "kernel/drivers/hid/hid-hyperv.ko.zst",
    "hyperv_fb": "kernel/drivers/video/fbdev/hyperv_fb.ko",
    "own": "updates/own.ko",
}


@pytest.mark.parametrize(
    ("pattern", "selected"),
    [
        ("hid-generic", {"hid_generic"}),
        ("hid_generic.ko", {"hid_generic"}),
        ("hid-*", {"hid_generic", "hid_hyperv"}),
        ("hid[-_]?yperv", {"hid_hyperv"}),
        ("[!e-h]*", {"own"}),
        ("drivers/hid/*", {"hid_generic", "hid_hyperv"}),
        ("kernel/drivers/*/hid-generic.ko", {"hid_generic"}),
        ("kernel/drivers/*/hid_generic", {"hid_generic"}),
        ("*/e1000e.ko", {"e1000e"}),
        ("=drivers/hid", {"hid_generic", "hid_hyperv"}),
        ("=kernel/drivers/hid/", {"hid_generic", "hid_hyperv"}),
        ("drivers/net/", {"e1000e"}),
        ("=drivers/hi", set()),
        ("re:hyperv", {"hid_hyperv", "hyperv_fb"}),
        ("re:^drivers/hid/hid-.*v[.]ko", {"hid_hyperv"}),
        ("re:^updates/", {"own"}),
        ("re:^kernel", set()),
    ],
)
def test_a_pattern_selects_by_name_directory_or_path(pattern: str, selected: set[str]) -> None:
    selects = selector(pattern)
    assert {name for name, path in MODULES.items() if selects(name, path)} == selected


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("ext4", False),
        ("fs-ext4", False),
        ("pci:v00008086d0000100Esv00sd00bc02sc00i00", False),
        ("/lib/[a].ko", False),
        ("./a*.ko", False),
        ("snd-*", True),
        ("=fs", True),
        ("fs/", True),
        ("re:x", True),
    ],
)
def test_names_aliases_and_paths_are_no_patterns(word: str, answer: bool) -> None:
    assert is_pattern(word) is answer


def test_any_of_several_patterns_is_enough() -> None:
    selects = selector_of_any(["own", "re:intel"])
    assert [name for name, path in MODULES.items() if selects(name, path)] == ["e1000e", "own"]


@pytest.mark.parametrize("text", ["re:(", "re:a**", "re:" + "a" * 5000])
def test_what_is_not_a_regular_expression_is_a_mistake_of_the_callers(text: str) -> None:
    with pytest.raises(UsageError):
        selector(text)
