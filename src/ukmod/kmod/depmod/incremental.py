"""What one run of depmod leaves for the next: with it, only what changed is read and written again.

A run remembers, outside the tree (:mod:`cache`), which files it read and what they said. The next one stats
them all, reads those that changed, and compares: a file of depmod's is made again only if something it is
made of differs, or if it is no longer what the last run wrote, which its checksum tells. Whatever is in doubt
(another command line, configuration or version, a damaged file, a module that cannot be read) is a full run.

Two files hold it: a small one with identities, checksums and messages, written by each run, and one with the
facts, written when a fact changed. The first names the second by a number, so that two runs at once can at
worst leave a pair that is not one, which is as good as none.
"""

from __future__ import annotations

import marshal
import os
import stat
import time
import zlib

from ukmod.kmod.depmod.analysis import Analysis, analyse
from ukmod.kmod.depmod.cache import identity, is_settled, load, prune, store
from ukmod.kmod.depmod.facts import Facts
from ukmod.kmod.depmod.order import module_order
from ukmod.kmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ukmod.kmod.depmod.cache import Identity
    from ukmod.kmod.depmod.output import Made
    from ukmod.kmod.depmod.scan import Candidate

    Messages = list[tuple[int, str]]
    Parts = tuple[bytes, bytes, bytes]

__all__ = ["Snapshot", "Update", "remember", "take_snapshot", "update"]

_LINKS, _ALIASES, _OTHERS = range(3)
_MADE_OF = {
    "modules.dep": _LINKS,
    "modules.dep.bin": _LINKS,
    "modules.alias": _ALIASES,
    "modules.alias.bin": _ALIASES,
    "modules.softdep": _OTHERS,
    "modules.weakdep": _OTHERS,
    "modules.symbols": _LINKS,
    "modules.symbols.bin": _LINKS,
    "modules.devname": _ALIASES,
}
"""Which part of the modules' facts each file is made of."""
_MADE_FROM = {
    "modules.builtin.bin": "modules.builtin",
    "modules.builtin.alias.bin": "modules.builtin.modinfo",
}
"""Which of kbuild's files the others are made from."""
_ORDER = "modules.order"
_UNSETTLED = (0,)


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
    now = time.time_ns()

    def trusted(path: str) -> Identity:
        found = identity(path)
        return found if not found or is_settled(found, now) else _UNSETTLED

    inputs = {name: trusted(f"{dirname}/{name}") for name in (_ORDER, *_MADE_FROM.values())}
    return Snapshot({module.path: trusted(module.path) for module in modules}, inputs)


@record
class Update:
    """What a run has to do after the last one.

    ``stale`` are the files to make, from ``analysis``, whose facts are only those parts that they are made
    of. ``kept`` are the messages that making each of the others gave rise to, and the file's checksum.
    ``parts`` are all modules' facts, and ``facts_id`` their file's number, 0 if they are not in one yet.
    """

    analysis: Analysis
    stale: frozenset[str]
    kept: Mapping[str, tuple[int, Messages]]
    order_messages: Messages
    parts: Mapping[str, Parts]
    facts_id: int


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
    if not head or head["key"] != key:
        return None
    body = load(f"{path}.facts")
    if not body or body["id"] != head["facts"]:
        return None
    before: dict[str, Identity] = head["modules"]
    old_parts: dict[str, Parts] = body["parts"]
    changed = [one for one in found if not _same(before.get(one.path), snapshot.modules[one.path])]
    same_set = len(before) == len(found) and all(one.path in before for one in changed)
    modules, order_messages = _ordered(found, snapshot, dirname, head, same_set=same_set)
    fresh = read(changed)
    if any(facts.failure for facts in fresh):
        return None
    new = {one.path: _pack(facts) for one, facts in zip(changed, fresh, strict=True)}
    if same_set and [module.path for module in modules] == head["order"]:
        differ = [
            any(parts[kind] != old_parts[where][kind] for where, parts in new.items())
            for kind in (_LINKS, _ALIASES, _OTHERS)
        ]
        parts = old_parts | new if any(differ) else old_parts
    else:
        differ = [True] * 3
        parts = {module.path: new.get(module.path) or old_parts[module.path] for module in modules}
    wrong = _not_as_written(directory, head["outputs"])
    stale = wrong | {name for name, kind in _MADE_OF.items() if differ[kind]}
    stale |= {name for name, source in _MADE_FROM.items() if not _unchanged(source, snapshot, head)}
    kinds = {_MADE_OF[name] for name in stale if name in _MADE_OF}
    facts = _unpack([parts[module.path] for module in modules], kinds)
    analysis = analyse(modules, facts) if _LINKS in kinds else Analysis(modules, facts, {}, (), (), ())
    kept = {name: known for name, known in head["outputs"].items() if name not in stale}
    facts_id = head["facts"] if parts is old_parts else 0
    return Update(analysis, frozenset(stale), kept, order_messages, parts, facts_id)


def remember(
    path: str,
    key: object,
    snapshot: Snapshot,
    analysis: Analysis,
    order_messages: Messages,
    made: Mapping[str, Made],
    last: Update | None = None,
) -> None:
    """Remember a run for the next one: a full run, or one that an update was enough for."""
    outputs = {
        name: (zlib.crc32(content), messages)
        for name, (content, messages) in made.items()
        if isinstance(content, bytes)
    }
    if last is None:
        facts_id = 0
        parts: Mapping[str, Parts] = {
            module.path: _pack(facts) for module, facts in zip(analysis.modules, analysis.facts, strict=True)
        }
    else:
        facts_id, parts = last.facts_id, last.parts
        outputs |= last.kept
    if not facts_id:
        facts_id = int.from_bytes(os.urandom(7), "big") + 1
        store(f"{path}.facts", {"id": facts_id, "parts": parts})
    head = {
        "key": key,
        "facts": facts_id,
        "modules": snapshot.modules,
        "inputs": snapshot.inputs,
        "order": [module.path for module in analysis.modules],
        "order_messages": order_messages,
        "outputs": outputs,
    }
    store(path, head)
    if last is None:
        prune(path)


def _same(before: Identity | None, now: Identity) -> bool:
    return before == now and now != _UNSETTLED


def _unchanged(name: str, snapshot: Snapshot, head: Mapping[str, Any]) -> bool:
    return _same(head["inputs"][name], snapshot.inputs[name])


def _ordered(
    found: Sequence[Candidate], snapshot: Snapshot, dirname: str, head: Mapping[str, Any], *, same_set: bool
) -> tuple[Sequence[Candidate], Messages]:
    """Return modules in depmod's order, and what was to be said about modules.order."""
    if same_set and _unchanged(_ORDER, snapshot, head):
        by_path = {module.path: module for module in found}
        return [by_path[path] for path in head["order"]], head["order_messages"]
    messages: Messages = []
    return module_order(found, dirname, lambda priority, text: messages.append((priority, text))), messages


def _pack(facts: Facts) -> Parts:
    """Return facts as bytes, by what is made of them: to be compared, and unpacked only when needed."""
    # Version 2 of marshal's format has no references: equal values are equal bytes.
    return (
        marshal.dumps((facts.exports, facts.needs), 2),
        marshal.dumps(facts.aliases, 2),
        marshal.dumps((facts.softdeps, facts.weakdeps), 2),
    )


def _unpack(packed: Sequence[Parts], kinds: Iterable[int]) -> list[Facts]:
    """Return the facts of modules, of those kinds alone."""
    result = [Facts() for _ in packed]
    loads = marshal.loads
    for kind in kinds:
        for facts, parts in zip(result, packed, strict=True):
            value = loads(parts[kind])
            if kind == _LINKS:
                facts.exports, facts.needs = value
            elif kind == _ALIASES:
                facts.aliases = value
            else:
                facts.softdeps, facts.weakdeps = value
    return result


def _not_as_written(directory: str, outputs: Mapping[str, tuple[int, Messages]]) -> set[str]:
    """Return the files that are not, byte for byte, what the last run left. All of them take 5 ms to read."""
    return {name for name, (checksum, _messages) in outputs.items() if _checksum(directory, name) != checksum}


def _checksum(directory: str, name: str) -> int:
    """Return the checksum of a file as depmod leaves it, or -1 if it is anything else."""
    try:
        fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:
            status = os.fstat(fd)
            if status.st_mode != stat.S_IFREG | 0o644 or status.st_uid != os.geteuid():
                return -1
            return zlib.crc32(file.read())
    except OSError:
        return -1
