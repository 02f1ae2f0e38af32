from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukmod.errors import FormatError, UsageError
from ukmod.kmod.depmod.incremental.index_edit import edit_trie, move_priorities
from ukmod.kmod.index import MAGIC, VERSION, Index
from ukmod.kmod.index_write import write_index, write_trie
from ukmod.kmod.wildcard import fnmatch

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
ENTRIES = st.lists(st.tuples(KEYS, st.integers(0, 2**32 - 1), KEYS), max_size=40)
PATTERNS = st.text("ab*?[]-", max_size=6)


def header(root: int) -> bytes:
    return struct.pack(">3I", MAGIC, VERSION, root)


def test_an_empty_index_is_a_header() -> None:
    assert write_index([]) == header(12)
    assert Index(write_index([])).lookup("a") is None
    assert list(Index(write_index([])).items()) == []


def test_equal_priorities_stand_latest_first() -> None:
    index = Index(write_index([("k", 2, "c"), ("k", 1, "a"), ("k", 1, "b")]))
    assert [value for _key, value in index.items()] == ["b", "a", "c"]
    assert index.lookup("k") == "b"


def test_patterns_in_the_index_match_the_text_looked_up() -> None:
    index = Index(
        write_index([("pci:v*d1", 2, "two"), ("pci:*", 1, "one"), ("pci:v8d1", 0, "none"), ("usb:*", 0, "u")])
    )
    assert index.lookup_wild("pci:v8d1") == ["none", "one", "two"]
    assert index.lookup("pci:v8d1") == "none"
    assert index.lookup("pci:v8") is None


@given(ENTRIES, st.booleans())
def test_what_is_written_is_read(entries: list[tuple[str, int, str]], preorder: bool) -> None:
    index = Index(write_index(entries, preorder=preorder))
    expected = sorted({key for key, _, _ in entries})
    assert list(dict.fromkeys(key for key, _ in index.items())) == expected
    for key in expected:
        latest_first = [(p, v) for k, p, v in reversed(entries) if k == key]
        values = sorted(latest_first, key=lambda pair: pair[0])
        assert [value for found, value in index.items() if found == key] == [value for _, value in values]
        assert index.lookup(key) == values[0][1]


@given(ENTRIES)
def test_preorder_and_postorder_indexes_have_one_size(entries: list[tuple[str, int, str]]) -> None:
    assert len(write_index(entries)) == len(write_index(entries, preorder=True))


KEYS_THAT_BEGIN_ALIKE = st.text("ab*", max_size=6)
MODULES = st.dictionaries(st.integers(0, 9), st.sets(KEYS_THAT_BEGIN_ALIKE, max_size=6), max_size=8)


def entries_of(modules: dict[int, set[str]], only: set[int] | None = None) -> list[tuple[str, int, str]]:
    """Return what modules, in the order of their numbers, put into an index."""
    return [
        (key, priority, f"m{number}")
        for priority, (number, keys) in enumerate(sorted(modules.items()))
        if only is None or number in only
        for key in sorted(keys)
    ]


@given(MODULES, MODULES)
def test_an_index_that_is_edited_is_as_if_it_had_been_written(
    before: dict[int, set[str]], after: dict[int, set[str]]
) -> None:
    after = {number: after.get(number, set()) for number in before}
    removed, added = set(entries_of(before)), set(entries_of(after))
    edited = edit_trie(write_trie(entries_of(before)), removed - added, added - removed)
    assert edited == write_trie(entries_of(after))
    assert edited[0] == write_index(entries_of(after))


@given(MODULES.filter(bool), st.data())
def test_a_module_leaves_an_index_and_comes_back(modules: dict[int, set[str]], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(sorted(modules)))
    place = sorted(modules).index(one)
    others = {number: keys for number, keys in modules.items() if number != one}
    own = entries_of(modules, {one})
    with_it, without = write_trie(entries_of(modules)), write_trie(entries_of(others))
    assert move_priorities(edit_trie(with_it, own, ()), place, -1) == without
    assert edit_trie(move_priorities(without, place, 1), (), own) == with_it


def test_what_an_index_does_not_hold_cannot_be_removed_from_it() -> None:
    with pytest.raises(ValueError, match="not in list"):
        edit_trie(write_trie([("ab", 0, "x")]), [("a", 0, "x")], ())


@given(st.sets(PATTERNS, max_size=12), st.text("ab-", max_size=6))
def test_wild_lookups_find_what_fnmatch_says(patterns: set[str], text: str) -> None:
    index = Index(write_index([(pattern, 0, pattern) for pattern in patterns]))
    assert set(index.lookup_wild(text)) == {pattern for pattern in patterns if fnmatch(pattern, text)}


def test_a_chain_deeper_than_the_stack() -> None:
    keys = ["a" * length for length in range(1, 3000)]
    index = Index(write_index([(key, 0, "v") for key in keys]))
    assert [key for key, _ in index.items()] == keys
    assert index.lookup_wild("a" * 2999) == ["v"]


@pytest.mark.parametrize("text", ["caf\xe9", "\udcff"])
def test_only_seven_bits_fit(text: str) -> None:
    with pytest.raises(UsageError, match="7-bit"):
        write_index([(text, 0, "v")])
    with pytest.raises(UsageError, match="7-bit"):
        write_index([("k", 0, text)])


class TestLies:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "too few"),
            (b"\0" * 12, "magic check fail: 0 instead of b007f457"),
            (struct.pack(">3I", MAGIC, 0x30000, 12), "major version check fail: 3 instead of 2"),
        ],
    )
    def test_of_the_header(self, data: bytes, message: str) -> None:
        with pytest.raises(FormatError, match=message):
            Index(data, "modules.dep.bin")

    def test_a_node_that_is_its_own_child(self) -> None:
        itself = 12 | 0x20000000
        index = Index(header(itself) + bytes((ord("*"), ord("*"))) + struct.pack(">I", itself))
        with pytest.raises(FormatError, match="two parents"):
            list(index.items())
        with pytest.raises(FormatError, match="two parents"):
            index.lookup_wild("x")
        assert index.lookup("*" * 50) is None

    @pytest.mark.parametrize("root", [0x8FFFFFFF, 0x4000000C, 0x2000000C, 0xE000000C, 0xFFFFFFFF])
    def test_corrupt_positions_are_refused(self, root: int) -> None:
        index = Index(header(root), "lying.bin")
        with pytest.raises(FormatError, match=r"lying\.bin: .*at offset 0x"):
            list(index.items())

    def test_an_unending_count(self) -> None:
        index = Index(header(0x4000000C) + struct.pack(">I", 2**32 - 1) + b"\0\0\0\0v\0")
        with pytest.raises(FormatError, match="outside"):
            list(index.items())

    @given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
    def test_of_any_kind(self, data: bytes, root: int) -> None:
        index = Index(header(root) + data)
        for ask in (lambda: index.lookup("ab"), lambda: index.lookup_wild("ab"), lambda: list(index.items())):
            with contextlib.suppress(FormatError):
                ask()

    @given(ENTRIES, st.data())
    def test_flipped_bytes(self, entries: list[tuple[str, int, str]], data: st.DataObject) -> None:
        whole = bytearray(write_index(entries))
        at = data.draw(st.integers(12, len(whole)))
        if at < len(whole):
            whole[at] ^= data.draw(st.integers(1, 255))
        with contextlib.suppress(FormatError):
            list(Index(bytes(whole)).items())


@pytest.mark.real
@pytest.mark.skipif(shutil.which("modprobe", path="/sbin:/usr/sbin") is None, reason="apt-get install kmod")
@given(st.dictionaries(st.text("abc:*_[]", min_size=1, max_size=5), st.text("xyz", min_size=1, max_size=3)))
@pytest.mark.parametrize("preorder", [False, True])
def test_the_c_modprobe_reads_what_we_write(
    tmp_path_factory: pytest.TempPathFactory, preorder: bool, aliases: dict[str, str]
) -> None:
    root = tmp_path_factory.mktemp("root")
    release = root / "lib/modules/6.1"
    release.mkdir(parents=True)
    entries = [(key, at, value) for at, (key, value) in enumerate(aliases.items())]
    for name in ("dep", "symbols", "builtin", "builtin.alias"):
        (release / f"modules.{name}.bin").write_bytes(write_index([]))
    (release / "modules.alias.bin").write_bytes(write_index(entries, preorder=preorder))
    assert dumped(root) == [f"alias {key} {value}" for key, value in sorted(aliases.items())]


def dumped(root: Path) -> list[str]:
    command = ["/sbin/modprobe", "-C", "/dev/null", "-d", str(root), "-S", "6.1", "-c"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return output.partition("Dumping indexes now:\n\n")[2].splitlines()
