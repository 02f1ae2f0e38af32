"""A survey of a tree: each module is loaded, with its dependencies, into a kernel that has just come up.

A kernel with an image takes seconds to bring up, trying a module milliseconds. So a worker process brings one
up and then forks for each module: fork(2) is the snapshot, and memory is copied only when written. Modules
that depend on another are tried in forks of a process that has already loaded it. As the copy is exact, this
gives the same result as loading all dependencies for each. A module that hangs, or crashes the emulator,
takes only its own process down.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from errno import errorcode
from functools import cache
from typing import TypeVar

from ukmod.errors import KernelPanic, LoadError, MachineError, PatienceError, Reboot, UkmodError
from ukmod.kernel.api import Kernel
from ukmod.kernel.mm.kasan import Report
from ukmod.kernel.mm.slab import Leak
from ukmod.kernel.module.dangling import Dangling
from ukmod.kernel.oops import Warn
from ukmod.kernel.trees import load_order, open_tree
from ukmod.kmod import processes
from ukmod.kmod.tree import Tree
from ukmod.record import asdict, field, mutable, replace
from ukmod.survey.leaks import lost
from ukmod.survey.orphans import end_with
from ukmod.survey.verdict import ModuleVerdict, Settings
from ukmod.survey.warm import warm

# -- planning ---------------------------------------------------------------------------------------------


@mutable
class Branch:
    """A module's file, the names under which it is surveyed, and the modules loaded on top of it."""

    file: str = ""
    names: set[str] = field(default_factory=set)
    above: dict[str, Branch] = field(default_factory=dict)

    def all_names(self) -> Iterator[str]:
        """All names to survey, here and above."""
        yield from sorted(self.names)
        for branch in self.above.values():
            yield from branch.all_names()


def plan(tree: Tree, names: Iterable[str]) -> Branch:
    """The tree of files to load: modules whose loading orders begin alike share that beginning."""
    root = Branch()
    for name in names:
        branch = root
        for file in load_order(tree, name):
            branch = branch.above.setdefault(file, Branch(file))
        branch.names.add(name)
    return root


# -- one module -------------------------------------------------------------------------------------------

Ending = tuple[str, str, str]
"""The kind, cause and unload of a verdict."""
LOADS: Ending = ("loads", "", "")
T = TypeVar("T")
_TICK = 0.01
"""Seconds: the shortest time a timer is set to, as it cannot be negative."""
_GRACE = 5.0
"""Seconds in which a machine that has used its time must have said where it was; then it is killed."""


@cache
def booted(settings: Settings) -> Kernel:
    """The kernel from which this process forks."""
    return boot(settings, open_tree(settings.tree))


def boot(settings: Settings, tree: Tree) -> Kernel:
    """A kernel to fork from; ``tree`` is that of the settings, opened."""
    k = Kernel(
        tree=tree,
        btf=settings.btf or None,
        image=settings.image or None,
        snapshot=settings.snapshot,
    )
    core = k.boot()
    if core.image is not None:
        # Names of symbols and types are indexed on first use: do it once here, and not in each copy.
        core.image.get("")
        core.types.has("")

        def verdict_of(name: str) -> ModuleVerdict:
            (verdict,) = survey_from(k, settings, [name])  # to the end, where its process is waited for
            return verdict

        warm(k, verdict_of)
    gc.collect()
    gc.freeze()
    return k


def survey_batch(settings: Settings, names: Sequence[str]) -> list[ModuleVerdict]:
    """Try these modules, each in its own process and on its own copy of the same kernel."""
    found = {verdict.name: verdict for verdict in survey_each(settings, names)}
    return [found[name] for name in names]


def survey_each(settings: Settings, names: Iterable[str]) -> Iterator[ModuleVerdict]:
    """Try these modules, and yield each verdict as soon as it is known."""
    return survey_from(booted(settings), settings, names)


def survey_from(k: Kernel, settings: Settings, names: Iterable[str]) -> Iterator[ModuleVerdict]:
    """Try these modules, each in a copy of this kernel."""
    assert k.tree is not None
    for branch in plan(k.tree, names).above.values():
        yield from _in_copy(k, settings, branch)


def _in_copy(k: Kernel, settings: Settings, branch: Branch) -> Iterator[ModuleVerdict]:
    """Try a module, and all modules above it, in a copy of this process."""
    began = time.monotonic()
    reader, writer = os.pipe()
    parent = os.getpid()
    if (pid := processes.fork()) == 0:
        try:
            end_with(parent)
            os.close(reader)
            k.core.cpu.after_fork()
            for verdict in _verdicts(k, settings, branch):
                os.write(writer, json.dumps(asdict(verdict)).encode() + b"\n")
        finally:
            processes.end(0)
    os.close(writer)
    missing = dict.fromkeys(branch.all_names())
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            verdict = ModuleVerdict.of(json.loads(line))
            del missing[verdict.name]
            yield verdict
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    seconds = round(time.monotonic() - began, 3)
    for name in missing:
        if code == -signal.SIGPROF:
            yield ModuleVerdict(name, "stuck", "host time is up", seconds=seconds)
        else:
            yield ModuleVerdict(name, "emulator", f"its process {how_it_ended(code)}", seconds=seconds)


def how_it_ended(code: int) -> str:
    """An exit status as Python returns it, in words."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _verdicts(k: Kernel, settings: Settings, branch: Branch) -> Iterator[ModuleVerdict]:
    """Try a module, and all above it, in this process, which is killed when its patience runs out."""
    warnings, reports, requests, dangling = map(len, (k.warnings, k.reports, k.requests, k.dangling))
    in_use = k.core.slab.in_use()

    def verdict(name: str, outcome: Ending) -> ModuleVerdict:
        kind, cause, unload = outcome
        left = k.dangling[dangling:]
        return ModuleVerdict(
            name,
            kind,
            cause,
            _blemish(k.reports[reports:], left, k.warnings[warnings:]),
            unload,
            warnings=tuple(map(str, k.warnings[warnings:])),
            dangling=tuple(map(str, left)),
            reports=tuple(map(str, k.reports[reports:])),
            requests=tuple(k.requests[requests:]),
            log=tuple(record.text for record in k.core.log.records),
            seconds=round(spent, 3),
        )

    spent = 0.0

    def patiently(work: Callable[[], T]) -> T:
        nonlocal spent
        began = time.process_time()
        k.patience = max(settings.patience - spent, _TICK)
        signal.setitimer(signal.ITIMER_PROF, k.patience + _GRACE)
        result = work()
        signal.setitimer(signal.ITIMER_PROF, 0)
        spent += time.process_time() - began
        return result

    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    outcome = patiently(lambda: _outcome(k, lambda: _load(k, branch.file)))
    for other in branch.above.values():
        if outcome == LOADS:
            yield from _in_copy(k, settings, other)
        else:
            without = _without(branch.file, outcome)
            yield from (verdict(name, without) for name in other.all_names())
    if outcome == LOADS and branch.names:
        outcome = patiently(lambda: _outcome(k, lambda: _live(k, branch.file, settings.seconds)))
    if found := [verdict(name, outcome) for name in sorted(branch.names)]:
        spent = 0.0  # the second cycle takes as long as the first
        leaks = patiently(lambda: _leaks(k, branch.file, settings.seconds, outcome, in_use))
        yield from (_with_leaks(one, leaks) for one in found)


def _leaks(k: Kernel, file: str, seconds: float, outcome: Ending, before: frozenset[int]) -> Sequence[Leak]:
    """The leaks of a module with each cycle or refusal; ``before`` is the memory in use before the first."""
    if outcome[0] not in ("loads", "refuses") or _module(file) in k.modules:
        return ()

    def again() -> bool:
        second = _outcome(k, lambda: _load(k, file))
        return outcome == (_outcome(k, lambda: _live(k, file, seconds)) if second == LOADS else second)

    return lost(k, before, again)


def _with_leaks(verdict: ModuleVerdict, leaks: Sequence[Leak]) -> ModuleVerdict:
    if not leaks:
        return verdict
    left = f"left {', '.join(sorted({leak.kind for leak in leaks}))}"
    blemish = verdict.blemish if verdict.reports else left
    return replace(verdict, blemish=blemish, leaks=tuple(map(str, leaks)))


def _blemish(reports: Sequence[Report], dangling: Sequence[Dangling], warnings: Sequence[Warn]) -> str:
    """The worst finding about a module, apart from leaks."""
    if reports:
        return reports[0].kind
    if dangling:
        return f"left {dangling[0].kind}"
    return f"warned in {_function(warnings[0].state.rip)}" if warnings else ""


def _function(frame: object) -> str:
    return str(frame).partition("+")[0].strip()


def _outcome(k: Kernel, work: Callable[[], Ending]) -> Ending:
    try:
        return work()
    except (KernelPanic, Reboot) as panic:
        return "panic", _oops(k) or str(panic), ""
    except PatienceError as error:
        return "stuck", f"no end in {error.function or 'the kernel'}", ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding, and the process ends
        return "emulator", f"{type(error).__name__}: {error}", ""


def _without(file: str, outcome: Ending) -> Ending:
    """The outcome for modules that depend on one with this outcome."""
    kind, cause, _ = outcome
    return ("dependency", f"{_module(file)}: {cause}", "") if kind == "refuses" else outcome


def _module(file: str) -> str:
    return os.path.basename(file).partition(".")[0].replace("-", "_")


def _load(k: Kernel, file: str) -> Ending:
    """Load a module whose dependencies are loaded; one of them may already have requested it."""
    assert k.tree is not None
    if _module(file) in k.modules:
        return LOADS
    try:
        k.insmod(k.tree.files.real(k.tree.path(file)))
    except LoadError as error:
        return (*_why(k, error), "")
    return ("oops", _oops(k), "") if k.oopses else LOADS


def _live(k: Kernel, file: str, seconds: float) -> Ending:
    """Let time pass, then unload the module."""
    k.run(seconds)
    try:
        k.rmmod(_module(file))
    except LoadError as error:
        unload = error.message
    else:
        unload = "ok"
        if k.dangling:  # what is pending happens
            k.settle()
    return ("oops", _oops(k), unload) if k.oopses else ("loads", "", unload)


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
    """The kind and place of the first oops, without details that vary between modules."""
    if not k.oopses:
        return ""
    oops = k.oopses[0]
    frames = [oops.state.rip, *oops.state.frames]
    inside = [str(frame).partition("+")[0] for frame in frames if not frame.module][:3]
    what = next((text for _, text in oops.header if "cut here" not in text), oops.title)
    return f"{what.partition(', address')[0]} in {' < '.join(inside) or 'the module'}"


# -- many modules -----------------------------------------------------------------------------------------


def survey(
    executor: Executor,
    settings: Settings,
    names: Iterable[str],
    *,
    tree: Tree | None = None,
    batch: int = 25,
    work: Callable[[Settings, Sequence[str]], list[ModuleVerdict]] = survey_batch,
) -> Iterator[ModuleVerdict]:
    """Try all modules with these names in tasks of ``batch`` each; yields the verdicts as they arrive.

    tree: that of the settings, if it is open already; it may have been indexed in memory.
    work: the function of a task. If its process has threads, as in a cluster, it must be ``survey_apart``.

    Raises NotFoundError for a name that the tree does not contain, MachineError if a worker is lost.
    """
    opened = open_tree(settings.tree) if tree is None else tree
    # In this order, neighbouring modules have common dependencies.
    todo = sorted(names, key=lambda name: load_order(opened, name))
    tasks = {
        executor.submit(work, settings, some): some
        for at in range(0, len(todo), batch)
        if (some := todo[at : at + batch])
    }
    for future in as_completed(tasks):
        try:
            verdicts = future.result()
        except UkmodError:
            raise
        except Exception as error:  # each library has exceptions of its own
            text = f"a worker was lost: {type(error).__name__}: {error}"
            raise MachineError(text, subject=", ".join(tasks[future])) from error
        yield from verdicts
