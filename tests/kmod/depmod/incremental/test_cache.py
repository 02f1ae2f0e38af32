from __future__ import annotations

from pathlib import Path

import pytest

from ukmod.kmod.depmod.incremental.cache import cache_path, load, store


def test_where_it_is() -> None:
    assert cache_path("/lib/modules/6.1", {}, privileged=True).startswith("/var/cache/ukmod/depmod-")
    assert cache_path("/x", {"HOME": "/home/u"}, privileged=False).startswith("/home/u/.cache/ukmod/depmod-")
    assert cache_path("/x", {"XDG_CACHE_HOME": "/c"}, privileged=False) != cache_path(
        "/y", {"XDG_CACHE_HOME": "/c"}, privileged=False
    )


def test_a_root_without_a_cache_directory_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "var/cache"
    monkeypatch.setattr("ukmod.kmod.depmod.incremental.cache._SYSTEM", str(system))
    where = cache_path("/lib/modules/6.1", {}, privileged=True)
    store(where, {"x": 1})
    assert list(tmp_path.iterdir()) == []
    system.mkdir(parents=True)
    store(where, {"x": 1})
    assert load(where) == {"x": 1}
