"""The journal of a survey, from which an interrupted survey is resumed.

Each line is a JSON object. The first identifies the survey: its settings, and what it was made with. All
others are verdicts, in the order in which they arrived. Two journals of the same survey are equal when
sorted and without their dates and timings. Timings are ``seconds``, and the speeds that a module such as
raid6_pq measures and logs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from errno import ESPIPE
from typing import Any, Self

from ukmod.errors import FormatError, NotFoundError, UsageError
from ukmod.kmod.regular import read_all, write_all
from ukmod.record import asdict
from ukmod.survey.verdict import MEANINGS, ModuleVerdict, Settings

_JOURNAL_FORMAT = 1
"""Increased whenever the meaning of the lines changes."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
_JOURNAL_LIMIT = 1 << 28
"""Bytes; that of a distribution's 4,000 modules has 5 MB."""


def journal_head(settings: Settings) -> dict[str, Any]:
    """Return the first line of a new journal: settings, ukmod's version, the date, the image's SHA-256 (empty
    without an image), and the words for the verdicts.
    """
    from ukmod import __version__

    return {
        "survey": _JOURNAL_FORMAT,
        **asdict(settings),
        "ukmod": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "image_sha256": _digest(settings.image),
        "classes": MEANINGS,
    }


def _digest(image: str) -> str:
    """Return the SHA-256 of an image; empty if it cannot be read, which the survey finds out."""
    with suppress(OSError), open(image, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def read_journal(content: bytes) -> tuple[dict[str, Any], dict[str, ModuleVerdict]]:
    """Return a journal's first line, and its verdicts by module.

    Raises ValueError, TypeError, KeyError or AttributeError if it is not one, RecursionError if it is nested
    too deeply. A last line without its end is passed over.
    """
    head, *lines = map(json.loads, content[: content.rfind(b"\n") + 1].splitlines())
    if not isinstance(head, dict) or "survey" not in head:
        raise ValueError("its first line does not identify a survey")
    return head, {line["name"]: ModuleVerdict.of(line) for line in lines}


class Journal:
    """Verdicts in a file, which an open journal locks against other processes."""

    def __init__(self, path: str | os.PathLike[str], settings: Settings) -> None:
        """Begin a journal, or continue one.

        Raises NotFoundError for a file that cannot be written, FormatError for one that is not a journal of
        this survey, UsageError for one that another survey is writing.
        """
        self.path = os.fspath(path)
        self._settings = {"survey": _JOURNAL_FORMAT, **asdict(settings)}
        self._head = journal_head(settings)
        self.done: dict[str, ModuleVerdict] = {}
        """The known verdicts by module."""
        try:
            self._file = os.open(self.path, _FLAGS, 0o666)
        except OSError as error:
            raise self._cannot_write(error.strerror, error.errno) from error
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise self._cannot_write("not a regular file", ESPIPE)
            self._lock()
            self._read()
        except OSError as error:
            self.close()
            raise self._cannot_write(error.strerror, error.errno) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which unlocks it. Each verdict in it was written when it was added."""
        with suppress(OSError):
            os.close(self._file)

    def add(self, verdict: ModuleVerdict) -> None:
        """Save a verdict. Raises NotFoundError, and saves nothing, if that fails: the disk may be full."""
        self._append(asdict(verdict))
        self.done[verdict.name] = verdict

    def _append(self, line: object) -> None:
        try:
            end = os.lseek(self._file, 0, os.SEEK_END)
            try:
                write_all(self._file, json.dumps(line).encode() + b"\n")
            except OSError:
                # Part of a line may be there. If it stays, the next run takes it for that of a crash.
                with suppress(OSError):
                    os.ftruncate(self._file, end)
                raise
        except OSError as error:
            raise self._cannot_write(error.strerror, error.errno) from error

    def _cannot_write(self, why: str | None, errno: int | None) -> NotFoundError:
        return NotFoundError(f"cannot write: {why}", errno=errno, subject=self.path)

    def _lock(self) -> None:
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        raise UsageError("another survey is writing it", subject=self.path)

    def _read(self) -> None:
        if os.fstat(self._file).st_size > _JOURNAL_LIMIT:
            text = f"not the journal of a survey: larger than {_JOURNAL_LIMIT >> 20} MiB"
            raise FormatError(text, path=self.path)
        content = read_all(self._file, _JOURNAL_LIMIT)
        # An incomplete last line, after a crash of the host, means that its module must be tried again.
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            self._begin(content)
            return
        try:
            head, done = read_journal(whole)
            self._compare(head)
            self.done = done
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FormatError(f"not the journal of a survey: {error}", path=self.path) from error
        os.ftruncate(self._file, len(whole))

    def _begin(self, torn: bytes) -> None:
        """Write the first line to a file that holds at most a part of it."""
        known = json.dumps(self._settings).encode()[:-1]
        if torn[: len(known)] != known[: len(torn)]:
            raise FormatError("not the journal of a survey", path=self.path)
        os.ftruncate(self._file, 0)
        self._append(self._head)

    def _compare(self, head: dict[str, object]) -> None:
        differs = [name for name in self._settings if head.get(name) != self._settings[name]]
        if not differs and head.get("image_sha256", self._head["image_sha256"]) != self._head["image_sha256"]:
            differs = ["image_sha256"]
        if differs:
            name = differs[0]
            text = f"the journal of another survey: its {name} is {head.get(name)}, not {self._head[name]}"
            raise FormatError(text, path=self.path)
