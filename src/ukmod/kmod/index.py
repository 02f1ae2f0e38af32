"""The binary indexes beside modules.dep, such as modules.alias.bin: tries from keys to values.

All numbers are big endian, whatever the machine (libkmod-index.c)::

    file    u32 magic, u32 version, u32 root
    root    u32 position of a node, in the low 28 bits, and flags that say which parts the node has
    node    [prefix, NUL] [u8 first, u8 last, (last - first + 1) x u32 child]
            [u32 n, n x (u32 priority, value, NUL)]

A child is found by one letter of the key, which its own prefix does not repeat; a child of 0 is none. Keys
are 7-bit. Values of one key stand by rising priority, and the later inserted first among equals.

A key may be a pattern for fnmatch(3): then it is the lookup that supplies the text.
"""

from __future__ import annotations

from ukmod.errors import FormatError
from ukmod.kmod.paged import open_paged
from ukmod.kmod.wildcard import Matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ukmod.kmod.paged import PagedFile

    _Path = tuple["_Path | None", str, int]
    """The pattern of a node: its parent's, the text after that, and the length of both."""

__all__ = ["LISTING_LIMIT", "MAGIC", "VERSION", "Entry", "Index"]

MAGIC = 0xB007F457
VERSION = 0x00020001
"""Major version in the upper half, which readers check; minor version in the lower one, which they do not."""

PREFIX = 0x80000000
VALUES = 0x40000000
CHILDREN = 0x20000000
POSITION = 0x0FFFFFFF

LISTING_LIMIT = 1 << 26
"""Bytes of all keys that are listed, each as often as it has values. A chain of nodes can spell keys that are
as long together as the square of the file's size; modules.alias.bin of a distribution has some 2 MB."""
_WHOLE_PATTERNS = 1 << 22
"""Bytes of patterns that are matched as a whole. Only those with unusual brackets need that."""

HEADER_SIZE = 12
_MANY = 20
"""Lookups after which the whole file is read."""
_VERY_MANY = 400
"""Lookups after which all keys are listed in a dictionary, if none of them is a pattern."""
_WILD = b"*?["
_WILD_LETTERS = frozenset("*?[")
_LETTERS = 128

if TYPE_CHECKING:
    Entry = tuple[str, int, str]
    """(key, priority, value)"""
    IndexNode = tuple[bytes, int, int, int]
    """A node's prefix, the letters of its first and last child (1 and 0 if it has none), and the position of
    what comes after the prefix and the two letters."""
else:
    Entry = tuple


class Index:
    """An index in memory. Every method raises FormatError, with the offset, where the file lies."""

    __slots__ = ("_asked", "_data", "_listed", "_path", "_references", "_root")

    def __init__(self, data: bytes | PagedFile, path: str = "") -> None:
        """Check the header; nothing else is looked at before it is asked for."""
        if len(data) < HEADER_SIZE:
            raise FormatError(f"{len(data)} bytes are too few for an index", path=path)
        magic, version, root = (int.from_bytes(data[at : at + 4], "big") for at in (0, 4, 8))
        if magic != MAGIC:
            raise FormatError(f"magic check fail: {magic:x} instead of {MAGIC:x}", path=path)
        if version >> 16 != VERSION >> 16:
            raise FormatError(
                f"major version check fail: {version >> 16} instead of {VERSION >> 16}", path=path
            )
        self._data = data
        self._path = path
        self._asked = 0
        self._listed: dict[str, list[tuple[int, str]]] | None = None
        # Not a method: the index would refer to itself, and its file would stay open.
        self._references: Callable[[int, int], Sequence[int]]
        self._references = lambda at, count: _few_references(data, at, count)
        self._root: int = root if root & POSITION else 0

    @classmethod
    def open(cls, path: str) -> Index:
        """Open an index in a file; OSError if that fails."""
        return cls(open_paged(path), path)

    def _count(self) -> None:
        """Count a lookup. A caller that makes many of them has the whole file read, and then listed."""
        self._asked += 1
        if self._asked == _MANY:
            self._read_whole()
        elif self._asked == _VERY_MANY:
            self._list()

    def _list(self) -> None:
        """List the entries of all keys, unless there is a pattern: that matches other words than its own."""
        listed: dict[str, list[tuple[int, str]]] = {}
        try:
            for key, priority, value in self._keys():
                if not _WILD_LETTERS.isdisjoint(key):
                    return
                listed.setdefault(key, []).append((priority, value))
        except FormatError:
            return  # a lookup that comes across the damage raises it
        self._listed = listed

    def _read_whole(self) -> None:
        """Read the whole file: that is faster for a caller that asks for much of it."""
        from struct import unpack_from  # modprobe does without it

        self._data = whole = self._data[:]
        self._references = lambda at, count: unpack_from(f">{count}I", whole, at)

    def lookup(self, key: str) -> str | None:
        """Return the value of exactly this key (the first, if it has several), or None."""
        self._count()
        if self._listed is not None:
            return next((value for _priority, value in self._listed.get(key, ())), None)
        text = _encode(key)
        reference, at = self._root, 0
        while True:
            node = self._node(reference)
            prefix = node[0]
            if not text.startswith(prefix, at):
                return None
            at += len(prefix)
            if at == len(text):
                return next((value for _priority, value in self._entries(reference, node)), None)
            reference = self._child(node, text[at])
            if not reference:
                return None
            at += 1

    def lookup_wild(self, key: str) -> list[str]:
        """Return the values of all keys that match as patterns, by priority, in kmod's order among equals."""
        self._count()
        if self._listed is not None:
            return _by_priority(self._listed.get(key, ()))
        text = _encode(key)
        found: list[tuple[int, str]] = []
        walk = _Walk(len(self._data))
        reference, at = self._root, 0
        node = self._visit(reference, walk)
        while True:
            prefix = node[0]
            plain = min((prefix.find(wild) for wild in _WILD if wild in prefix), default=len(prefix))
            if not text.startswith(prefix[:plain], at):
                break
            at += plain
            if plain < len(prefix):
                self._matches(reference, node, prefix[plain:], text[at:], walk, found)
                break
            for wild in _WILD:
                child = self._child(node, wild)
                if child:
                    below = self._visit(child, walk)
                    self._matches(child, below, bytes((wild,)) + below[0], text[at:], walk, found)
            if at == len(text):
                found += self._entries(reference, node, walk)
                break
            reference = self._child(node, text[at])
            if not reference:
                break
            if text[at] in _WILD:
                # The pattern is also the text itself, and kmod finds it in both ways.
                walk = _Walk(len(self._data))
            node = self._visit(reference, walk)
            at += 1
        return _by_priority(found)

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield all (key, value) pairs in key order, as ``modprobe --show-config`` lists them."""
        for key, _priority, value in self._keys():
            yield key, value

    def _keys(self) -> Iterator[Entry]:
        """Yield (key, priority, value) of all entries in key order."""
        self._read_whole()
        walk = _Walk(len(self._data))
        room = LISTING_LIMIT
        key = bytearray()
        todo = [(0, b"", self._root)]
        while todo:
            shared, letter, reference = todo.pop()
            node = self._visit(reference, walk)
            del key[shared:]
            key += letter + node[0]
            if reference & VALUES:
                text = _decode(bytes(key))
                for priority, value in self._entries(reference, node, walk):
                    room -= len(key)
                    if room < 0:
                        raise self._error("a list of its keys is larger than 64 MiB", reference & POSITION)
                    yield text, priority, value
            end = len(key)
            todo += [(end, letter, child) for letter, child in self._children(node)]

    def _matches(
        self,
        reference: int,
        node: IndexNode,
        pattern: bytes,
        text: bytes,
        walk: _Walk,
        found: list[tuple[int, str]],
    ) -> None:
        """Add the values of those patterns at and below a node that match the rest of the key.

        ``pattern`` is what leads to the node, its prefix included, from the first wildcard on. Below a node
        whose pattern matches no beginning of the text there is nothing to find, and most of the trie is that.
        """
        matcher = Matcher(text.decode("latin-1"))
        spelled = pattern.decode("latin-1")
        path: _Path = (None, spelled, len(spelled))
        todo = [(reference, node, matcher.advance(matcher.START, spelled), path, False)]
        while todo:
            reference, node, states, path, is_done_below = todo.pop()
            if is_done_below:
                accepted = matcher.accepts(states)
                if accepted or (accepted is None and matcher.matches(_spelled(path))):
                    found += self._entries(reference, node, walk)
                continue
            if reference & VALUES:
                if matcher.accepts(states) is None:
                    walk.room_for_patterns -= path[2]
                    if walk.room_for_patterns < 0:
                        message = "patterns with unusual brackets, of more than 4 MiB in all"
                        raise self._error(message, reference & POSITION)
                todo.append((reference, node, states, path, True))
            for letter, child in self._children(node):
                below = self._visit(child, walk)
                step = (letter + below[0]).decode("latin-1")
                after = matcher.advance(states, step)
                if after[0]:
                    todo.append((child, below, after, (path, step, path[2] + len(step)), False))

    def _visit(self, reference: int, walk: _Walk) -> IndexNode:
        """Return a node, to which this walk has not been before.

        In a tree, nodes have one parent each and share no bytes. A file that is no tree would make a walk
        endless, or longer than its size by any factor.
        """
        at = reference & POSITION
        if at in walk.seen:
            raise self._error("a node has two parents", at)
        walk.seen.add(at)
        node = self._node(reference)
        self._consume(node[3] + 4 * (node[2] - node[1] + 1) - at, at, walk)
        return node

    def _consume(self, size: int, at: int, walk: _Walk) -> None:
        walk.room -= size
        if walk.room < 0:
            raise self._error("nodes share their bytes", at)

    def _children(self, node: IndexNode) -> list[tuple[bytes, int]]:
        """Return (letter, reference) of a node's children, the last first."""
        _prefix, first, last, at = node
        if first > last:
            return []
        children = [
            (bytes((letter,)), reference)
            for letter, reference in enumerate(self._references(at, last - first + 1), first)
            if reference & POSITION
        ]
        children.reverse()
        return children

    def _node(self, reference: int) -> IndexNode:
        at = reference & POSITION
        if at == 0:
            return b"", 1, 0, 0  # the root of a trie without any key
        prefix = b""
        if reference & PREFIX:
            prefix = self._string(at)
            at += len(prefix) + 1
        if not reference & CHILDREN:
            return prefix, 1, 0, at
        if at + 2 > len(self._data):
            raise self._error("a node lies outside the file", at)
        first, last = self._data[at], self._data[at + 1]
        if first > last or last >= _LETTERS or at + 2 + 4 * (last - first + 1) > len(self._data):
            raise self._error(f"children from {first:#x} to {last:#x} are impossible", at)
        return prefix, first, last, at + 2

    def _child(self, node: IndexNode, letter: int) -> int:
        """Return the reference to a node's child, or 0."""
        _prefix, first, last, at = node
        if not first <= letter <= last:
            return 0
        reference = self._u32(at + 4 * (letter - first))
        return reference if reference & POSITION else 0

    def _entries(
        self, reference: int, node: IndexNode, walk: _Walk | None = None
    ) -> Iterator[tuple[int, str]]:
        """Yield a node's (priority, value) pairs."""
        if not reference & VALUES:
            return
        _prefix, first, last, at = node
        at += 4 * (last - first + 1)
        count = self._u32(at)
        at += 4
        for _ in range(count):
            priority = self._u32(at)
            value = self._string(at + 4)
            if walk is not None:
                self._consume(4 + len(value) + 1, at, walk)
            yield priority, _decode(value)
            at += 4 + len(value) + 1

    def _u32(self, at: int) -> int:
        if at + 4 > len(self._data):
            raise self._error("a number lies outside the file", at)
        return int.from_bytes(self._data[at : at + 4], "big")

    def _string(self, at: int) -> bytes:
        end = self._data.find(b"\0", at)
        if end < 0:
            raise self._error("a string does not end", at)
        return self._data[at:end]

    def _error(self, message: str, offset: int) -> FormatError:
        return FormatError(message, path=self._path, offset=offset)


def _by_priority(found: Sequence[tuple[int, str]]) -> list[str]:
    """Return values by rising priority; of equal priorities the last found comes first."""
    latest = [*reversed(found)]
    latest.sort(key=lambda entry: entry[0])
    return [value for _priority, value in latest]


class _Walk:
    """How far a lookup or a listing has come in a file of some size.

    ``room`` are the bytes that it may still read, ``room_for_patterns`` those of patterns that it may match
    as a whole.
    """

    __slots__ = ("room", "room_for_patterns", "seen")

    def __init__(self, size: int) -> None:
        self.seen: set[int] = set()
        self.room = size
        self.room_for_patterns = _WHOLE_PATTERNS


def _few_references(data: bytes | PagedFile, at: int, count: int) -> Sequence[int]:
    table = data[at : at + 4 * count]
    return [int.from_bytes(table[n : n + 4], "big") for n in range(0, len(table), 4)]


def _spelled(path: _Path) -> str:
    """Return the pattern that a path spells."""
    steps = []
    step: _Path | None = path
    while step is not None:
        steps.append(step[1])
        step = step[0]
    return "".join(reversed(steps))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
