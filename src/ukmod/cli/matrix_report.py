"""The outcome of runs on several kernels: a table for people, JSON and JUnit's XML for programs."""

from __future__ import annotations

from collections.abc import Iterator

from ukmod.cli.document import print_document
from ukmod.cli.junit import Case, CaseProblem, Suite
from ukmod.cli.report import Outcome
from ukmod.cli.terminal import write_lines
from ukmod.record import asdict, record

__all__ = ["Cell", "Column", "Matrix", "junit_suites", "print_json", "print_table"]

_NOT_RUN = ("no build", "no boot", "not tried")


@record
class Cell:
    """The verdict about a module on a kernel."""

    module: str
    verdict: str
    """One of faults.VERDICTS."""
    file: str
    """The build that was loaded; empty if there was none."""
    details: tuple[str, ...]
    """Why it is not clean, in lines."""


@record
class Column:
    """The verdicts of one kernel, and the whole outcome of the run, if there was one."""

    kernel: str
    """Its release, or the word that it was named by."""
    name: str
    image: str
    cells: tuple[Cell, ...]
    outcome: Outcome | None


@record
class Matrix:
    """The modules, the kernels, and what the former came to on the latter."""

    modules: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def clean(self) -> bool:
        """True if each module was clean on each kernel."""
        return all(cell.verdict == "clean" for column in self.columns for cell in column.cells)


def print_table(matrix: Matrix) -> None:
    """Print a row for each module and a column for each kernel, and then why a cell is not clean."""
    rows = [["module", *(column.kernel for column in matrix.columns)]]
    rows += [
        [module, *(column.cells[number].verdict for column in matrix.columns)]
        for number, module in enumerate(matrix.modules)
    ]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    write_lines([*lines, *_details(matrix)])


def _details(matrix: Matrix) -> Iterator[str]:
    for column in matrix.columns:
        for cell in column.cells:
            if cell.verdict != "clean":
                yield ""
                yield f"{cell.module} on {column.kernel}: {cell.verdict}"
                yield from (f"  {line}" for line in cell.details)
        if column.outcome is not None and not column.outcome.clean:
            yield ""
            yield f"the log of {column.kernel}:"
            yield from _log(column.outcome)


def _log(outcome: Outcome) -> Iterator[str]:
    for line in outcome.dmesg:
        yield f"[{int(str(line['time'])) / 1e9:12.6f}] {line['text']}"


def print_json(matrix: Matrix) -> None:
    """Print one JSON document; see docs/reference/json.md."""
    columns = matrix.columns
    print_document(
        "matrix",
        {
            "clean": matrix.clean,
            "modules": matrix.modules,
            "kernels": [{"kernel": one.kernel, "name": one.name, "image": one.image} for one in columns],
            "results": [{"kernel": one.kernel, **asdict(cell)} for one in columns for cell in one.cells],
            "runs": {one.kernel: asdict(one.outcome) for one in columns if one.outcome is not None},
        },
    )


def junit_suites(matrix: Matrix) -> list[Suite]:
    """Return a test suite for each kernel, with a case for each module."""
    return [
        Suite(
            column.kernel,
            tuple(Case(cell.module, _problems(cell)) for cell in column.cells),
            "\n".join(_log(column.outcome)) if column.outcome is not None else "",
        )
        for column in matrix.columns
    ]


def _problems(cell: Cell) -> tuple[CaseProblem, ...]:
    if cell.verdict == "clean":
        return ()
    kind = "error" if cell.verdict in _NOT_RUN else "failure"
    return (CaseProblem(kind, cell.verdict, "\n".join(cell.details)),)
