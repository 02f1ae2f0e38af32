"""What every module of a tree does: each is loaded, with what it needs, into a kernel that has just come up.

A kernel with an image takes seconds to bring up, and a module milliseconds to try. So a worker process brings
one up and then forks for each module: fork(2) is the snapshot, memory copied only where it is written. A
module that hangs, or takes the emulator down with it, takes its own process.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import select
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import asdict, dataclass
from errno import errorcode
from functools import cache
from pathlib import Path

from ukmod.errors import FormatError, KernelPanic, LoadError, NotFoundError, UkmodError
from ukmod.kernel.api import Kernel, open_tree

PATIENCE = 20.0
"""Seconds of host time that one module may take."""
_CHUNK = 1 << 16
KINDS = ("loads", "refuses", "rejected", "dependency", "unknown symbol", "oops", "stuck", "panic", "emulator")
"""What may come of a module, the best first."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a survey is made; a worker process is told no more."""

    tree: str
    """The directory of modules."""
    image: str = ""
    """The kernel image; empty for what Python implements alone."""
    seconds: float = 1.0
    """Virtual seconds between loading and unloading."""
    patience: float = PATIENCE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one module."""

    name: str
    kind: str
    """One of KINDS."""
    cause: str = ""
    """Why, in words that are the same for all modules with the same cause; "ENODEV" for a refusal."""
    unload: str = ""
    """"ok", or why it could not be unloaded; empty if it was not loaded."""
    warnings: int = 0
    leaks: int = 0
    reports: int = 0
    seconds: float = 0.0
    """Of host time."""

    @property
    def fine(self) -> bool:
        """It did what a kernel without its hardware would see it do."""
        return self.kind in ("loads", "refuses")


# -- one module -------------------------------------------------------------------------------------------


@cache
def _booted(settings: Settings) -> Kernel:
    """The kernel that this process forks from."""
    k = Kernel(tree=open_tree(settings.tree), image=settings.image or None)
    if settings.image:
        k.boot()
    gc.collect()
    gc.freeze()
    return k


def survey_batch(settings: Settings, names: Sequence[str]) -> list[Verdict]:
    """Try these modules, each in a process of its own that begins with the same kernel."""
    k = _booted(settings)
    return [_in_child(k, settings, name) for name in names]


def _in_child(k: Kernel, settings: Settings, name: str) -> Verdict:
    began = time.monotonic()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            k.core.cpu.after_fork()
            verdict = judge(k, name, settings.seconds)
            os.write(writer, pickle.dumps(verdict))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    data = _read(reader, began + settings.patience)
    os.close(reader)
    if data is None:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    seconds = round(time.monotonic() - began, 3)
    if data is None:
        return Verdict(name, "stuck", "host time is up", seconds=seconds)
    if not data:
        return Verdict(name, "emulator", f"the process ended with status {status}", seconds=seconds)
    verdict = pickle.loads(data)  # noqa: S301 - from our own child
    return Verdict(**{**asdict(verdict), "seconds": seconds})


def _read(reader: int, deadline: float) -> bytes | None:
    """All that comes until the other end is closed; None if the deadline comes first."""
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([reader], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return None
        part = os.read(reader, _CHUNK)
        if not part:
            return b"".join(parts)
        parts.append(part)


def judge(k: Kernel, name: str, seconds: float) -> Verdict:
    """Load a module with its dependencies, let time pass, unload it; what came of it."""
    try:
        kind, cause = _load(k, name)
        unload = ""
        if kind == "loads":
            k.run(seconds)
            unload = _unload(k, name)
            if k.oopses:
                kind, cause = "oops", _oops(k)
    except KernelPanic as panic:
        kind, cause, unload = "panic", _oops(k) or str(panic), ""
    except UkmodError as error:
        kind, cause, unload = "emulator", f"{type(error).__name__}: {error}", ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding, and the process ends
        kind, cause, unload = "emulator", f"{type(error).__name__}: {error}", ""
    return Verdict(name, kind, cause, unload, len(k.warnings), len(k.leaks()), len(k.reports))


def _load(k: Kernel, name: str) -> tuple[str, str]:
    assert k.tree is not None
    line = k.tree.dependency_line(name)
    if line is None:
        raise NotFoundError("no such module in the tree", subject=name)
    target, _, needed = line.partition(":")
    files = [*reversed(needed.split()), target]
    for file in files:
        path = k.tree.files.real(k.tree.path(file))
        module = os.path.basename(file).partition(".")[0].replace("-", "_")
        if module in k.modules:
            continue
        try:
            k.insmod(path)
        except LoadError as error:
            kind, cause = _why(k, error)
            if file != target and kind == "refuses":
                return "dependency", f"{module}: {cause}"
            return kind, cause
        if k.oopses:
            return "oops", _oops(k)
    return "loads", ""


def _why(k: Kernel, error: LoadError) -> tuple[str, str]:
    if k.oopses:
        return "oops", _oops(k)
    if "unknown symbol" in error.message:
        return "unknown symbol", error.message.removeprefix("unknown symbol ")
    if "init function returned" in error.message:
        return "refuses", errorcode.get(error.errno or 0, str(error.errno))
    if any("soft lockup" in str(warning) for warning in k.warnings):
        lockup = next(warning for warning in k.warnings if "soft lockup" in str(warning))
        return "stuck", f"soft lockup in {lockup.state.rip.text().partition('+')[0].strip()}"
    if "not returned" in error.message or "did not return" in error.message:
        return "stuck", error.message
    return "rejected", f"{errorcode.get(error.errno or 0, '')} {error.message}"


def _oops(k: Kernel) -> str:
    """What the first oops was, and where: without what differs from module to module."""
    if not k.oopses:
        return ""
    oops = k.oopses[0]
    frames = [oops.state.rip, *oops.state.frames]
    inside = [str(frame).partition("+")[0] for frame in frames if not frame.module][:3]
    what = next((text for _, text in oops.header if "cut here" not in text), oops.title)
    return f"{what.partition(', address')[0]} in {' < '.join(inside) or 'the module'}"


def _unload(k: Kernel, name: str) -> str:
    try:
        k.rmmod(name.replace("-", "_"))
    except LoadError as error:
        return error.message
    return "ok"


# -- many modules -----------------------------------------------------------------------------------------


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


def survey(
    executor: Executor, settings: Settings, names: Iterable[str], *, batch: int = 25
) -> Iterator[Verdict]:
    """Try all modules of these names by tasks of ``batch`` each; the verdicts as they come."""
    todo = list(names)
    futures: list[Future[list[Verdict]]] = [
        executor.submit(survey_batch, settings, todo[at : at + batch]) for at in range(0, len(todo), batch)
    ]
    for future in as_completed(futures):
        yield from future.result()
