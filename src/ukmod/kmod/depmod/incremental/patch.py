"""Change depmod's files where a few modules changed: the same bytes as if they had been made anew.

What the last run wrote is where this one starts. In the text files, the lines of changed modules are
replaced. The indexes are edited (index_edit.py). Symbols that came or went tell which other modules to
resolve again. Only the order of dependencies, which any change may affect, is worked out for all modules:
that is quick.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from ukmod.kmod.depmod.graph import closures, closures_of, topological_order, users_of
from ukmod.kmod.depmod.incremental.index_edit import edit_trie
from ukmod.kmod.depmod.order import SYMBOL_BUCKETS, superfast
from ukmod.kmod.depmod.output import ALIAS_HEADER, SYMBOLS_HEADER, dependency_lines
from ukmod.kmod.depmod.parts import ALIASES, LINKS, alias_lines, aliases_of, links_of
from ukmod.kmod.names import modname_from_path, normalize_alias
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ukmod.kmod.depmod.incremental.archive import Archive
    from ukmod.kmod.depmod.parts import Parts
    from ukmod.kmod.depmod.scan import Candidate
    from ukmod.kmod.index import Entry
    from ukmod.kmod.index_write import Trie

    Direct = Sequence[Sequence[int]]
    Contents = dict[str, Trie]
    """Files' contents by name, with their marks if they are indexes."""

__all__ = ["Before", "Change", "find_change", "patch_aliases", "patch_links"]

_FEW = 64
"""Modules, or symbols: where more changed than that, all is made again."""
_NEEDLES = 8
"""Up to so many symbols are searched for in the modules' parts; for more, it is quicker to unpack them."""


@record
class Before:
    """The state that the last run left: the modules' paths in order, their parts, and the modules that each
    one needs itself.

    ``files`` are depmod's files as they lie there, and ``marks`` returns those of an index; they are empty
    if the index has another length.
    """

    order: Sequence[str]
    parts: Archive
    direct: Direct
    files: Mapping[str, bytes]
    marks: Callable[[str], bytes]


@record
class Change:
    """The changes among the modules: ``modules`` are the present ones, in order, and ``parts`` their parts.

    ``gone`` and ``come`` are the places, in the old order and in the new one, of modules of which there is
    another version now, of those that are no longer there, and of those that are new. ``place`` is the new
    place of each old one, -1 for none.
    """

    modules: Sequence[Candidate]
    parts: Archive
    gone: Sequence[int]
    come: Sequence[int]
    place: Sequence[int]


def find_change(
    before: Before, modules: Sequence[Candidate], parts: Archive, read: Mapping[str, Parts]
) -> Change | None:
    """Return what changed, or None if that is much or the modules that stayed have another order.

    ``read`` are those modules that may say something else than before.
    """
    places = {module.path: place for place, module in enumerate(modules)}
    place = [places.get(path, -1) for path in before.order]
    stayed = [new for new in place if new >= 0]
    if stayed != sorted(stayed):
        return None
    gone = [
        old
        for old, path in enumerate(before.order)
        if place[old] < 0 or (path in read and read[path] != before.parts[path])
    ]
    come = [place[old] for old in gone if place[old] >= 0]
    come += sorted(set(range(len(modules))).difference(stayed))
    if len(gone) > _FEW or len(come) > _FEW:
        return None
    return Change(modules, parts, gone, sorted(come), place)


def patch_aliases(before: Before, change: Change) -> Contents | None:
    """Return modules.alias and its index as the change makes them; None if an alias is worth a warning."""
    removed: list[Entry] = []
    added: list[Entry] = []
    for entries, place, name, lines in _versions(before, change, removed, added):
        for value in aliases_of(name, lines):
            alias = normalize_alias(value)
            if alias is None:
                return None
            entries.append((alias, place, name))
    lines = alias_lines([change.parts.joined([module.path for module in change.modules], ALIASES)])
    return {
        "modules.alias": (ALIAS_HEADER + lines, b""),
        "modules.alias.bin": _edit("modules.alias.bin", before, change, removed, added),
    }


def patch_links(before: Before, change: Change) -> tuple[Contents, Direct] | None:
    """Return the files of dependencies and symbols that the change makes different, and whom each one needs.

    None if so many symbols came or went that all is better made again, or if there are cycles.
    """
    touched = _touched_symbols(before, change)
    if len(touched) > _FEW:
        return None
    owners = _owners(before.files["modules.symbols"]) if touched or change.come else {}
    now, to_resolve = _search(change, touched)
    made = _patch_symbols(before, change, touched, owners, now)
    for symbol in touched:
        owners.pop(symbol, None)
    owners.update(now)
    direct = _resolve(before, change, owners, to_resolve)
    if direct != before.direct or [module.path for module in change.modules] != before.order:
        dependencies = _patch_dependencies(before, change, direct)
        if dependencies is None:
            return None
        made |= dependencies
    return made, direct


def _versions(
    before: Before, change: Change, old: list[Entry], new: list[Entry]
) -> Iterator[tuple[list[Entry], int, str, bytes]]:
    """Yield each version of a module that went or came: where its entries belong, place, name and aliases."""
    for place in change.gone:
        path = before.order[place]
        yield old, place, modname_from_path(path), before.parts.part(path, ALIASES)
    for place in change.come:
        module = change.modules[place]
        yield new, place, module.name, change.parts.part(module.path, ALIASES)


def _edit(name: str, before: Before, change: Change, removed: list[Entry], added: list[Entry]) -> Trie:
    """Return an index without some entries, places being those of before, and with others, now's."""
    trie = before.files[name], before.marks(name)
    lost = [place for place, now in enumerate(change.place) if now < 0]
    won = sorted(set(range(len(change.modules))).difference(change.place))
    moves = [(place, -1) for place in reversed(lost)] + [(place, 1) for place in won]
    if not moves:
        old, new = Counter(removed), Counter(added)
        return edit_trie(trie, (old - new).elements(), (new - old).elements())
    # Where places moved, an equal entry before and after is not the same: it would be moved with its module.
    return edit_trie(trie, removed, added, moves)


def _owners(text: bytes) -> dict[str, str]:
    """Return the name of the module that exports each symbol, as modules.symbols has it."""
    words = text[len(SYMBOLS_HEADER) :].decode("ascii").replace("alias symbol:", "").split()
    return dict(zip(words[::2], words[1::2], strict=True))


def _touched_symbols(before: Before, change: Change) -> set[str]:
    """Return the symbols that another set of modules exports now."""
    exports: dict[str, tuple[set[str], set[str]]] = {}
    for place in change.gone:
        path = before.order[place]
        exports.setdefault(path, (set(), set()))[0].update(links_of(before.parts.part(path, LINKS))[0])
    for place in change.come:
        path = change.modules[place].path
        exports.setdefault(path, (set(), set()))[1].update(links_of(change.parts.part(path, LINKS))[0])
    return set().union(*[old ^ new for old, new in exports.values()])


def _search(change: Change, touched: set[str]) -> tuple[dict[str, str], dict[int, Sequence[str]]]:
    """Return who owns those of the touched symbols that are exported now, and what modules are to resolve.

    These are the ones that came, and all that need a touched symbol.
    """
    come = set(change.come)
    spelled = touched | {"." + symbol for symbol in touched}
    now: dict[str, str] = {}
    to_resolve: dict[int, Sequence[str]] = {}
    for place in sorted(come.union(_places_of(change, touched))):
        module = change.modules[place]
        exports, needs = links_of(change.parts.part(module.path, LINKS))
        for symbol in touched.intersection(exports):
            now[symbol] = module.name  # the last of several has it
        if place in come or not spelled.isdisjoint(needs):
            to_resolve[place] = needs
    return now, to_resolve


def _places_of(change: Change, touched: set[str]) -> Iterable[int]:
    """Return where the modules are that may export or need a touched symbol."""
    if len(touched) > _NEEDLES:
        return range(len(change.modules))
    needles = [symbol.encode("utf-8", "surrogatepass") for symbol in touched]  # as marshal has them
    holders = {path for needle in needles for path in change.parts.holders(LINKS, needle)}
    return [place for place, module in enumerate(change.modules) if module.path in holders]


def _resolve(
    before: Before, change: Change, owners: Mapping[str, str], to_resolve: Mapping[int, Sequence[str]]
) -> list[list[int]]:
    """Return the modules each one needs itself, in the order of first use."""
    place = change.place
    direct: list[list[int]] = [[]] * len(change.modules)
    for old, new in enumerate(place):
        if new >= 0:
            direct[new] = [place[one] for one in before.direct[old]]
    if to_resolve:
        places = {module.name: place for place, module in enumerate(change.modules)}
        for one, needs in to_resolve.items():
            found = dict.fromkeys([_owner(symbol, owners) for symbol in needs])
            found.pop(None, None)
            direct[one] = [places[name] for name in found if name is not None]
    return direct


def _owner(symbol: str, owners: Mapping[str, str]) -> str | None:
    # As in module_dependencies(): a 64-bit PowerPC's `.name` is what `name` stands for.
    if symbol.startswith(".") and symbol[1:] in owners:
        return owners[symbol[1:]]
    return owners.get(symbol)


def _patch_symbols(
    before: Before, change: Change, touched: set[str], owners: Mapping[str, str], now: Mapping[str, str]
) -> Contents:
    """Return modules.symbols and its index."""
    removed: list[Entry] = []
    added: list[Entry] = []
    made: Contents = {}
    if touched:
        places = {module.name: place for place, module in enumerate(change.modules)}
        was = {
            change.modules[new].name if new >= 0 else modname_from_path(before.order[old]): old
            for old, new in enumerate(change.place)
        }
        lines = before.files["modules.symbols"].decode("ascii").split("\n")
        for symbol in sorted(touched):
            if symbol in owners:
                removed.append((f"symbol:{symbol}", was[owners[symbol]], owners[symbol]))
                lines.remove(f"alias symbol:{symbol} {owners[symbol]}")
            if symbol in now:
                added.append((f"symbol:{symbol}", places[now[symbol]], now[symbol]))
                # Behind the header; the last is what follows the last newline.
                at = bisect_left(lines, _symbol_place(symbol), 1, len(lines) - 1, key=_line_place)
                lines.insert(at, f"alias symbol:{symbol} {now[symbol]}")
        made["modules.symbols"] = "\n".join(lines).encode("ascii"), b""
    if touched or len(change.place) != len(change.modules) or -1 in change.place:
        made["modules.symbols.bin"] = _edit("modules.symbols.bin", before, change, removed, added)
    return made


def _symbol_place(symbol: str) -> tuple[int, bytes]:
    """Return what modules.symbols is sorted by: a bucket of kmod's hash table, and the name in it."""
    name = symbol.encode("ascii")
    return superfast([name])[0] & (SYMBOL_BUCKETS - 1), name


def _line_place(line: str) -> tuple[int, bytes]:
    return _symbol_place(line[len("alias symbol:") : line.rindex(" ")])


def _dependency_lines(
    before: Before, change: Change, direct: Direct, order: Sequence[int], was: Sequence[str]
) -> list[str]:
    """Return the lines of modules.dep, in which ``order`` is that of the modules.

    If the modules that stayed have kept their order, so have their lines, except where what they need has
    changed.
    """
    stayed = set(change.place)
    then = [new for old in topological_order(before.direct)[0] if (new := change.place[old]) >= 0]
    if then != [new for new in order if new in stayed]:
        return list(dependency_lines(change.modules, closures(direct, order)))
    affected = set(range(len(direct))).difference(stayed)
    lines = [""] * len(direct)
    for old, new in enumerate(change.place):
        if new >= 0:
            lines[new] = was[old]
            if direct[new] != [change.place[one] for one in before.direct[old]]:
                affected.add(new)
    affected.update(users_of(affected, direct, order))
    some = list(dependency_lines(change.modules, closures_of(affected, direct, order)))
    for new in affected:
        lines[new] = some[new]
    return lines


def _patch_dependencies(before: Before, change: Change, direct: Direct) -> Contents | None:
    """Return modules.dep and its index; None if there are cycles, or a line of which there is doubt."""
    order, _users = topological_order(direct)
    was = before.files["modules.dep"].decode("utf-8", "surrogateescape").split("\n")
    if len(order) < len(direct) or was.pop() or len(was) != len(before.order):
        return None
    lines = _dependency_lines(before, change, direct, order, was)
    stay = {new: old for old, new in enumerate(change.place) if new >= 0 and was[old] == lines[new]}
    kept = set(stay.values())
    removed = [
        (modname_from_path(path), place, was[place])
        for place, path in enumerate(before.order)
        if place not in kept
    ]
    added = [
        (module.name, place, lines[place]) for place, module in enumerate(change.modules) if place not in stay
    ]
    return {
        "modules.dep": ("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"), b""),
        "modules.dep.bin": _edit("modules.dep.bin", before, change, removed, added),
    }
