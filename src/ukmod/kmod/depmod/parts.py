"""Modules' facts as one run keeps them for the next: as bytes, by what is made of them.

So they are compared at once, and taken apart only where something is made of them. The part of the aliases is
the module's own lines of modules.alias.
"""

from __future__ import annotations

import marshal

from ukmod.kmod.depmod.facts import Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.depmod.scan import Candidate

    Parts = tuple[bytes, bytes, bytes]
    """What is made of exports and needs, of aliases, and of soft and weak dependencies."""

__all__ = ["ALIASES", "LINKS", "NO_OTHERS", "OTHERS", "aliases_of", "links_of", "pack", "unpack"]

LINKS, ALIASES, OTHERS = range(3)
# Version 2 of marshal's format has no references: equal values are equal bytes.
_FORMAT = 2
NO_OTHERS = marshal.dumps(((), ()), _FORMAT)


def pack(name: str, facts: Facts) -> Parts | None:
    """Return a module's facts as bytes, or None for one that nobody should remember.

    That is one with an alias of several lines, or white space in a symbol's name: depmod's text files do not
    say then where one ends.
    """
    lines = "".join([f"alias {alias} {name}\n" for alias in facts.aliases])
    if lines.count("\n") != len(facts.aliases) or " ".join(facts.exports).split() != [*facts.exports]:
        return None
    return (
        marshal.dumps((facts.exports, facts.needs), _FORMAT),
        lines.encode("utf-8", "surrogateescape"),
        marshal.dumps((facts.softdeps, facts.weakdeps), _FORMAT),
    )


def links_of(parts: Parts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a module's exports and needs."""
    links: tuple[tuple[str, ...], tuple[str, ...]] = marshal.loads(parts[LINKS])  # noqa: S302 - our own
    return links


def aliases_of(name: str, parts: Parts) -> tuple[str, ...]:
    """Return a module's aliases."""
    lines = parts[ALIASES].decode("utf-8", "surrogateescape").split("\n")
    lines.pop()
    return tuple([line[len("alias ") : -1 - len(name)] for line in lines])


def unpack(modules: Sequence[Candidate], packed: Sequence[Parts], kinds: Iterable[int]) -> list[Facts]:
    """Return the facts of modules, of those kinds alone."""
    result = [Facts() for _ in packed]
    for kind in kinds:
        for module, facts, parts in zip(modules, result, packed, strict=True):
            if kind == LINKS:
                facts.exports, facts.needs = links_of(parts)
            elif kind == ALIASES:
                facts.aliases = aliases_of(module.name, parts)
            else:
                facts.softdeps, facts.weakdeps = marshal.loads(parts[OTHERS])  # noqa: S302 - our own
    return result
