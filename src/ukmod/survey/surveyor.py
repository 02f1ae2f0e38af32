"""A separate process for surveys: the program that tries modules, and its client.

A survey forks, but fork(2) copies only one thread, together with the locks held by all others; and the tasks
of a kernel belong to the thread that created them. So a thread that tries modules, of this program or of a
worker in a cluster, uses a fresh process for that. It keeps the process, as bringing up a kernel takes
seconds. The two exchange lines of JSON::

    > {"settings": {...}, "names": [...]}
    < {"ready": true, "damage": ""}          the kernel is up; what failed in its initialisation
    < {"verdict": {...}}                     one for each name, in any order
    < {"done": true}, or {"error": "..."}

If the process is killed, for example because memory is exhausted, the modules it had not finished are tried
again, each alone. This shows which one is the cause. If the client ends, its process and the copies of that
end too, in the midst of a module.
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import IO, Any

from ukmod.errors import MachineError, UkmodError
from ukmod.kernel.api import Kernel
from ukmod.kernel.trees import open_tree
from ukmod.record import asdict, mutable
from ukmod.survey.orphans import end_with
from ukmod.survey.survey import boot, how_it_ended, survey_from
from ukmod.survey.verdict import ModuleVerdict, Settings


@mutable
class Child:
    """A process that tries modules."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    is_up: bool = False
    """It has brought up a kernel."""

    def kill(self) -> None:
        """Kill it and its forks. Until the process is waited for, its pid cannot be reused."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> str:
        """End the process; returns how it ended."""
        self.kill()
        for pipe in (self.stdin, self.stdout):
            with suppress(OSError):
                pipe.close()
        return how_it_ended(self.process.wait())


class Surveyors:
    """The processes that try modules: one per thread, started when the thread first needs it."""

    def __init__(self, indexes: Mapping[str, bytes] | None = None) -> None:
        """``indexes`` are those made for the tree to survey: see ``Tree.made_indexes``."""
        self._indexes = {path: base64.b64encode(one).decode() for path, one in (indexes or {}).items()}
        self._mine = threading.local()
        self._all: list[Child] = []
        self.damage = ""
        """The failures of the image's own initialisation; empty if there were none."""
        self._stopped = False

    def batch(self, settings: Settings, names: Sequence[str]) -> list[ModuleVerdict]:
        """Try these modules. Raises UkmodError if that is impossible, for example without a valid tree."""
        found: dict[str, ModuleVerdict] = {}
        self._ask(settings, names, found)
        for name in names:
            if name not in found:
                end = self._ask(settings, [name], found)
                found.setdefault(name, ModuleVerdict(name, "emulator", f"the process that tried it {end}"))
        return [found[name] for name in names]

    def stop(self) -> None:
        """Kill all processes and their forks; a thread that waits for one gets MachineError."""
        self._stopped = True
        for child in tuple(self._all):
            child.kill()

    def close(self) -> None:
        """Stop, and close everything. No thread may be using it any more."""
        self.stop()
        while self._all:
            self._all.pop().end()

    def _ask(self, settings: Settings, names: Sequence[str], found: dict[str, ModuleVerdict]) -> str:
        """Add these modules' verdicts to ``found``; returns how the process ended, or "" if it has not.

        Raises MachineError if it ended before it had brought up a kernel.
        """
        child = self._child()
        question = {"settings": asdict(settings), "names": list(names)}
        if not child.is_up:
            question["indexes"] = self._indexes
        with suppress(OSError):  # it has ended
            child.stdin.write(_line(question))
            child.stdin.flush()
        for line in child.stdout:
            match json.loads(line):
                case {"ready": _, "damage": damage}:
                    child.is_up = True
                    self.damage = damage
                case {"verdict": values}:
                    verdict = ModuleVerdict.of(values)
                    found[verdict.name] = verdict
                case {"done": _}:
                    return ""
                case {"error": text}:
                    raise UkmodError(text)
        self._mine.child = None
        self._all.remove(child)
        end = child.end()
        if not child.is_up or self._stopped:
            raise MachineError(f"the process for trying modules {end}")
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
    """Start this file as a program with the same ukmod, detached from our terminal's signals."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, str(os.getpid())],
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
    surveyors = Surveyors()
    atexit.register(surveyors.close)
    return surveyors


def survey_apart(settings: Settings, names: Sequence[str]) -> list[ModuleVerdict]:
    """Try modules in a separate process, which ends with this one: the work of a cluster's worker."""
    return _here().batch(settings, names)


# -- the program ------------------------------------------------------------------------------------------


def serve(asked: Iterable[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more."""

    def answer(**message: Any) -> None:
        answers.write(_line(message))
        answers.flush()

    kernels: dict[Settings, Kernel] = {}
    for line in asked:
        question = json.loads(line)
        settings = Settings(**question["settings"])
        indexes = {path: base64.b64decode(one) for path, one in question.get("indexes", {}).items()}
        try:
            if settings not in kernels:
                kernels[settings] = boot(settings, open_tree(settings.tree, indexes))
            k = kernels[settings]
            answer(ready=True, damage=k.core.boot.damage if k.core.boot is not None else "")
            for verdict in survey_from(k, settings, question["names"]):
                answer(verdict=asdict(verdict))
            answer(done=True)
        except UkmodError as error:
            answer(error=str(error))


def main(client: int) -> None:
    """Serve the process that started this one, and end with it; other output goes to standard error."""
    end_with(client)
    number = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    held = [number]
    # If this process is killed, its forks must not keep the pipe to the client open.
    os.register_at_fork(after_in_child=lambda: os.close(held.pop()) if held else None)
    with suppress(BrokenPipeError):  # the client has ended
        serve(sys.stdin.buffer, os.fdopen(number, "wb"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
