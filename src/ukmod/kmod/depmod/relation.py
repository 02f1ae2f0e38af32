"""A regular expression and a text as a relation: which places a match leads from and to.

A relation is a list with an entry for each place in the text, from before its first character to behind its
last. An entry has, as bits, the places that a match from there may end at: never one before it.
"""

from __future__ import annotations

from ukmod.kmod.wildcard import character_class, character_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.depmod.ere import Instruction

    Relation = list[int]

__all__ = ["WORD", "of"]

WORD = character_class("alnum") | character_range("_", "_")


def of(program: Sequence[Instruction], text: str) -> Relation:
    """Return the relation of an expression without back references."""
    stack: list[Relation] = []
    atoms: dict[tuple[str, int], Relation] = {}
    repeated: dict[tuple[tuple[int, ...], int, int], Relation] = {}
    for kind, one, other in program:
        if kind in ("set", "assert"):
            if (kind, one) not in atoms:
                atoms[kind, one] = _of_set(one, text) if kind == "set" else _of_assertion(chr(one), text)
            stack.append(atoms[kind, one])
        elif kind == "repeat":
            # Nested repetitions soon come to the same relation.
            key = (tuple(stack[-1]), one, other)
            if key not in repeated:
                repeated[key] = _repeat(stack[-1], one, other)
            stack[-1] = repeated[key]
        elif kind != "group" and one != 1:
            parts = [stack.pop() for _ in range(one)][::-1]
            if kind == "alternate":
                stack.append([_union(ends) for ends in zip(*parts, strict=True)])
            else:
                whole = parts[0] if parts else _nothing(len(text) + 1)
                for part in parts[1:]:
                    whole = _concatenate(whole, part)
                stack.append(whole)
    return stack.pop()


def _of_set(members: int, text: str) -> Relation:
    return [2 << place if members >> ord(char) & 1 else 0 for place, char in enumerate(text)] + [0]


def _of_assertion(kind: str, text: str) -> Relation:
    words = [bool(WORD >> ord(char) & 1) for char in text]
    relation = []
    for place, (before, after) in enumerate(zip([False, *words], [*words, False], strict=True)):
        holds = {
            "^": place == 0,
            "`": place == 0,
            "$": place == len(text),
            "'": place == len(text),
            "b": before != after,
            "B": before == after,
            "<": after and not before,
            ">": before and not after,
        }
        relation.append(1 << place if holds[kind] else 0)
    return relation


def _nothing(size: int) -> Relation:
    """Return the relation of the empty expression."""
    return [1 << place for place in range(size)]


def _union(ends: Sequence[int]) -> int:
    result = 0
    for some in ends:
        result |= some
    return result


def _concatenate(first: Relation, second: Relation) -> Relation:
    return [_after(ends, second) for ends in first]


def _after(places: int, relation: Relation) -> int:
    """Return the ends of matches that begin at one of some places."""
    ends = 0
    while places:
        place = places.bit_length() - 1
        ends |= relation[place]
        places ^= 1 << place
    return ends


def _repeat(relation: Relation, least: int, most: int) -> Relation:
    """Return the relation of a repetition; ``most`` is -1 for any number of times."""
    required = _power(relation, least)
    if most < 0:
        return _concatenate(required, _closure(relation))
    optional = [ends | 1 << place for place, ends in enumerate(relation)]
    return _concatenate(required, _power(optional, most - least))


def _power(relation: Relation, times: int) -> Relation:
    """Return the relation of exactly so many repetitions, by repeated squaring."""
    result = _nothing(len(relation))
    while times:
        if times & 1:
            result = _concatenate(result, relation)
        times >>= 1
        square = _concatenate(relation, relation) if times else relation
        if square == relation and times:
            return _concatenate(result, relation)
        relation = square
    return result


def _closure(relation: Relation) -> Relation:
    """Return the relation of any number of repetitions."""
    result = _nothing(len(relation))
    for place in reversed(range(len(relation))):
        result[place] |= _after(relation[place] & ~(1 << place), result)
    return result
