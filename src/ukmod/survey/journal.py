"""The journal of a survey: what a survey that was stopped goes on from.

A JSON object a line. The first says which survey this is, all others are verdicts, in the order in which they
came. Two journals of the same survey are equal when they are sorted and times are left out: ``seconds``, and
the speeds that some module (raid6_pq) measures, by what it gets done until the time is up, and logs.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict
from errno import ESPIPE
from typing import BinaryIO, Self

from ukmod.errors import FormatError, NotFoundError, UsageError
from ukmod.survey.verdict import Settings, Verdict

FORMAT = 1
"""Changed with what the lines mean."""


class Journal:
    """Verdicts in a file. A process that has it open keeps others from it."""

    def __init__(self, path: str | os.PathLike[str], settings: Settings) -> None:
        """Begin a journal, or go on with one.

        Raises NotFoundError for a file that cannot be written, FormatError for one that is no journal of
        this survey, UsageError for one that another survey is writing.
        """
        self.path = os.fspath(path)
        self._head = {"survey": FORMAT, **asdict(settings)}
        self.done: dict[str, Verdict] = {}
        """What is known, by module."""
        try:
            self._file: BinaryIO = open(self.path, "a+b", buffering=0)  # noqa: SIM115 - close() does
        except OSError as error:
            raise self._cannot_write(error.strerror, error.errno) from error
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise self._cannot_write("it is no regular file", ESPIPE)
            self._lock()
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the file."""
        self._file.close()

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict. Raises NotFoundError if that cannot be, for a full disk say."""
        self.done[verdict.name] = verdict
        self._append(asdict(verdict))

    def _append(self, line: object) -> None:
        try:
            with open(self._file.fileno(), "ab", closefd=False) as file:
                file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise self._cannot_write(error.strerror, error.errno) from error

    def _cannot_write(self, why: str | None, errno: int | None) -> NotFoundError:
        return NotFoundError(f"cannot write it: {why}", errno=errno, subject=self.path)

    def _lock(self) -> None:
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        raise UsageError("another survey is writing it", subject=self.path)

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        # A line that is torn, because the machine went down, is a module that is to be tried again.
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            self._begin(content)
            return
        try:
            head, *lines = map(json.loads, whole.splitlines())
            if not isinstance(head, dict) or "survey" not in head:
                raise ValueError("its first line is none of a survey")
            self._compare(head)
            self.done = {line["name"]: Verdict.of(line) for line in lines}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FormatError(f"no journal of a survey: {error}", path=self.path) from error
        self._file.truncate(len(whole))

    def _begin(self, torn: bytes) -> None:
        """There is no line yet; at most a part of the first."""
        if not json.dumps(self._head).encode().startswith(torn):
            raise FormatError("no journal of a survey", path=self.path)
        self._file.truncate(0)
        self._append(self._head)

    def _compare(self, head: dict[str, object]) -> None:
        differs = [name for name in self._head if head.get(name) != self._head[name]]
        if differs:
            name = differs[0]
            text = f"the journal of another survey: its {name} is {head.get(name)}, not {self._head[name]}"
            raise FormatError(text, path=self.path)
