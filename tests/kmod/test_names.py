"""Which spellings of a name are one."""

from __future__ import annotations

import pytest

from ukmod.kmod.names import is_module_file, modname_from_path, normalize_alias, normalize_modname


@pytest.mark.parametrize(
    ("name", "normalized"), [("snd-pcm", "snd_pcm"), ("a.ko", "a"), ("x-y.z-w", "x_y"), ("", "")]
)
def test_module_names(name: str, normalized: str) -> None:
    assert normalize_modname(name) == normalized


@pytest.mark.parametrize(
    ("path", "name"), [("/lib/m/snd-pcm.ko.xz", "snd_pcm"), ("./a.ko", "a"), ("dir/", ""), ("b", "b")]
)
def test_names_of_files(path: str, name: str) -> None:
    assert modname_from_path(path) == name


@pytest.mark.parametrize(
    ("alias", "normalized"),
    [
        ("net-pf-38", "net_pf_38"),
        ("usb:v-[0-9]p-", "usb:v_[0-9]p_"),
        ("[a-b]-[c-d]", "[a-b]_[c-d]"),
        ("[a[b]-", "[a[b]_"),
        ("a]", None),
        ("a[", None),
        ("[a]]", None),
    ],
)
def test_dashes_in_brackets_stay(alias: str, normalized: str | None) -> None:
    assert normalize_alias(alias) == normalized


@pytest.mark.parametrize(
    ("name", "is_module"),
    [
        ("a.ko", True),
        ("a.ko.zst", True),
        ("a.ko.gz", True),
        (".ko", False),
        ("a.ko.bz2", False),
        ("ko", False),
    ],
)
def test_module_files(name: str, *, is_module: bool) -> None:
    assert is_module_file(name) is is_module
