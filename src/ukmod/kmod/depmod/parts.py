"""Modules' facts as bytes, by what is made of them.

So they go from one process to another, and one run keeps them for the next: they are compared at once, and
taken apart only where something is made of them. The part of the aliases is the module's own lines of
modules.alias, but each with a NUL at its end, which no alias has in it.
"""

from __future__ import annotations

import marshal

from ukmod.kmod.depmod.facts import Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.depmod.facts import Texts
    from ukmod.kmod.depmod.scan import Candidate

    Parts = tuple[bytes, bytes, bytes]
    """The three kinds of parts: exports and needs; aliases; soft and weak dependencies."""

__all__ = [
    "ALIASES",
    "LINKS",
    "NO_OTHERS",
    "OTHERS",
    "alias_lines",
    "aliases_of",
    "is_plain",
    "links_of",
    "pack",
    "unpack",
]

LINKS, ALIASES, OTHERS = range(3)
# Version 2 of marshal's format has no references: equal values are equal bytes.
_FORMAT = 2
NO_OTHERS = marshal.dumps(((), ()), _FORMAT)


def pack(name: str, facts: Facts) -> Parts:
    """Return a module's facts, without CRCs, as bytes."""
    lines = "".join([f"alias {alias} {name}\0" for alias in facts.aliases])
    return (
        marshal.dumps((facts.exports, facts.needs, facts.weak), _FORMAT),
        lines.encode("utf-8", "surrogateescape"),
        marshal.dumps((facts.softdeps, facts.weakdeps), _FORMAT),
    )


def is_plain(facts: Facts) -> bool:
    """Tell whether all that depmod's text files say of a module can be found in them again.

    It cannot be if an alias has several lines, or a symbol's name white space.
    """
    return "\n" not in "".join(facts.aliases) and " ".join(facts.exports).split() == [*facts.exports]


def links_of(part: bytes) -> tuple[Texts, Texts]:
    """Return a module's exports and needs."""
    exports, needs, _weak = marshal.loads(part)  # noqa: S302 - our own
    return exports, needs


def aliases_of(name: str, part: bytes) -> Texts:
    """Return a module's aliases."""
    lines = part.decode("utf-8", "surrogateescape").split("\0")
    lines.pop()
    return tuple([line[len("alias ") : -1 - len(name)] for line in lines])


def alias_lines(parts: Iterable[bytes]) -> bytes:
    """Return the modules' lines of modules.alias."""
    return b"".join(parts).replace(b"\0", b"\n")


def unpack(modules: Sequence[Candidate], packed: Sequence[Parts], kinds: Iterable[int]) -> list[Facts]:
    """Return the facts of modules, of those kinds alone."""
    result = [Facts() for _ in packed]
    for kind in kinds:
        for module, facts, parts in zip(modules, result, packed, strict=True):
            if kind == LINKS:
                facts.exports, facts.needs, facts.weak = marshal.loads(parts[LINKS])  # noqa: S302 - our own
            elif kind == ALIASES:
                facts.aliases = aliases_of(module.name, parts[ALIASES])
            else:
                facts.softdeps, facts.weakdeps = marshal.loads(parts[OTHERS])  # noqa: S302 - our own
    return result
