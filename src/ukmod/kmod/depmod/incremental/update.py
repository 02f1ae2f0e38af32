"""The state that one run of depmod leaves for the next, so that only changes are read and written again.

A run remembers, outside the tree (:mod:`cache`), which files it read and what they said. The next one stats
them all, reads those that changed, and compares: a file of depmod's is made again only if something it is
made of differs, or if it is no longer what the last run wrote, which its checksum tells. Whatever is in doubt
(another command line, configuration or version, a damaged file, a module that cannot be read) is a full run.

What a few modules change is changed in the files themselves (:mod:`patch`); where that cannot be, files are
made again from what all modules said.

Several files hold it: a small one with identities, checksums and messages, written by each run; two with what
the modules said and where it is, written when much of that changed (what little did is in the small one until
then); and one with each index's marks. The first names the second by a number, the others are known by
checksums, so that two runs at once can at worst leave some that do not fit, which are as good as none.
"""

from __future__ import annotations

import os
import stat
import zlib
from contextlib import suppress

from ukmod.errors import FormatError, UkmodError
from ukmod.kmod.depmod.analysis import Analysis, analyse
from ukmod.kmod.depmod.incremental.archive import Archive, Pieces, archive
from ukmod.kmod.depmod.incremental.cache import (
    identities,
    load,
    load_piece,
    prune,
    store,
    store_pieces,
)
from ukmod.kmod.depmod.incremental.patch import Before, find_change, patch_aliases, patch_links
from ukmod.kmod.depmod.order import module_order, module_order_after
from ukmod.kmod.depmod.parts import ALIASES, LINKS, NO_OTHERS, OTHERS, is_plain, pack, unpack
from ukmod.kmod.regular import UNSETTLED
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ukmod.kmod.depmod.facts import Facts
    from ukmod.kmod.depmod.incremental.cache import Identity
    from ukmod.kmod.depmod.incremental.patch import Change
    from ukmod.kmod.depmod.output import Made, Messages
    from ukmod.kmod.depmod.parts import Parts
    from ukmod.kmod.depmod.scan import Candidate
    from ukmod.kmod.index_write import Trie

__all__ = ["RunRecord", "Snapshot", "Update", "keep", "recall", "remember", "take_snapshot", "update"]

_MADE_OF = {
    "modules.dep": LINKS,
    "modules.dep.bin": LINKS,
    "modules.alias": ALIASES,
    "modules.alias.bin": ALIASES,
    "modules.softdep": OTHERS,
    "modules.weakdep": OTHERS,
    "modules.symbols": LINKS,
    "modules.symbols.bin": LINKS,
    "modules.devname": ALIASES,
}
"""Which part of the modules' facts each file is made of."""
_PATCHED = (
    "modules.dep",
    "modules.dep.bin",
    "modules.alias",
    "modules.alias.bin",
    "modules.symbols",
    "modules.symbols.bin",
)
_MADE_FROM = {
    "modules.builtin.bin": "modules.builtin",
    "modules.builtin.alias.bin": "modules.builtin.modinfo",
}
"""Which of kbuild's files the others are made from."""
_ORDER = "modules.order"
_MANY = 64
"""The parts of so many modules are worth a new file."""


@record
class Snapshot:
    """The state of all that a run reads, before it reads any of it.

    ``modules`` are identities by path, ``inputs`` those of kbuild's lists by name; one that may change
    without showing it, because it has only just changed, equals no other.
    """

    modules: Mapping[str, Identity]
    inputs: Mapping[str, Identity]


def take_snapshot(modules: Sequence[Candidate], dirname: str) -> Snapshot:
    """Stat the modules and kbuild's lists in ``dirname``."""
    inputs = (_ORDER, *_MADE_FROM.values())
    of_inputs = identities([f"{dirname}/{name}" for name in inputs])
    return Snapshot(
        identities([module.path for module in modules]),
        dict(zip(inputs, of_inputs.values(), strict=True)),
    )


@record
class RunRecord:
    """The record that a run leaves beside its files: the modules in order, the modules that each one needs
    itself, the messages about modules.order, the number of the file of parts, and the changes since that
    was written.
    """

    modules: Sequence[Candidate]
    direct: Sequence[Sequence[int]]
    order_messages: Messages
    parts_id: int
    newer: Mapping[str, Parts]


@record
class Update:
    """The work of a run that follows another.

    ``made`` are files that are made already, and ``stale`` those to make from ``analysis``, which has no more
    of the modules, and of their facts, than these are made of. ``kept`` are the messages that making each of
    the others gave rise to, and the file's checksum. ``run`` is what to remember, and ``now`` what the
    modules say.
    """

    analysis: Analysis
    made: dict[str, Made]
    stale: frozenset[str]
    kept: Mapping[str, tuple[int, Messages]]
    run: RunRecord
    now: Archive


def update(
    found: Sequence[Candidate],
    snapshot: Snapshot,
    dirname: str,
    directory: str,
    path: str,
    key: object,
    read: Callable[[Sequence[Candidate]], list[Facts]],
) -> Update | None:
    """Return what differs from what the run remembered at ``path`` did; None if there is doubt.

    ``dirname`` is the module directory, ``directory`` where depmod's files are, ``key`` whatever else a run
    depends on, and ``read`` reads modules' files.
    """
    head = load(path)
    old = _kept(path, head) if head and head["key"] == key else None
    if old is None:
        return None
    try:
        return _follow(found, snapshot, dirname, directory, path, head, old, read)
    except FormatError:
        return None


def _follow(
    found: Sequence[Candidate],
    snapshot: Snapshot,
    dirname: str,
    directory: str,
    path: str,
    head: Mapping[str, Any],
    old: Archive,
    read: Callable[[Sequence[Candidate]], list[Facts]],
) -> Update | None:
    """As :func:`update`, after a run whose record and whose modules' parts are given. FormatError if these
    are not what it left.
    """
    known: dict[str, Identity] = head["modules"]
    changed = [one for one in found if not _same(known.get(one.path), snapshot.modules[one.path])]
    same_set = len(known) == len(found) and all(one.path in known for one in changed)
    modules, order_messages = _ordered(found, snapshot, dirname, head, same_set=same_set)
    fresh = read(changed)
    new = {one.path: pack(one.name, facts) for one, facts in zip(changed, fresh, strict=True)}
    if any(facts.failure or not is_plain(facts) for facts in fresh):
        return None
    now = old.updated(new)
    order = [module.path for module in modules]
    if order == head["order"]:
        differ = [any(said[kind] != old[one][kind] for one, said in new.items()) for kind in range(3)]
    else:
        differ = [True] * 3
    files = _as_written(directory, head["outputs"])
    wrong = head["outputs"].keys() - files.keys()
    stale = wrong | {name for name, kind in _MADE_OF.items() if differ[kind]}
    stale |= {name for name, source in _MADE_FROM.items() if not _unchanged(source, snapshot, head)}

    before = Before(head["order"], old, head["direct"], files, lambda name: _marks(path, name, head))
    change = find_change(before, modules, now, new)
    patched = None
    if wrong.isdisjoint(_PATCHED) and not any(head["outputs"][name][1] for name in _PATCHED):
        patched = _patch(before, change, differ)
    made: dict[str, Made] = {}
    direct = head["direct"]
    if patched is not None:
        contents, direct = patched
        made = {name: (content, [], marks) for name, (content, marks) in contents.items()}
        stale -= {*_PATCHED}
    analysis = _analysis_for(modules, now, stale)
    if analysis.direct:
        direct = analysis.direct
    kept = {name: last for name, last in head["outputs"].items() if name not in stale and name not in made}
    run = RunRecord(modules, direct, order_messages, head["facts"], now.newer_of(order))
    return Update(analysis, made, frozenset(stale), kept, run, now)


def _patch(
    before: Before, change: Change | None, differ: Sequence[bool]
) -> tuple[dict[str, Trie], Sequence[Sequence[int]]] | None:
    """Return the files that a change makes different, and whom each module needs; None if there is doubt."""
    contents: dict[str, Trie] = {}
    direct = before.direct
    if not differ[LINKS] and not differ[ALIASES]:
        return contents, direct
    if change is None:
        return None
    try:
        aliases = patch_aliases(before, change) if differ[ALIASES] else {}
        links = patch_links(before, change) if differ[LINKS] else ({}, direct)
    except (UkmodError, ValueError, LookupError):
        return None  # making all of it again will say what is wrong, if anything is
    if aliases is None or links is None:
        return None
    return aliases | links[0], links[1]


def _analysis_for(modules: Sequence[Candidate], now: Archive, stale: set[str]) -> Analysis:
    """Return what stale files are made of: no more modules, and no more of them, than that takes."""
    kinds = {_MADE_OF[name] for name in stale if name in _MADE_OF}
    if stale.isdisjoint(_PATCHED):
        wanted = set(now.holders(ALIASES, b"alias devname:")) if ALIASES in kinds else set()
        wanted |= now.differing(OTHERS, NO_OTHERS) if OTHERS in kinds else set()
        modules = [module for module in modules if module.path in wanted]
    facts = unpack(modules, [now.parts(module.path, kinds) for module in modules], kinds)
    return analyse(modules, facts) if LINKS in kinds else Analysis(modules, facts, {}, (), (), ())


def recall(path: str, snapshot: Snapshot) -> dict[str, Parts]:
    """Return what the run remembered at ``path`` knew of modules that are still the same."""
    head = load(path)
    known = _kept(path, head) if head else None
    if known is None:
        return {}
    try:
        return {
            one: known[one]
            for one, now in snapshot.modules.items()
            if _same(head["modules"].get(one), now) and one in known
        }
    except FormatError:
        return {}


def _kept(path: str, head: Mapping[str, Any]) -> Archive | None:
    """Return what modules said in the run of this record; None if that is not there."""
    body = load(f"{path}.facts")
    if not body or body["id"] != head["facts"]:
        return None
    pieces = Pieces(body["said"], lambda start, size: load_piece(f"{path}.parts", start, size))
    return Archive(pieces, head["newer"])


def keep(path: str, parts: dict[str, Parts]) -> int:
    """Keep what modules say for the next run; return the number of that, for :func:`remember`."""
    number = int.from_bytes(os.urandom(7), "big") + 1
    said, pieces = archive(parts)
    store_pieces(f"{path}.parts", pieces)
    store(f"{path}.facts", {"id": number, "said": said})
    return number


def remember(
    path: str,
    key: object,
    snapshot: Snapshot,
    run: RunRecord,
    made: Mapping[str, Made],
    last: Update | None = None,
) -> None:
    """Remember a run for the next one: a full run, or one that an update was enough for."""
    outputs = {
        name: (zlib.crc32(content), messages)
        for name, (content, messages, _marks) in made.items()
        if isinstance(content, bytes)
    }
    parts_id, newer = run.parts_id, run.newer
    if last is not None:
        outputs |= last.kept
        if len(newer) > _MANY:
            try:
                said = {module.path: last.now[module.path] for module in run.modules}
            except FormatError:
                return  # another run's: the next one does all of it
            parts_id, newer = keep(path, said), {}
    for name, (_content, _messages, marks) in made.items():
        if marks and name in _PATCHED:
            store(f"{path}.{name}", {"of": outputs[name][0], "marks": marks})
    head = {
        "key": key,
        "facts": parts_id,
        "newer": newer,
        "modules": snapshot.modules,
        "inputs": snapshot.inputs,
        "order": [module.path for module in run.modules],
        "order_messages": run.order_messages,
        "direct": run.direct,
        "outputs": outputs,
    }
    store(path, head)
    if last is None:
        prune(path)


def _marks(path: str, name: str, head: Mapping[str, Any]) -> bytes:
    """Return the marks of an index; FormatError if they are not there, or another's."""
    kept = load(f"{path}.{name}")
    if not kept or kept["of"] != head["outputs"][name][0]:
        raise FormatError("no marks of this index", path=f"{path}.{name}")
    marks: bytes = kept["marks"]
    return marks


def _same(before: Identity | None, now: Identity) -> bool:
    return before == now and now != UNSETTLED


def _unchanged(name: str, snapshot: Snapshot, head: Mapping[str, Any]) -> bool:
    return _same(head["inputs"][name], snapshot.inputs[name])


def _ordered(
    found: Sequence[Candidate], snapshot: Snapshot, dirname: str, head: Mapping[str, Any], *, same_set: bool
) -> tuple[Sequence[Candidate], Messages]:
    """Return modules in depmod's order, and what was to be said about modules.order."""
    if _unchanged(_ORDER, snapshot, head):
        by_path = {module.path: module for module in found}
        stayed = [module for path in head["order"] if (module := by_path.get(path)) is not None]
        come = [] if same_set else [module for module in found if module.path not in head["modules"]]
        modules = module_order_after(stayed, come, dirname) if len(come) <= _MANY else None
        if modules is not None:
            return modules, head["order_messages"]
    messages: Messages = []
    return module_order(found, dirname, lambda priority, text: messages.append((priority, text))), messages


def _as_written(directory: str, outputs: Mapping[str, tuple[int, Messages]]) -> dict[str, bytes]:
    """Return those files that are, byte for byte, what the last run left. All of them take 5 ms to read."""
    files: dict[str, bytes] = {}
    for name, (checksum, _messages) in outputs.items():
        with suppress(OSError):
            fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, "rb", buffering=0) as file:
                status = os.fstat(fd)
                if status.st_mode == stat.S_IFREG | 0o644 and status.st_uid == os.geteuid():
                    content = file.read()
                    if zlib.crc32(content) == checksum:
                        files[name] = content
    return files
