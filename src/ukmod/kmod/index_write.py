"""Write the indexes that :mod:`index` reads.

Beside an index's bytes there are its *marks*, as many bytes that tell where in it the numbers are: 1 at the
last byte of each child's position, 2 at that of each priority, and 0 elsewhere. With them all numbers of a
part can be moved at once (:mod:`index_edit`), by arithmetic on one long integer.
"""

from __future__ import annotations

from struct import Struct, pack

from ukmod.errors import LimitError, UsageError
from ukmod.kmod.index import CHILDREN, MAGIC, POSITION, PREFIX, VALUES, VERSION, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    NewNode = tuple[bytes, bytes, list[tuple[int, int]]]
    """A node to be written: its prefix, its values as the file has them, and (letter, number of the child in
    the list of all nodes) by rising letter."""
    Pair = tuple[bytes, bytes, list[tuple[int, int]]]
    """A node to be: its key, its values as the file has them, and its children, if it has them already."""
    Trie = tuple[bytes, bytes]
    """An index and its marks."""

__all__ = ["write_index", "write_trie"]

HEADER = Struct(">3I")
U32 = Struct(">I")
CHILD_MARK, PRIORITY_MARK = 1, 2
_SHARED = 128
"""Bytes of a value that may be that of many keys, as a module's name is."""
_CHILD_MARK, _NO_MARK = bytes((0, 0, 0, CHILD_MARK)), bytes(4)


def write_index(entries: Iterable[Entry], *, preorder: bool = False) -> bytes:
    """Return the index of (key, priority, value) entries, given in the order of their insertion.

    kmod up to 34 writes a node after its children, later ones before them (``preorder``); each reads the
    other's, and the size is the same. The default is what current distributions have.

    Raises UsageError for a key or value that is not 7-bit text, LimitError when positions need more than 28
    bits.
    """
    nodes = build(_group(entries))
    return _lay_out_preorder(nodes) if preorder else b"".join(_lay_out(nodes))


def write_trie(entries: Iterable[Entry]) -> Trie:
    """Return the index of some entries and its marks; the layout is the default one."""
    nodes = build(_group(entries))
    return b"".join(_lay_out(nodes)), b"".join([bytes(HEADER.size), *marks_of(nodes)])


def _group(entries: Iterable[Entry]) -> list[Pair]:
    """Return keys with their values in key order."""
    grouped: dict[str, list[tuple[int, str]]] = {}
    for key, priority, value in entries:
        if key in grouped:
            grouped[key].append((priority, value))
        else:
            grouped[key] = [(priority, value)]
    # A module has many aliases: what stands for it is packed once.
    packed: dict[tuple[int, str], bytes] = {}
    result: list[Pair] = []
    while grouped:  # the text of an entry is dropped once its bytes are made
        key, values = grouped.popitem()
        if len(values) == 1:
            pair = values[0]
            content = packed.get(pair)
            if content is None:
                content = pack_values(values)
                if len(content) <= _SHARED:
                    packed[pair] = content
            result.append((ascii_bytes(key), content, []))
        else:
            values.reverse()
            values.sort(key=lambda pair: pair[0])
            result.append((ascii_bytes(key), pack_values(values), []))
    result.sort()
    return result


def pack_values(values: Sequence[tuple[int, str]]) -> bytes:
    """Return (priority, value) pairs as a node has them."""
    parts = [b"%b%b\0" % (U32.pack(priority), ascii_bytes(value)) for priority, value in values]
    return U32.pack(len(parts)) + b"".join(parts)


def build(pairs: Iterable[Pair]) -> list[NewNode]:
    """Make the trie's nodes, children before parents and by letter, the root last.

    Keys come sorted, so the nodes that the next key does not share are complete and can be closed: ``path``
    holds those from the root to the last key, with their depths. A pair may have children already, if there
    are no keys but theirs below it.
    """
    nodes: list[NewNode] = []
    path: list[tuple[int, bytes, list[tuple[int, int]]]] = [(0, b"", [])]
    last, number = b"", 0

    def close(depth: int) -> None:
        """Close all nodes deeper than ``depth``, and leave an open one there."""
        while path[-1][0] > depth:
            end, values, children = path.pop()
            if path[-1][0] < depth:
                path.append((depth, b"", []))
            start, _values, siblings = path[-1]
            siblings.append((last[start], len(nodes)))
            nodes.append((last[start + 1 : end], values, children))

    for key, values, children in pairs:
        if not key:
            path = [(0, values, children)]
            continue
        # The length of the common prefix, found by arithmetic: a loop over the bytes takes ten times as long.
        length = min(len(key), len(last))
        this = int.from_bytes(key[:length], "big")
        if len(last) != length:
            number >>= 8 * (len(last) - length)
        close(length - ((this ^ number).bit_length() + 7) // 8)
        path.append((len(key), values, children))
        last = key
        number = int.from_bytes(key, "big") if len(key) != length else this
    close(0)
    _depth, values, children = path[0]
    nodes.append((b"", values, children))
    return nodes


def _lay_out(nodes: list[NewNode]) -> list[bytes]:
    """Return the nodes' bytes in the order they have: a node's children are in the file before it."""
    parts = [b""]
    position = HEADER.size
    references: list[int] = []
    for node in nodes:
        prefix, values, children = node
        if children or not prefix:
            references.append(position | flags(node))
            part = pack_node(node, references)
        else:
            references.append(position | PREFIX | VALUES)
            part = b"%b\0%b" % (prefix, values)
        parts.append(part)
        position += len(part)
    check_position(position)
    parts[0] = HEADER.pack(MAGIC, VERSION, references[-1])
    return parts


def marks_of(nodes: list[NewNode]) -> list[bytes]:
    """Return the marks of nodes, in the order they have."""
    parts = []
    of_values: dict[bytes, bytes] = {b"": b""}
    for prefix, values, children in nodes:
        if prefix:
            parts.append(bytes(len(prefix) + 1))
        if children:
            parts.append(marks_of_children(children))
        if values not in of_values:
            of_values[values] = marks_of_values(values)
        parts.append(of_values[values])
    return parts


def marks_of_children(children: Sequence[tuple[int, int]]) -> bytes:
    """Return the marks of a node's letters and its children's positions."""
    first, last = children[0][0], children[-1][0]
    slots = [_NO_MARK] * (last - first + 1)
    for letter, _number in children:
        slots[letter - first] = _CHILD_MARK
    return b"\0\0" + b"".join(slots)


def marks_of_values(values: bytes) -> bytes:
    """Return the marks of a node's values."""
    marks = bytearray(len(values))
    at = U32.size
    while at < len(values):
        marks[at + 3] = PRIORITY_MARK
        at = values.index(b"\0", at + U32.size) + 1
    return bytes(marks)


def _lay_out_preorder(nodes: list[NewNode]) -> bytes:
    """Write a node before its children."""
    order: list[int] = []
    todo = [len(nodes) - 1]
    while todo:
        number = todo.pop()
        order.append(number)
        todo += [child for _letter, child in reversed(nodes[number][2])]
    references = [0] * len(nodes)
    position = HEADER.size
    for number in order:
        references[number] = position | flags(nodes[number])
        position += len(pack_node(nodes[number], references))
    check_position(position)
    root = HEADER.pack(MAGIC, VERSION, references[-1])
    return root + b"".join([pack_node(nodes[number], references) for number in order])


def flags(node: NewNode) -> int:
    """Return what a parent says of a node beside its position."""
    prefix, values, children = node
    return (PREFIX if prefix else 0) | (VALUES if values else 0) | (CHILDREN if children else 0)


def pack_node(node: NewNode, references: list[int]) -> bytes:
    """Return a node's bytes."""
    prefix, values, children = node
    if prefix:
        prefix += b"\0"
    if not children:
        return prefix + values
    first, last = children[0][0], children[-1][0]
    slots = [0] * (last - first + 1)
    for letter, number in children:
        slots[letter - first] = references[number]
    return prefix + pack(f">BB{len(slots)}I", first, last, *slots) + values


def check_position(end: int) -> None:
    """Raise LimitError for a file that positions cannot reach the end of."""
    if end > POSITION:
        raise LimitError("an index of 256 MiB or more: its positions have 28 bits")


def ascii_bytes(text: str) -> bytes:
    """Return a key or a value as it is in the file; UsageError if that cannot be."""
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise UsageError("only 7-bit ASCII is supported", subject=text) from None
