"""Change some keys of an index without making the rest of it again.

A subtree is one piece of the file, its nodes' children before them, and all positions in it are of its own
nodes. So only the nodes on the way to a key that changes are made again. All subtrees beside that way are
copied, and what is added to the positions in them is the distance by which they moved.
"""

from __future__ import annotations

from struct import unpack_from

from ukmod.kmod.index import CHILDREN, MAGIC, POSITION, PREFIX, VALUES, VERSION
from ukmod.kmod.index_write import (
    CHILD_MARK,
    HEADER,
    PRIORITY_MARK,
    U32,
    ascii_bytes,
    build,
    check_position,
    flags,
    marks_of,
    pack_node,
    pack_values,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.index import Entry
    from ukmod.kmod.index_write import NewNode, Pair, Trie

    KeyChange = tuple[list[tuple[int, str]], list[tuple[int, str]]]
    """The (priority, value) pairs that a key loses, and those that it gains."""
    Moves = Sequence[tuple[int, int]]
    """Pairs of numbers, one after the other: the second is added to each priority from the first on. All
    priorities are below 2**31 before and after."""
    Old = tuple[bytes, bytes, list[tuple[int, int]], int]
    """A node of the old file: its prefix, its values, (letter, reference) of its children, and its end."""
    Regions = dict[int, tuple[int, int]]
    """Where in the old file all is that lies below a node, by the reference to its first child."""

__all__ = ["edit_trie"]

_POSITIONS_ALONE = bytes([mark == CHILD_MARK for mark in range(256)])
_PRIORITIES_ALONE = bytes([mark == PRIORITY_MARK for mark in range(256)])
_SIGN = 1 << 31


def edit_trie(trie: Trie, removed: Iterable[Entry], added: Iterable[Entry], moves: Moves = ()) -> Trie:
    """Return an index without some entries and with some others, as it would be if written anew.

    Between the two, priorities move. Entries of one key and one priority must be equal. ValueError if one to
    be removed is not there; UsageError and LimitError as from :func:`write_index`.
    """
    changes: dict[bytes, KeyChange] = {}
    for which, entries in enumerate((removed, added)):
        for text, priority, value in entries:
            changes.setdefault(ascii_bytes(text), ([], []))[which].append((priority, value))
    if not changes and not moves:
        return trie
    held, beside, regions = _open(trie[0], list(changes))
    for key in changes:
        held.setdefault(key, b"")
    for key, values in held.items():
        held[key] = _change(values, *changes.get(key, ([], [])), moves)
    pairs = [(key, _change(values, [], [], moves), children) for key, values, children in beside]
    pairs += [(key, values, []) for key, values in held.items() if values]
    pairs.sort()
    return _lay_out(build(pairs), trie, regions, moves)


def _change(
    values: bytes, removed: list[tuple[int, str]], added: list[tuple[int, str]], moves: Moves
) -> bytes:
    """Return what a node's values become."""
    if not removed and not added and not (moves and values):
        return values
    pairs = []
    at = U32.size
    while at < len(values):
        end = values.index(b"\0", at + U32.size)
        pairs.append((U32.unpack_from(values, at)[0], values[at + U32.size : end].decode("ascii")))
        at = end + 1
    for pair in removed:
        pairs.remove(pair)
    pairs = sorted([*((_moved(priority, moves), value) for priority, value in pairs), *added])
    return pack_values(pairs) if pairs else b""


def _moved(priority: int, moves: Moves) -> int:
    for at, by in moves:
        priority += by if priority >= at else 0
    return priority


def _open(data: bytes, keys: list[bytes]) -> tuple[dict[bytes, bytes], list[Pair], Regions]:
    """Take apart the nodes that keys lie at or below: their values by key, and the nodes beside the way.

    Those are pairs for :func:`build`, their children's references below zero, and where all below them is.
    """
    held: dict[bytes, bytes] = {}
    beside: list[Pair] = []
    regions: Regions = {}
    root: int = HEADER.unpack_from(data)[2]
    todo = [(b"", HEADER.size, root, _read(data, root), keys)]
    while todo:
        before, start, reference, (prefix, values, children, _end), keys = todo.pop()
        key = before + prefix
        at_or_below = [one for one in keys if one.startswith(key)]
        if not at_or_below:
            beside.append((key, values, [(letter, -child) for letter, child in children]))
            if children:
                regions[children[0][1]] = (start, reference & POSITION)
            continue
        held[key] = values
        below: dict[int, list[bytes]] = {}
        for one in at_or_below:
            if len(one) > len(key):
                below.setdefault(one[len(key)], []).append(one)
        for letter, child in children:
            node = _read(data, child)
            todo.append((key + bytes((letter,)), start, child, node, below.get(letter, [])))
            start = node[3]  # a subtree ends with its top, and the next one begins there
    return held, beside, regions


def _read(data: bytes, reference: int) -> Old:
    """Read a node of a file that is known to be well-formed."""
    at = reference & POSITION
    prefix = b""
    if reference & PREFIX:
        end = data.index(b"\0", at)
        prefix = data[at:end]
        at = end + 1
    children: list[tuple[int, int]] = []
    if reference & CHILDREN:
        first, last = data[at], data[at + 1]
        slots = unpack_from(f">{last - first + 1}I", data, at + 2)
        children = [(letter, child) for letter, child in enumerate(slots, first) if child]
        at += 2 + U32.size * len(slots)
    end = at
    if reference & VALUES:
        end += U32.size
        for _ in range(U32.unpack_from(data, at)[0]):
            end = data.index(b"\0", end + U32.size) + 1
    return prefix, data[at:end], children, end


def _lay_out(nodes: list[NewNode], old: Trie, regions: Regions, moves: Moves) -> Trie:
    """Write the nodes in the order they have, each after what of the old file lies below it."""
    data, marks = old
    parts = [b""]
    marked = [bytes(HEADER.size)]
    position = HEADER.size
    references: list[int] = []
    for node in nodes:
        prefix, values, children = node
        if children and children[0][1] < 0:
            start, end = regions[-children[0][1]]
            by = position - start
            parts.append(_move(data[start:end], marks[start:end], by, moves))
            marked.append(marks[start:end])
            position += end - start
            numbers = list(enumerate([letter for letter, _child in children]))
            node = prefix, values, [(letter, number) for number, letter in numbers]  # noqa: PLW2901
            part = pack_node(node, [by - child for _letter, child in children])
        else:
            part = pack_node(node, references)
        references.append(position | flags(node))
        parts.append(part)
        marked += marks_of([node])
        position += len(part)
    check_position(position)
    parts[0] = HEADER.pack(MAGIC, VERSION, references[-1])
    return b"".join(parts), b"".join(marked)


def _move(data: bytes, marks: bytes, by: int, moves: Moves) -> bytes:
    """Add a number to all positions of nodes in a piece of a file, and move its priorities.

    The piece as one number: each position and priority in it is 32 bits, of which nothing spills over. What
    is added to priorities to compare them takes those that are large enough past the sign.
    """
    if not by and not moves:
        return data
    number = int.from_bytes(data, "big")
    if by:
        number += int.from_bytes(marks.translate(_POSITIONS_ALONE), "big") * by
    if moves:
        ones = int.from_bytes(marks.translate(_PRIORITIES_ALONE), "big")
        for at, distance in moves:
            number += ((number + ones * (_SIGN - at)) >> 31 & ones) * distance
    return number.to_bytes(len(data), "big")
