"""An archive says of each module what was put into it, or what is newer."""

from __future__ import annotations

import marshal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.kmod.depmod.incremental.archive import Archive, Pieces, archive
from ukmod.kmod.depmod.parts import ALIASES, LINKS

PARTS = st.tuples(*[st.binary(max_size=6)] * 3)
SAID = st.dictionaries(st.sampled_from("abcdef"), PARTS, max_size=5)


def archived(said: dict[str, tuple[bytes, bytes, bytes]]) -> Archive:
    places, pieces = archive(said)
    data = b"".join(pieces)
    return Archive(Pieces(marshal.loads(marshal.dumps(places)), lambda at, size: data[at : at + size]), {})


@given(said=SAID, newer=SAID)
def test_what_is_newer_counts(
    said: dict[str, tuple[bytes, bytes, bytes]], newer: dict[str, tuple[bytes, bytes, bytes]]
) -> None:
    now = archived(said).updated(newer)
    assert {path: now[path] for path in "abcdef" if path in now} == said | newer
    assert {path: now.part(path, ALIASES) for path in said | newer} == {
        path: parts[ALIASES] for path, parts in (said | newer).items()
    }
    assert now.newer_of("abcdef") == {path: parts for path, parts in newer.items() if said.get(path) != parts}


@given(said=SAID, newer=SAID, order=st.randoms())
def test_parts_are_joined_in_any_order(
    said: dict[str, tuple[bytes, bytes, bytes]], newer: dict[str, tuple[bytes, bytes, bytes]], order: Random
) -> None:
    now = archived(said).updated(newer)
    paths = [*(said | newer)]
    assert now.joined(paths, ALIASES) == b"".join([now.part(path, ALIASES) for path in paths])
    order.shuffle(paths)
    assert now.joined(paths[1:], ALIASES) == b"".join([now.part(path, ALIASES) for path in paths[1:]])


@given(said=SAID, newer=SAID, usual=st.binary(max_size=1))
def test_modules_that_say_something_else_than_most(
    said: dict[str, tuple[bytes, bytes, bytes]], newer: dict[str, tuple[bytes, bytes, bytes]], usual: bytes
) -> None:
    found = archived(said).updated(newer).differing(LINKS, usual)
    assert found == {path for path, parts in (said | newer).items() if parts[LINKS] != usual}


@given(said=SAID, newer=SAID, needle=st.binary(min_size=1, max_size=3))
def test_bytes_are_found_where_they_are(
    said: dict[str, tuple[bytes, bytes, bytes]], newer: dict[str, tuple[bytes, bytes, bytes]], needle: bytes
) -> None:
    """In one module's part: what two of them make together is nobody's."""
    found = archived(said).updated(newer).holders(LINKS, needle)
    assert sorted(found) == sorted(path for path, parts in (said | newer).items() if needle in parts[LINKS])


def test_bytes_of_two_modules_are_not_one() -> None:
    said = {"a": (b"xy", b"", b""), "empty": (b"", b"", b""), "b": (b"zxyz", b"", b"")}
    assert archived(said).holders(LINKS, b"yz") == ["b"]
    assert archived(said).holders(LINKS, b"x") == ["a", "b"]


def test_a_module_that_is_not_archived_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        archived({})["a"]
