"""``ukmod kernel fetch``, ``headers`` and ``list``: the kernels on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

from ukmod.cli.document import print_document
from ukmod.cli.progress import Progress
from ukmod.cli.terminal import write_lines
from ukmod.errors import NotFoundError, UsageError
from ukmod.machine.image.installed import Installed, installed, kernel_named, store
from ukmod.packages import fetch
from ukmod.record import asdict


def main(options: argparse.Namespace) -> int:
    """Do what was asked for; the exit status."""
    if options.action == "headers":
        write_lines([_headers(options.kernels)])
        return 0
    kernels = _fetched(options) if options.action == "fetch" else _listed(options)
    if options.json:
        print_document("kernels", {"kernels": [asdict(one) for one in kernels]})
    else:
        write_lines(_lines(kernels))
    return 0


def _listed(options: argparse.Namespace) -> list[Installed]:
    if options.kernels:
        raise UsageError("list takes no kernel", subject=options.kernels[0])
    return installed()


def _headers(words: list[str]) -> str:
    """The directory of a kernel's headers. Raises NotFoundError if they are not on this machine."""
    if len(words) != 1:
        raise UsageError("headers takes one kernel, 6.12 for example")
    kernel = kernel_named(words[0])
    if not kernel.headers:
        text = f"its headers are not on this machine: ukmod kernel fetch {words[0]} --headers"
        raise NotFoundError(text, subject=kernel.release)
    return kernel.headers


def _fetched(options: argparse.Namespace) -> list[Installed]:
    words = options.kernels
    if not words:
        raise UsageError("name a kernel to fetch, 6.12 for example")
    if options.into is not None and len(words) > 1:
        raise UsageError("--into takes one kernel", subject=words[1])
    suites = [suite for given in options.suite for suite in given.split(",") if suite]
    step = _Step()
    with Progress(step.text):
        try:
            return [
                fetch.fetch(word, suites=suites, headers=options.headers, into=options.into, tell=step.begin)[
                    0
                ]
                for word in words
            ]
        except NotFoundError as error:
            if error.subject not in words:  # no apt is here
                error.message += "; " + fetch.ELSEWHERE.format(directory=store())
            raise


class _Step:
    """The step that a fetch is at, as Progress shows it."""

    def __init__(self) -> None:
        self._what = "fetching"
        self._how_far: Callable[[], str] = str

    def begin(self, what: str, how_far: Callable[[], str]) -> None:
        self._what, self._how_far = what, how_far

    def text(self) -> str:
        return " ".join(filter(None, (self._what, self._how_far())))


def _lines(kernels: Iterable[Installed]) -> Iterable[str]:
    """Each kernel's release, what there is of it, and where its image is."""
    rows = [(one.release, _parts(one), one.image) for one in kernels]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _parts(kernel: Installed) -> str:
    parts = ["image", *(["modules"] if kernel.modules else []), *(["headers"] if kernel.headers else [])]
    return ", ".join(parts)
