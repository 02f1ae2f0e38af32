"""The samples of a page of documentation, and how they are run: what a page shows must be what comes out.

A page is a session. Its fenced blocks are run from top to bottom in one directory, empty at first:

* a block with a title is a file: ``` ```c title="ticker.c" ```;
* ``console``: a line after ``$ `` is a shell command, and the lines below it are its output. ``...`` stands
  for any text, on a line of its own for any lines. A command without output may print anything, but succeeds;
* ``pycon``: an interpreter's session, continued from block to block; ``python``: a program of its own;
* any other language is not run (``text``, ``mermaid``).

Compared are all characters but a duration in seconds ("in 0.52s") and white space at the ends of lines.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]+)?(?P<rest>[^\n`]*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_DURATION = re.compile(r"\bin \d+\.\d+s\b")
TIMEOUT = 300
"""Seconds that a command may take."""

StandIn = Callable[["Session", str], bool]
"""Called with each command; true if it did the command's work, which then is not run."""


class SampleError(AssertionError):
    """A sample did not do what the page says: ``page:line: what``."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is (or ""), its text, its first line in the page."""

    language: str
    title: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A shell command, the output that the page shows below it, and its line in the page."""

    text: str
    shown: tuple[str, ...]
    line: int


class EndOfPage(Exception):  # noqa: N818 - no error
    """Raised by a stand-in: what follows on the page cannot be run on this machine."""


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, also those that are indented in a list."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if (fence := _FENCE.match(line)) is None:
            continue
        indent, body = len(fence["indent"]), []
        for _, inner in lines:
            if inner.strip() == "```":
                break
            body.append(inner[indent:])
        title = _TITLE.search(fence["rest"])
        yield Block(fence["language"] or "", title[1] if title else "", "\n".join(body) + "\n", number + 1)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block. A line that ends with a backslash continues."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"line {block.line}: a console block begins with a command"
    line = block.line
    for part in parts[1:]:
        found = re.match(r"(?:.*\\\n)*.*\n", part)
        assert found is not None
        shown = part[found.end() :].strip("\n")
        yield Command(found[0].strip(), tuple(shown.splitlines()) if shown else (), line)
        line += part.count("\n")


def matches(shown: tuple[str, ...], printed: str) -> bool:
    """Whether output is what is shown, with ``...`` for what is left out."""
    pattern = ""
    for line in shown:
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += re.escape(_plain(line)).replace(r"\.\.\.", r"[^\n]*") + "\n"
    return re.fullmatch(pattern, _plain(printed.strip("\n")) + "\n") is not None


def _plain(text: str) -> str:
    text = _DURATION.sub("in Ns", text)
    return "\n".join(line.rstrip() for line in text.split("\n"))


@dataclass
class Session:
    """A reader at work: where they are, and how the last command ended."""

    page: Path
    directory: Path
    programs: Path
    """The directory of ``python``, ``ukmod`` and ``pytest``."""
    stand_in: StandIn
    status: int = 0
    transcript: str = ""
    """The interpreter's session so far."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Run every sample of the page. Raises SampleError for the first that is not what is shown."""
        try:
            for block in blocks(self.page.read_text(encoding="utf-8")):
                self._run(block)
        except EndOfPage:
            pass

    def _run(self, block: Block) -> None:
        if block.title:
            path = self.directory / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for command in commands(block):
                self._command(command)
        elif block.language == "pycon":
            self.transcript += block.text + "\n"
            self._check(
                block,
                "session.txt",
                self.transcript,
                ["-m", "doctest", "-o", "ELLIPSIS", "-o", "NORMALIZE_WHITESPACE"],
            )
        elif block.language == "python":
            self._check(block, "sample.py", block.text, [])

    def _command(self, command: Command) -> None:
        if self.stand_in(self, command.text):
            return
        place = self.directory.parent / "pwd"
        script = f"trap 'pwd >\"{place}\"' EXIT\n(exit {self.status})\n{command.text}\n"
        done = self._process(["bash", "-c", script])
        self.directory = Path(place.read_text().strip())
        self.status = done.returncode
        wrong = not matches(command.shown, done.stdout) if command.shown else self.status != 0
        if wrong:
            shown = "\n".join(command.shown)
            raise SampleError(
                f"{self.page.name}:{command.line}: $ {command.text}\nprinted (status {self.status}):\n"
                f"{done.stdout}\nshown:\n{shown}"
            )

    def _check(self, block: Block, name: str, text: str, options: list[str]) -> None:
        """Have Python run a text that must succeed."""
        path = self.directory.parent / name
        path.write_text(text, encoding="utf-8")
        done = self._process([str(self.programs / "python"), *options, str(path)])
        if done.returncode:
            raise SampleError(f"{self.page.name}:{block.line}:\n{done.stdout}")

    def _process(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.programs}:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.directory.parent),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
            "PYTEST_ADDOPTS": "-p no:randomly -p no:cacheprovider",
            **self.environment,
        }
        return subprocess.run(
            command, cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
