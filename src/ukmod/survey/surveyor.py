"""A process of its own for a survey: a program that tries modules, and who has it do so.

A survey forks, and fork(2) copies one thread, with the locks that all others hold; and the tasks of a kernel
belong to the thread that made them. So a thread that tries modules, of this program or of a worker in a
cluster, has a fresh process try them, and keeps it, as bringing up a kernel takes seconds. They speak in
lines of JSON::

    > {"settings": {...}, "names": [...]}
    < {"ready": true, "damage": ""}          the kernel is up, and what of it is not
    < {"verdict": {...}}                     one for each name, in any order
    < {"done": true}, or {"error": "..."}

If the process is killed, for want of memory say, then the modules that it had not come to are tried again,
each alone: so it is known which one brings that about.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import IO, Any

from ukmod.errors import MachineError, UkmodError
from ukmod.survey.survey import booted, how_it_ended, survey_each
from ukmod.survey.verdict import Settings, Verdict


@dataclass(slots=True)
class Child:
    """A process that tries modules."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    is_up: bool = False
    """It has brought up a kernel."""

    def kill(self) -> None:
        """Kill it and what it has forked. Before somebody waits for it, its number is nobody else's."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> str:
        """Have it gone; how it went."""
        self.kill()
        for pipe in (self.stdin, self.stdout):
            with suppress(OSError):
                pipe.close()
        return how_it_ended(self.process.wait())


class Surveyors:
    """The processes that try modules: one for each thread that asks, from the first time that it does."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._all: list[Child] = []
        self.damage = ""
        """What of the image's own initialisation failed; empty if nothing did."""
        self._stopped = False

    def batch(self, settings: Settings, names: Sequence[str]) -> list[Verdict]:
        """Try these modules. Raises UkmodError if that cannot be done, as the tree is no tree, say."""
        found: dict[str, Verdict] = {}
        self._ask(settings, names, found)
        for name in names:
            if name not in found:
                end = self._ask(settings, [name], found)
                found.setdefault(name, Verdict(name, "emulator", f"the process that tried it {end}"))
        return [found[name] for name in names]

    def stop(self) -> None:
        """Kill them all, and what they have forked; a thread that waits for one gets MachineError."""
        self._stopped = True
        for child in tuple(self._all):
            child.kill()

    def close(self) -> None:
        """Stop, and keep nothing open. No thread is at work any more."""
        self.stop()
        while self._all:
            self._all.pop().end()

    def _ask(self, settings: Settings, names: Sequence[str], found: dict[str, Verdict]) -> str:
        """Add what comes of these modules to ``found``; how the process ended, or nothing as it has not.

        Raises MachineError if it ended before it had brought up a kernel.
        """
        child = self._child()
        with suppress(OSError):  # it has gone
            child.stdin.write(_line({"settings": asdict(settings), "names": list(names)}))
            child.stdin.flush()
        for line in child.stdout:
            match json.loads(line):
                case {"ready": _, "damage": damage}:
                    child.is_up = True
                    self.damage = damage
                case {"verdict": values}:
                    verdict = Verdict.of(values)
                    found[verdict.name] = verdict
                case {"done": _}:
                    return ""
                case {"error": text}:
                    raise UkmodError(text)
        self._mine.child = None
        self._all.remove(child)
        end = child.end()
        if not child.is_up or self._stopped:
            raise MachineError(f"the process that was to try modules {end}")
        return end

    def _child(self) -> Child:
        """This thread's process."""
        child: Child | None = getattr(self._mine, "child", None)
        if child is None:
            if self._stopped:
                raise MachineError("the survey was stopped")
            child = self._mine.child = _start()
            self._all.append(child)
        return child


def _start() -> Child:
    """Start this file as a program, which finds the same ukmod, and gets no signals of our terminal."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return Child(process, process.stdin, process.stdout)


def _line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


@cache
def _here() -> Surveyors:
    return Surveyors()


def survey_apart(settings: Settings, names: Sequence[str]) -> list[Verdict]:
    """Try modules in a process apart from this one, which ends with it: what a worker of a cluster runs."""
    return _here().batch(settings, names)


# -- the program ------------------------------------------------------------------------------------------


def serve(asked: Iterable[bytes], answers: IO[bytes]) -> None:
    """Do what is asked, until nobody asks."""

    def answer(**message: Any) -> None:
        answers.write(_line(message))
        answers.flush()

    for line in asked:
        question = json.loads(line)
        settings = Settings(**question["settings"])
        try:
            boot = booted(settings).core.boot
            answer(ready=True, damage=boot.damage if boot is not None else "")
            for verdict in survey_each(settings, question["names"]):
                answer(verdict=asdict(verdict))
            answer(done=True)
        except UkmodError as error:
            answer(error=str(error))


def main() -> None:
    """Serve whoever started this; what else is printed goes to standard error."""
    number = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    held = [number]
    # If this process is killed, its forks do not keep the other end waiting.
    os.register_at_fork(after_in_child=lambda: os.close(held.pop()) if held else None)
    with suppress(BrokenPipeError):  # who asked has gone
        serve(sys.stdin.buffer, os.fdopen(number, "wb"))


if __name__ == "__main__":
    main()
