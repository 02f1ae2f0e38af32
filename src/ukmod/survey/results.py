"""The results of a survey, from its journal or from the document of --json; and what changed between two."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from ukmod.errors import FormatError
from ukmod.kmod.regular import read_named
from ukmod.record import record
from ukmod.survey.journal import read_journal
from ukmod.survey.verdict import CLASSES, ModuleVerdict

__all__ = ["CHANGES", "Results", "VerdictChange", "read_results", "verdict_changes"]

CHANGES = {
    "worse": "its verdict is a worse one",
    "new": "only the second survey has it",
    "changed": "the same verdict for another reason",
    "better": "its verdict is a better one",
    "gone": "only the first survey has it",
}
"""The kinds of changes, in the order in which they are listed."""
_RANK = {name: number for number, name in enumerate(CLASSES)}
_DOCUMENT = "ukmod.survey/1"


@record
class Results:
    """A file's verdicts, sorted by module, and what it says of itself; empty where it does not say it."""

    path: str
    verdicts: tuple[ModuleVerdict, ...]
    ukmod: str = ""
    date: str = ""
    tree: str = ""
    image: str = ""


@record
class VerdictChange:
    """A module whose verdicts differ. ``before`` and ``after`` are classes, empty if it has none."""

    module: str
    kind: str
    """One of CHANGES."""
    before: str
    after: str
    before_reason: str = ""
    after_reason: str = ""


def read_results(path: str) -> Results:
    """Return the results in a journal or a document.

    Raises NotFoundError if it cannot be read, FormatError if it is neither.
    """
    content = read_named(path)
    try:
        if content.startswith(b'{"survey"'):
            head, found = read_journal(content)
            settings = head
        else:
            head = json.loads(content)
            if head["schema"] != _DOCUMENT:
                raise ValueError(f"its schema is {head['schema']}")
            settings = head["settings"]
            found = {values["name"]: _verdict(values) for values in head["modules"]}
        about = {name: _text(head, name) for name in ("ukmod", "date")}
        about |= {name: _text(settings, name) for name in ("tree", "image")}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        text = f"neither a journal nor the JSON of ukmod survey: {error}"
        raise FormatError(text, path=path) from error
    return Results(path, tuple(found[name] for name in sorted(found)), **about)


def _verdict(values: Mapping[str, object]) -> ModuleVerdict:
    members = ModuleVerdict.__match_args__
    return ModuleVerdict.of({name: value for name, value in values.items() if name in members})


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name, "")
    return value if isinstance(value, str) else ""


def verdict_changes(before: Iterable[ModuleVerdict], after: Iterable[ModuleVerdict]) -> list[VerdictChange]:
    """Return the modules whose verdicts differ, by the kind of the change and by name."""
    old, new = ({one.name: one for one in verdicts} for verdicts in (before, after))
    found = [_change(name, old.get(name), new.get(name)) for name in old.keys() | new.keys()]
    order = list(CHANGES)
    return sorted((one for one in found if one.kind), key=lambda one: (order.index(one.kind), one.module))


def _change(name: str, old: ModuleVerdict | None, new: ModuleVerdict | None) -> VerdictChange:
    before, after = (("", "") if one is None else (one.classification, one.reason) for one in (old, new))
    if old is None or new is None:
        kind = "new" if old is None else "gone"
    elif before[0] != after[0]:
        kind = "worse" if _RANK[after[0]] > _RANK[before[0]] else "better"
    else:
        kind = "changed" if before != after else ""
    return VerdictChange(name, kind, before[0], after[0], before[1], after[1])
