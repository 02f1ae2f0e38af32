"""The results of a survey: tables for people, one document for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ukmod.cli.document import print_document
from ukmod.cli.terminal import write_lines
from ukmod.kmod.tree import Tree
from ukmod.record import asdict
from ukmod.survey.expected import ExpectedFailure, is_expected, passing
from ukmod.survey.verdict import CLASSES, ModuleVerdict, Settings

_CAUSES = 30
"""Causes that the table shows at most."""
_SLOWEST = 10
_CAUSE_WIDTH = 96


def subsystem(tree: Tree, name: str) -> str:
    """The directory that a module is in: two levels of drivers/, one of all else."""
    directories = tree.module_path(name).split("/")[:-1]
    inside = directories[1:] if directories[:1] == ["kernel"] else directories
    return "/".join(inside[: 2 if inside[:1] == ["drivers"] else 1]) or "."


def print_json(
    tree: Tree,
    settings: Settings,
    verdicts: Sequence[ModuleVerdict],
    expected: Sequence[ExpectedFailure] = (),
) -> None:
    """One document: the settings, the tallies, and each verdict with its class and its subsystem."""
    modules = []
    for verdict in verdicts:
        known = is_expected(verdict, expected)
        about = {
            "class": verdict.classification,
            "subsystem": subsystem(tree, verdict.name),
            "fine": verdict.fine,
            "expected": "" if known is None else known.reason,
        }
        modules.append(asdict(verdict) | about)
    document = {
        "settings": asdict(settings),
        "total": len(modules),
        "classes": Counter(str(module["class"]) for module in modules),
        "modules": modules,
        "unexpectedly_fine": [one.module for one, _ in passing(verdicts, expected)],
    }
    print_document("survey", document)


def print_tables(tree: Tree, verdicts: Sequence[ModuleVerdict]) -> None:
    """The table by subsystem and class, the table by cause, the slowest."""
    subsystems = {verdict.name: subsystem(tree, verdict.name) for verdict in verdicts}
    write_lines(by_subsystem(subsystems, verdicts))
    for table in (by_cause(verdicts), slowest(verdicts)):
        write_lines(["", *table] if table else ())


def print_expected(verdicts: Sequence[ModuleVerdict], expected: Sequence[ExpectedFailure]) -> None:
    """Say how many failures are expected, and which expected ones did not happen."""
    known = sum(is_expected(verdict, expected) is not None for verdict in verdicts)
    lines = [f"expected to fail: {known}"] if known else []
    lines += [
        f"{one.module}: {verdict.classification}; {one.classification} was expected: {one.reason}"
        for one, verdict in passing(verdicts, expected)
    ]
    write_lines(["", *lines] if lines else ())


def by_subsystem(subsystems: Mapping[str, str], verdicts: Sequence[ModuleVerdict]) -> list[str]:
    """A line for each subsystem, a column for each class that occurs; nothing is a dot."""
    cells = Counter((subsystems[verdict.name], verdict.classification) for verdict in verdicts)
    total = Counter(verdict.classification for verdict in verdicts)
    columns = [name for name in CLASSES if total[name]]
    first = max(map(len, ("subsystem", *subsystems.values())))

    def row(title: str, *values: object) -> str:
        numbers = zip(columns, values[1:], strict=True)
        line = f"{title:{first}}  {values[0]!s:>6}"
        return line + "".join(f"  {value!s:>{max(6, len(name))}}" for name, value in numbers)

    lines = [row("subsystem", "all", *columns)]
    for name in sorted(set(subsystems.values())):
        counts = [cells[name, column] for column in columns]
        lines.append(row(name, sum(counts), *(count or "." for count in counts)))
    lines.append(row("all", total.total(), *(total[column] for column in columns)))
    return lines


def by_cause(verdicts: Iterable[ModuleVerdict]) -> list[str]:
    """How often each cause occurs, the most frequent first."""
    causes = Counter((verdict.classification, verdict.reason) for verdict in verdicts)
    counted = sorted(
        ((count, *key) for key, count in causes.items() if key[1]), key=lambda row: (-row[0], row[1:])
    )
    lines = [f"{count:6}  {kind:11}  {_short(text)}" for count, kind, text in counted[:_CAUSES]]
    if len(counted) > _CAUSES:
        others = sum(count for count, _, _ in counted[_CAUSES:])
        lines.append(f"{others:6}  {len(counted) - _CAUSES} more causes: see --json")
    return [" count  class        cause", *lines] if lines else []


def slowest(verdicts: Iterable[ModuleVerdict]) -> list[str]:
    """Those that took most host time, without what they need."""
    first = sorted(verdicts, key=lambda verdict: (-verdict.seconds, verdict.name))[:_SLOWEST]
    lines = (f"{one.seconds:8.3f}  {one.classification:11}  {one.name}" for one in first)
    return [" seconds  class        module", *lines] if first else []


def _short(text: str) -> str:
    return text if len(text) <= _CAUSE_WIDTH else text[: _CAUSE_WIDTH - 3] + "..."
