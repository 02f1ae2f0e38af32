"""A survey as an HTML page: the counts, and each module with what is to be said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ukmod import __version__
from ukmod.kmod.page import TableCell, TableRow, escaped, page, table
from ukmod.survey.expected import ExpectedFailure, is_expected
from ukmod.survey.verdict import CLASSES, FINE, MEANINGS, ModuleVerdict, Settings

__all__ = ["survey_page"]

_STYLES = dict.fromkeys(FINE, "good")
_LOG = 200
"""Lines of a module's log that the page has, the latest."""


def survey_page(
    settings: Settings,
    subsystems: Mapping[str, str],
    verdicts: Sequence[ModuleVerdict],
    expected: Sequence[ExpectedFailure],
) -> str:
    """Return the page. ``subsystems``: by module, the directory that it is counted in."""
    return page(f"Survey of {settings.tree}", _body(settings, subsystems, verdicts, expected))


def _body(
    settings: Settings,
    subsystems: Mapping[str, str],
    verdicts: Sequence[ModuleVerdict],
    expected: Sequence[ExpectedFailure],
) -> Iterator[str]:
    image = f"on <code>{escaped(settings.image)}</code>" if settings.image else "without a kernel image"
    fine = sum(verdict.fine for verdict in verdicts)
    yield f"<p>{len(verdicts)} modules {image}: {fine} are as they should be.</p>\n"
    yield f"<p>Made by ukmod {escaped(__version__)}.</p>\n"
    counts = Counter(verdict.classification for verdict in verdicts)
    rows = [
        TableRow(
            (
                TableCell(name, _STYLES.get(name, "bad")),
                TableCell(counts[name], "number"),
                TableCell(MEANINGS[name]),
            )
        )
        for name in CLASSES
        if counts[name]
    ]
    yield from table("verdicts", "Verdicts", ("verdict", "modules", "meaning"), rows)
    cells = Counter((subsystems[verdict.name], verdict.classification) for verdict in verdicts)
    shown = [name for name in CLASSES if counts[name]]
    rows = [
        TableRow((TableCell(name), *(TableCell(cells[name, column] or "", "number") for column in shown)))
        for name in sorted(set(subsystems.values()))
    ]
    yield from table("subsystems", "Subsystems", ("subsystem", *shown), rows)
    columns = ("module", "verdict", "why", "subsystem", "seconds")
    rows = [_row(verdict, subsystems[verdict.name], expected) for verdict in verdicts]
    yield from table("modules", "Modules", columns, rows, filtered=True)


def _row(verdict: ModuleVerdict, subsystem: str, expected: Sequence[ExpectedFailure]) -> TableRow:
    known = is_expected(verdict, expected)
    style = _STYLES.get(verdict.classification, "bad" if known is None else "doubt")
    why = verdict.reason if known is None else f"{verdict.reason} (expected: {known.reason})"
    cells = (
        TableCell(verdict.name, "code"),
        TableCell(verdict.classification, style),
        TableCell(why, more="".join(_details(verdict))),
        TableCell(subsystem),
        TableCell(f"{verdict.seconds:.3f}", "number"),
    )
    return TableRow(cells, verdict.classification)


def _details(verdict: ModuleVerdict) -> Iterator[str]:
    requests = tuple(f'request_module("{one.name}") = {one.result}' for one in verdict.requests)
    parts = {
        "memory misused": verdict.reports,
        "memory leaked": verdict.leaks,
        "left pending or registered": verdict.dangling,
        "warnings": verdict.warnings,
        "modules requested": requests,
        "log": verdict.log[-_LOG:],
    }
    for title, lines in parts.items():
        if lines:
            text = escaped("\n".join(lines))
            yield f"<details><summary>{title}</summary><pre>{text}</pre></details>"
