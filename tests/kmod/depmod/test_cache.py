from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.elfwriter import module

from ukmod.kmod.depmod.cache import cache_path, load, read_cached, store
from ukmod.kmod.depmod.facts import Facts
from ukmod.kmod.depmod.reader import read_all
from ukmod.kmod.depmod.scan import Candidate

OLD = 1_000_000_000


class Reader:
    """Reads modules, and remembers which."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, modules: Sequence[Candidate]) -> list[Facts]:
        self.read = [module.name for module in modules]
        return read_all(modules)


@pytest.fixture
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ukmod.kmod.depmod.cache._SETTLED_NS", -(10**12))


def modules(directory: Path) -> list[Candidate]:
    for name in ("a", "b"):
        (directory / f"{name}.ko.gz").write_bytes(gzip.compress(module(name, f"alias=of-{name}")))
    return [Candidate(name, f"{directory}/{name}.ko.gz", f"{name}.ko.gz") for name in ("a", "b")]


def aliases(facts: Sequence[Facts]) -> list[tuple[str, ...]]:
    return [fact.aliases for fact in facts]


@pytest.mark.usefixtures("_settled")
def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    found, cache, reader = modules(tmp_path), f"{tmp_path}/cache/x", Reader()
    assert aliases(read_cached(found, cache, reader)) == [("of-a",), ("of-b",)]
    assert reader.read == ["a", "b"]
    (tmp_path / "b.ko.gz").write_bytes(gzip.compress(module("b", "alias=new")))
    assert aliases(read_cached(found, cache, reader)) == [("of-a",), ("new",)]
    assert reader.read == ["b"]
    assert aliases(read_cached(found, cache, reader)) == [("of-a",), ("new",)]
    assert reader.read == []


def test_a_file_that_has_just_changed_is_not_trusted(tmp_path: Path) -> None:
    found, reader = modules(tmp_path), Reader()
    for _ in range(2):
        read_cached(found, f"{tmp_path}/cache", reader)
        assert reader.read == ["a", "b"]


@pytest.mark.usefixtures("_settled")
@pytest.mark.parametrize("damage", ["cut", "flipped", "others", "link", "directory"])
def test_a_cache_in_any_state_is_harmless(tmp_path: Path, damage: str) -> None:
    found, cache, reader = modules(tmp_path), tmp_path / "cache", Reader()
    read_cached(found, str(cache), reader)
    data = bytearray(cache.read_bytes())
    if damage == "cut":
        cache.write_bytes(data[:-1])
    elif damage == "flipped":
        data[-10] ^= 1
        cache.write_bytes(data)
    elif damage == "others":
        cache.chmod(0o666)
    else:
        cache.rename(tmp_path / "elsewhere")
        if damage == "link":
            cache.symlink_to("elsewhere")
        else:
            cache.mkdir()
    assert aliases(read_cached(found, str(cache), reader)) == [("of-a",), ("of-b",)]
    assert reader.read == ["a", "b"]


def test_plain_modules_are_not_cached(tmp_path: Path) -> None:
    (tmp_path / "a.ko").write_bytes(module("a"))
    os.utime(tmp_path / "a.ko", (OLD, OLD))
    read_cached([Candidate("a", f"{tmp_path}/a.ko", "a.ko")], f"{tmp_path}/cache", read_all)
    assert not (tmp_path / "cache").exists()


def test_where_it_is() -> None:
    assert cache_path("/lib/modules/6.1", {}, privileged=True).startswith("/var/cache/ukmod/depmod-")
    assert cache_path("/x", {"HOME": "/home/u"}, privileged=False).startswith("/home/u/.cache/ukmod/depmod-")
    assert cache_path("/x", {"XDG_CACHE_HOME": "/c"}, privileged=False) != cache_path(
        "/y", {"XDG_CACHE_HOME": "/c"}, privileged=False
    )


def test_a_root_without_a_cache_directory_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "var/cache"
    monkeypatch.setattr("ukmod.kmod.depmod.cache._SYSTEM", str(system))
    where = cache_path("/lib/modules/6.1", {}, privileged=True)
    store(where, {"x": 1})
    assert list(tmp_path.iterdir()) == []
    system.mkdir(parents=True)
    store(where, {"x": 1})
    assert load(where) == {"x": 1}
