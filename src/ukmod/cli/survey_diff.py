"""``ukmod survey diff``: what became worse, better, new or gone between two surveys."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence

from ukmod.cli.document import print_document
from ukmod.cli.terminal import write_lines
from ukmod.errors import UsageError
from ukmod.record import asdict
from ukmod.survey.expected import ExpectedFailure, is_expected, read_expected
from ukmod.survey.results import CHANGES, Results, VerdictChange, read_results, verdict_changes

__all__ = ["diff"]

_WIDTH = 72
"""Letters of a reason that a line of text shows."""


def diff(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Print the changes; 1 if a module became worse, or if a new one is not as it should be.

    Raises UsageError unless two files are named.
    """
    if len(words) != 2:
        raise UsageError("survey diff: name two journals, or two documents of --json")
    expected = read_expected(options.expect) if options.expect is not None else ()
    before, after = map(read_results, words)
    found = verdict_changes(before.verdicts, after.verdicts)
    worse = _worse(found, after, expected)
    if options.json:
        content = {
            "before": _about(before),
            "after": _about(after),
            "counts": {kind: sum(one.kind == kind for one in found) for kind in CHANGES},
            "worse": sorted(worse),
            "changes": [asdict(one) for one in found],
        }
        print_document("survey-diff", content)
    else:
        write_lines(_lines(found, worse, len(after.verdicts)))
    return int(bool(worse))


def _worse(
    found: Sequence[VerdictChange], after: Results, expected: Sequence[ExpectedFailure]
) -> frozenset[str]:
    """Return the modules that became worse, or are new and not fine, unless that is expected."""
    verdicts = {one.name: one for one in after.verdicts}
    return frozenset(
        one.module
        for one in found
        if (one.kind == "worse" or (one.kind == "new" and not verdicts[one.module].fine))
        and is_expected(verdicts[one.module], expected) is None
    )


def _about(results: Results) -> dict[str, object]:
    values = asdict(results)
    return {name: value for name, value in values.items() if name != "verdicts"} | {
        "total": len(results.verdicts)
    }


def _lines(found: Sequence[VerdictChange], worse: frozenset[str], total: int) -> Iterator[str]:
    counts = Counter(one.kind for one in found)
    for one in found:
        before, after = (
            f"{name}{f' ({_short(reason)})' if reason else ''}" if name else "nothing"
            for name, reason in ((one.before, one.before_reason), (one.after, one.after_reason))
        )
        known = "" if one.module in worse or one.kind != "worse" else "  (expected)"
        yield f"{one.kind:8} {one.module}: {before} -> {after}{known}"
    words = [f"{counts[kind]} {kind}" for kind in CHANGES if counts[kind]]
    yield f"{total} modules: {', '.join(words) or 'nothing differs'}"


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
