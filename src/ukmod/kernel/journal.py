"""The journal of a survey."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from ukmod.errors import FormatError
from ukmod.kernel.verdict import Settings, Verdict


class Journal:
    """Verdicts in a file, a JSON object a line, so that a survey that was broken off goes on where it was."""

    def __init__(self, path: str | os.PathLike[str], settings: Settings) -> None:
        """Raises FormatError for a file that is another survey's."""
        self._path = Path(path)
        self._head = {"tree": settings.tree, "image": settings.image, "seconds": settings.seconds}
        self.done: dict[str, Verdict] = {}
        if self._path.exists():
            self._read()
        else:
            self._append(self._head)

    def _read(self) -> None:
        # A line that is torn, because the machine went down, is a module that is to be tried again.
        whole = self._path.read_text().rpartition("\n")[0]
        try:
            head, *lines = (json.loads(line) for line in whole.split("\n"))
            self.done = {line["name"]: Verdict(**line) for line in lines}
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(f"no journal of a survey: {error}", path=str(self._path)) from error
        if head != self._head:
            raise FormatError("the journal of another survey", path=str(self._path))
        self._path.write_text(whole + "\n")

    def _append(self, line: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict."""
        self.done[verdict.name] = verdict
        self._append(asdict(verdict))
