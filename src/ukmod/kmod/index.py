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

from struct import Struct

from ukmod.errors import FormatError
from ukmod.kmod.regular import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAGIC", "VERSION", "Entry", "Index"]

MAGIC = 0xB007F457
VERSION = 0x00020001
"""Major version in the upper half, which readers check; minor version in the lower one, which they do not."""

PREFIX = 0x80000000
VALUES = 0x40000000
CHILDREN = 0x20000000
POSITION = 0x0FFFFFFF

HEADER = Struct(">3I")
U32 = Struct(">I")
_WILD = b"*?["
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

    __slots__ = ("_data", "_path", "_root")

    def __init__(self, data: bytes, path: str = "") -> None:
        """Check the header; nothing else is looked at before it is asked for."""
        if len(data) < HEADER.size:
            raise FormatError(f"{len(data)} bytes are too few for an index", path=path)
        magic, version, root = HEADER.unpack_from(data)
        if magic != MAGIC:
            raise FormatError(f"magic check fail: {magic:x} instead of {MAGIC:x}", path=path)
        if version >> 16 != VERSION >> 16:
            raise FormatError(
                f"major version check fail: {version >> 16} instead of {VERSION >> 16}", path=path
            )
        self._data = data
        self._path = path
        self._root: int = root if root & POSITION else 0

    @classmethod
    def open(cls, path: str) -> Index:
        """Read an index from a file; OSError if that fails.

        The file is read rather than mapped: it is a millisecond at most, and a file that shrinks meanwhile
        cannot kill the process with SIGBUS.
        """
        return cls(read_regular(path), path)

    def lookup(self, key: str) -> str | None:
        """Return the value of exactly this key (the first, if it has several), or None."""
        text = _encode(key)
        reference, at = self._root, 0
        while True:
            node = self._node(reference)
            prefix = node[0]
            if not text.startswith(prefix, at):
                return None
            at += len(prefix)
            if at == len(text):
                return next(self._values(reference, node), None)
            reference = self._child(node, text[at])
            if not reference:
                return None
            at += 1

    def lookup_wild(self, key: str) -> list[str]:
        """Return the values of all keys that match as patterns, by priority, in kmod's order among equals."""
        text = _encode(key)
        found: list[tuple[int, str]] = []
        reference, at = self._root, 0
        while True:
            node = self._node(reference)
            prefix = node[0]
            plain = min((prefix.find(wild) for wild in _WILD if wild in prefix), default=len(prefix))
            if not text.startswith(prefix[:plain], at):
                break
            at += plain
            if plain < len(prefix):
                self._matches(reference, prefix[plain:], text[at:], found)
                break
            for wild in _WILD:
                child = self._child(node, wild)
                if child:
                    pattern = bytes((wild,)) + self._node(child)[0]
                    self._matches(child, pattern, text[at:], found)
            if at == len(text):
                found += self._entries(reference, node)
                break
            reference = self._child(node, text[at])
            if not reference:
                break
            at += 1
        found.reverse()  # of equal priorities the last found comes first
        found.sort(key=lambda entry: entry[0])
        return [value for _priority, value in found]

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield all (key, value) pairs in key order, as ``modprobe --show-config`` lists them."""
        for key, reference, node in self._walk(self._root):
            if reference & VALUES:
                text = _decode(key)
                for value in self._values(reference, node):
                    yield text, value

    def _matches(self, reference: int, pattern: bytes, text: bytes, found: list[tuple[int, str]]) -> None:
        """Add the values of those patterns at and below a node that match the rest of the key.

        ``pattern`` is what leads to the node, its prefix included, from the first wildcard on. Below a node
        whose pattern matches no beginning of the text there is nothing to find, and most of the trie is that.
        """
        matcher = _Matcher(_decode(text))
        seen: set[int] = set()
        todo = [(reference, matcher.advance(1, pattern), pattern, False)]
        while todo:
            reference, states, pattern, ready = todo.pop()
            node = self._node(reference)
            if ready:
                if matcher.accepts(states, pattern):
                    found += self._entries(reference, node)
                continue
            if reference & POSITION in seen:
                raise self._error("a node has two parents", reference & POSITION)
            seen.add(reference & POSITION)
            if reference & VALUES:
                todo.append((reference, states, pattern, True))
            for letter in range(node[2], node[1] - 1, -1):
                child = self._child(node, letter)
                if child:
                    step = bytes((letter,)) + self._node(child)[0]
                    after = matcher.advance(states, step)
                    if after:
                        todo.append((child, after, pattern + step, False))

    def _walk(self, reference: int) -> Iterator[tuple[bytes, int, IndexNode]]:
        """Yield (key, reference, node) of a node and all below it, in key order.

        A node that is reached twice makes the file no tree, and this walk endless.
        """
        seen: set[int] = set()
        todo = [(b"", reference)]
        while todo:
            key, reference = todo.pop()
            if reference & POSITION in seen:
                raise self._error("a node has two parents", reference & POSITION)
            seen.add(reference & POSITION)
            node = self._node(reference)
            key += node[0]
            yield key, reference, node
            for letter in range(node[2], node[1] - 1, -1):
                child = self._child(node, letter)
                if child:
                    todo.append((key + bytes((letter,)), child))

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
        reference: int = U32.unpack_from(self._data, at + 4 * (letter - first))[0]
        return reference if reference & POSITION else 0

    def _values(self, reference: int, node: IndexNode) -> Iterator[str]:
        return (value for _priority, value in self._entries(reference, node))

    def _entries(self, reference: int, node: IndexNode) -> Iterator[tuple[int, str]]:
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
            yield priority, _decode(value)
            at += 4 + len(value) + 1

    def _u32(self, at: int) -> int:
        if at + 4 > len(self._data):
            raise self._error("a number lies outside the file", at)
        number: int = U32.unpack_from(self._data, at)[0]
        return number

    def _string(self, at: int) -> bytes:
        end = self._data.find(b"\0", at)
        if end < 0:
            raise self._error("a string does not end", at)
        return self._data[at:end]

    def _error(self, message: str, offset: int) -> FormatError:
        return FormatError(message, path=self._path, offset=offset)


class _Matcher:
    """Many patterns that begin alike against one text.

    The states after some of a pattern are the places in the text that it may have come to, as bits. A bracket
    or a backslash needs the pattern as a whole: then nothing is known before its end, and all bits are set.
    """

    __slots__ = ("_all", "_at", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._all = (2 << len(text)) - 1
        self._at: dict[str, int] = {}
        for place, char in enumerate(text):
            self._at[char] = self._at.get(char, 0) | 1 << place

    def advance(self, states: int, pattern: bytes) -> int:
        """Return the states after some more of the pattern; 0 if it cannot match any more."""
        for char in pattern.decode("latin-1"):
            if states < 0 or char in "[\\":
                return -1
            if char == "*":
                states = -(states & -states) & self._all  # the first place, and all after it
            elif char == "?":
                states = states << 1 & self._all
            else:
                states = (states & self._at.get(char, 0)) << 1
        return states

    def accepts(self, states: int, pattern: bytes) -> bool:
        """Tell whether the whole pattern, which led to ``states``, matches the whole text."""
        if states >= 0:
            return bool(states >> len(self._text))
        from ukmod.kmod.wildcard import fnmatch

        return fnmatch(_decode(pattern), self._text)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
