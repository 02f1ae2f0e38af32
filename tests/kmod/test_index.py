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
from ukmod.kmod.depmod.incremental.index_edit import edit_trie
from ukmod.kmod.index import _VERY_MANY, CHILDREN, MAGIC, PREFIX, VALUES, VERSION, Index
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


def number(value: int) -> bytes:
    return struct.pack(">I", value)


def entry(priority: int, value: bytes) -> bytes:
    return number(priority) + value + b"\0"


def test_the_format_is_libkmods() -> None:
    """libkmod-index.c: numbers are big endian, and a node is referred to by its position and its parts."""
    ab = number(2) + entry(1, b"x") + entry(2, b"y")
    ac = number(1) + entry(3, b"z")
    inner = b"bc" + number(VALUES | 12) + number(VALUES | (12 + len(ab)))
    root = b"aa" + number(CHILDREN | (12 + len(ab + ac)))
    nodes = ab + ac + inner + root
    data = struct.pack(">3I", 0xB007F457, 0x00020001, CHILDREN | (12 + len(ab + ac + inner))) + nodes
    assert write_index([("ab", 1, "x"), ("ab", 2, "y"), ("ac", 3, "z")]) == data
    index = Index(data)
    assert [*index.items()] == [("ab", "x"), ("ab", "y"), ("ac", "z")]
    words = ("ab", "ac", "a", "abc", "b", "ad", "aa", "")
    assert [index.lookup(word) for word in words] == ["x", "z", *[None] * 6]
    assert [index.lookup_wild(word) for word in words] == [["x", "y"], ["z"], *[[]] * 6]


@pytest.mark.parametrize("parts", [PREFIX | VALUES, PREFIX | VALUES | CHILDREN])
def test_a_prefix_children_and_values_stand_in_this_order(parts: int) -> None:
    children = b"ce" + number(0) * 3 if parts & CHILDREN else b""
    index = Index(header(parts | 12) + b"pre\0" + children + number(1) + entry(0, b"v"))
    assert [*index.items()] == [("pre", "v")]
    assert [index.lookup(word) for word in ("pre", "pred", "pr", "prex")] == ["v", None, None, None]
    assert index.lookup_wild("pre") == ["v"]


@pytest.mark.parametrize("parts", [0, PREFIX, VALUES, CHILDREN])
def test_an_index_whose_root_is_nowhere_is_empty(parts: int) -> None:
    index = Index(header(parts) + bytes(100))
    assert ([*index.items()], index.lookup(""), index.lookup_wild("")) == ([], None, [])


def test_an_index_is_read_from_a_file_which_its_errors_name(tmp_path: Path) -> None:
    path = tmp_path / "modules.dep.bin"
    path.write_bytes(write_index([("k", 0, "v")]))
    assert Index.open(str(path)).lookup("k") == "v"
    path.write_bytes(header(CHILDREN | 99))
    with pytest.raises(FormatError) as error:
        Index.open(str(path)).lookup("k")
    assert error.value.path == str(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        Index.open(str(path))


def test_the_minor_version_is_not_looked_at() -> None:
    for minor in (0, 1, 2, 0xFFFF):
        assert [*Index(struct.pack(">3I", MAGIC, 0x20000 | minor, 12)).items()] == []


def test_letters_have_seven_bits() -> None:
    leaf = number(1) + entry(0, b"v")
    for last in (0x7F, 0x80):
        first = last - 1
        index = Index(
            header(CHILDREN | 23)
            + leaf.ljust(11, b"\0")
            + bytes((first, last))
            + number(0)
            + number(VALUES | 12)
        )
        if last == 0x7F:
            assert [*index.items()] == [("\x7f", "v")]
            continue
        with pytest.raises(FormatError, match="children from 0x7f to 0x80 are impossible"):
            list(index.items())


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


def test_a_bracket_that_is_never_closed_is_a_letter() -> None:
    """As to fnmatch(3). kmod finds some patterns in two ways."""
    index = Index(write_index([(pattern, 0, pattern) for pattern in ("[b", "[!b", "[b]", "[ab]c", "x[")]))
    assert {text: set(index.lookup_wild(text)) for text in ("[b", "[!b", "b", "ac", "x[", "[")} == {
        "[b": {"[b"},
        "[!b": {"[!b"},
        "b": {"[b]"},
        "ac": {"[ab]c"},
        "x[": {"x["},
        "[": set(),
    }


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


@given(ENTRIES, st.lists(KEYS, max_size=10))
def test_a_caller_that_asks_often_is_answered_the_same(
    entries: list[tuple[str, int, str]], others: list[str]
) -> None:
    """From some lookup on all keys are in memory, unless there are patterns among them."""
    data = write_index(entries)
    asked = [*others, *(key for key, _, _ in entries)]
    index = Index(data)
    for _ in range(_VERY_MANY):
        index.lookup("")
    for key in asked:
        assert index.lookup(key) == Index(data).lookup(key)
        assert index.lookup_wild(key) == Index(data).lookup_wild(key)


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
    assert edit_trie(with_it, own, (), [(place, -1)]) == without
    assert edit_trie(without, (), own, [(place, 1)]) == with_it


@given(MODULES, MODULES)
def test_several_modules_leave_an_index_while_others_come(
    before: dict[int, set[str]], after: dict[int, set[str]]
) -> None:
    after = {number: before.get(number, keys) for number, keys in after.items()}
    lost, won = before.keys() - after.keys(), after.keys() - before.keys()
    moves = [(sorted(before).index(number), -1) for number in sorted(lost, reverse=True)]
    moves += [(sorted(after).index(number), 1) for number in sorted(won)]
    edited = edit_trie(
        write_trie(entries_of(before)), entries_of(before, lost), entries_of(after, won), moves
    )
    assert edited == write_trie(entries_of(after))


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


def chain(letter: bytes, length: int, *, values: bool) -> Index:
    """An index whose nodes have one child each, by the same letter. The last has a value, or all have."""
    value = struct.pack(">II", 1, 0) + b"v\0"
    parts = [value]
    position, flags = 12, VALUES
    for _ in range(length):
        parts.append(letter * 2 + struct.pack(">I", position | flags) + value * values)
        position += len(parts[-2])
        flags = CHILDREN | VALUES * values
    return Index(header(position | flags) + b"".join(parts), "chain.bin")


class TestSize:
    """Lookups and listings take time in proportion to the file's size, or are refused."""

    @pytest.mark.parametrize("letter", [b"a", b"*", b"?", b"[", b"\\"])
    def test_a_chain_of_nodes(self, letter: bytes) -> None:
        key = letter.decode() * 100_000
        index = chain(letter, 100_000, values=False)
        assert [*index.items()] == [(key, "v")]
        assert index.lookup(key) == "v"
        assert index.lookup_wild("b" * 50) == (["v"] if letter == b"*" else [])

    def test_a_chain_that_spells_more_keys_than_anybody_has(self) -> None:
        with pytest.raises(FormatError, match=r"chain\.bin: .* larger than 64 MiB \(at offset 0x"):
            list(chain(b"a", 100_000, values=True).items())

    @pytest.mark.parametrize(("values", "fits"), [(1024, True), (1025, False)])
    def test_keys_of_64_mib_are_listed(self, values: int, fits: bool) -> None:
        """A key counts for each of its values."""
        content = b"k" * (1 << 16) + b"\0" + number(values) + entry(0, b"v") * values
        items = Index(header(PREFIX | VALUES | 12) + content, "long.bin").items()
        if fits:
            assert sum(1 for _ in items) == values
            return
        with pytest.raises(FormatError, match="a list of its keys is larger than 64 MiB") as error:
            list(items)
        assert error.value.offset == 12

    def test_a_chain_of_patterns_with_open_brackets(self) -> None:
        with pytest.raises(
            FormatError, match=r"chain\.bin: patterns with unusual brackets, .* \(at offset 0x"
        ):
            chain(b"[", 100_000, values=True).lookup_wild("b")

    def test_a_node_that_many_share(self) -> None:
        """Each level leads to the next by two letters: 2**40 keys in 400 bytes."""
        parts = [struct.pack(">II", 1, 0) + b"v\0"]
        position, flags = 12, VALUES
        for _ in range(40):
            parts.append(b"*+" + struct.pack(">II", position | flags, position | flags))
            position += len(parts[-2])
            flags = CHILDREN
        index = Index(header(position | flags) + b"".join(parts), "shared.bin")
        for ask in (lambda: list(index.items()), lambda: index.lookup_wild("+" * 40)):
            with pytest.raises(FormatError, match=r"shared\.bin: a node has two parents"):
                ask()

    def test_nodes_that_share_their_bytes(self) -> None:
        """A thousand children, each of which begins one byte later in the same long prefix."""
        levels = b""
        for level in range(8):
            first = 12 + 8 * (2 + 4 * 128) + 128 * level
            table = [PREFIX | VALUES | (first + place) for place in range(127)]
            table.append(CHILDREN | (12 + (level + 1) * (2 + 4 * 128)) if level < 7 else 0)
            levels += bytes((0, 127)) + struct.pack(">128I", *table)
        index = Index(header(CHILDREN | 12) + levels + b"a" * 5000 + b"\0" + bytes(4), "overlap.bin")
        with pytest.raises(FormatError, match=r"overlap\.bin: nodes share their bytes \(at offset 0x"):
            list(index.items())

    @given(st.text("ab*[", max_size=6))
    def test_a_text_with_wildcards_is_found_in_both_ways(self, text: str) -> None:
        """kmod follows a wildcard in the text as a letter too, so that some patterns are found twice."""
        index = Index(write_index([(pattern, 0, pattern) for pattern in ("*", "**", "a*", "*b*")]))
        assert set(index.lookup_wild(text)) == {p for p in ("*", "**", "a*", "*b*") if fnmatch(p, text)}


class TestLies:
    def test_damage_is_found_by_the_lookups_that_come_across_it_however_many_there_were(self) -> None:
        data = bytearray(write_index([("a", 0, "x"), ("b", 0, "y")]))
        data[data.index(b"\0\0\0\x01") + 3] = 0x70  # the first of two nodes: it has no 112 values
        index = Index(bytes(data))
        for _ in range(_VERY_MANY):
            assert index.lookup("b") == "y"
        with pytest.raises(FormatError):
            index.lookup_wild("a")

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "too few"),
            (b"\0" * 12, "magic check fail: 0 instead of b007f457"),
            (struct.pack(">3I", MAGIC, 0x30000, 12), "major version check fail: 3 instead of 2"),
        ],
    )
    def test_of_the_header(self, data: bytes, message: str) -> None:
        with pytest.raises(FormatError, match=message) as error:
            Index(data, "modules.dep.bin")
        assert error.value.path == "modules.dep.bin"

    @pytest.mark.parametrize(
        ("root", "content", "message", "offset"),
        [
            (PREFIX, b"prefix", "a string does not end", 12),
            (CHILDREN, b"", "a node lies outside the file", 12),
            (CHILDREN, b"a", "a node lies outside the file", 12),
            (CHILDREN, b"ba" + number(0), "children from 0x62 to 0x61 are impossible", 12),
            (CHILDREN, b"ab" + number(0) + b"\0\0\0", "children from 0x61 to 0x62 are impossible", 12),
            (PREFIX | CHILDREN, b"p\0ba", "children from 0x62 to 0x61 are impossible", 14),
            (VALUES, b"\0\0\0", "a number lies outside the file", 12),
            (VALUES, number(1) + b"\0\0\0", "a number lies outside the file", 16),
            (VALUES, number(1) + number(0) + b"v", "a string does not end", 20),
            (VALUES, number(2) + entry(0, b"v"), "a number lies outside the file", 22),
            (CHILDREN | VALUES, b"aa" + number(0) + b"\0", "a number lies outside the file", 18),
        ],
    )
    def test_of_a_node(self, root: int, content: bytes, message: str, offset: int) -> None:
        index = Index(header(root | 12) + content, "lying.bin")
        for ask in (lambda: list(index.items()), lambda: index.lookup_wild("")):
            with pytest.raises(FormatError, match=message) as error:
                ask()
            assert (error.value.path, error.value.offset) == ("lying.bin", offset)

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
