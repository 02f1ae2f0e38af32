"""Why a module would, or would not, be loaded: modprobe's plan with the reasons it keeps to itself.

"blacklist" is the word most often misread: it stops a module that was asked for by an alias, and nothing
else. An install line does not run for a module with soft dependencies. Only the first softdep line that
matches counts. All this goes without a word in modprobe; here each is a :class:`Note` that names the line.

An :class:`Explainer` answers for any number of words: what is read for one is there for the next.
"""

from __future__ import annotations

import difflib

from ukmod.kmod.kernelargs import KernelPolicy
from ukmod.kmod.loaded import NothingLoaded
from ukmod.kmod.names import is_path, normalize_modname
from ukmod.kmod.objections import Inspector, KernelFacts, Note
from ukmod.kmod.predict.kernel import builtin_notes
from ukmod.kmod.predict.modprobe import Circumstances, Predictor
from ukmod.kmod.predict.world import UnpredictableError, World
from ukmod.kmod.wildcard import fnmatch
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ukmod.kmod.config import Command, Softdep
    from ukmod.kmod.context import Context
    from ukmod.kmod.kernelargs import BootArguments
    from ukmod.kmod.lint.finding import Finding
    from ukmod.kmod.loaded import State
    from ukmod.kmod.plans import Step, Target
    from ukmod.kmod.predict.modprobe import StepForecast, TargetForecast

__all__ = [
    "Explainer",
    "Explanation",
    "KernelFacts",
    "Note",
    "StepNotes",
    "TargetNotes",
    "agreed",
    "explain",
]

_NO_BLACKLIST = {
    "requested": "it was asked for by its name, and only -b makes a blacklist apply to names",
    "dependency": "it is a dependency",
    "softdep pre": "it is a soft dependency",
    "softdep post": "it is a soft dependency",
}


@record
class StepNotes:
    """One step of the plan and what there is to say about it."""

    step: Step
    notes: tuple[Note, ...]


@record
class TargetNotes:
    """One module that the word stands for.

    ``outcome`` is loads, runs (a command in its stead), fails, blacklisted, builtin, live (there already),
    disabled (built in, but never initialised) or unknown: nobody can tell.
    """

    target: Target
    outcome: str
    notes: tuple[Note, ...] = ()
    steps: tuple[StepNotes, ...] = ()


@record
class Explanation:
    """The whole account for one word; without targets nothing answers to it, and ``notes`` say so.

    ``verdict`` is loaded, not loaded, unknown (it depends on what nobody can tell beforehand) or not found.
    Loaded: in the end all modules that the word stands for are in the kernel.
    """

    word: str
    targets: tuple[TargetNotes, ...]
    notes: tuple[Note, ...] = ()
    verdict: str = "not found"

    @property
    def is_loaded(self) -> bool:
        """Whether it is certain that the modules are in the kernel in the end."""
        return self.verdict == "loaded"


def explain(
    context: Context,
    word: str,
    kernel: KernelFacts,
    *,
    state: State | None = None,
    use_blacklist: bool = False,
) -> Explanation:
    """Return the account of what ``modprobe WORD`` would do, and why; ``use_blacklist`` is its ``-b``.

    For several words, or with a kernel command line, make an :class:`Explainer`. Raises what :func:`plan`
    raises.
    """
    return Explainer(context, Inspector(context.tree, kernel), state=state).explain(
        word, use_blacklist=use_blacklist
    )


def agreed(ways: Sequence[tuple[BootArguments, Explanation]]) -> Explanation:
    """Return what holds however the system is booted: the first account, if all have the same verdict."""
    first = ways[0][1]
    if len({one.verdict for _, one in ways}) == 1:
        return first
    notes = [Note("boot", f"{one.verdict}, {boot.condition}", source=boot.source) for boot, one in ways]
    return replace(first, notes=(*first.notes, *notes), verdict="unknown")


class Explainer:
    """Accounts for many words, on facts that are read once.

    ``policy`` is what the kernel's command line says, ``programs`` returns the name of the file that a
    program's path leads to, ``initcalls`` are the init functions of built-in modules with their modules, if
    they are known, ``config_paths`` those of ``modprobe -C``, and ``findings`` what is wrong with the
    configuration.
    """

    def __init__(
        self,
        context: Context,
        inspector: Inspector,
        *,
        policy: KernelPolicy | None = None,
        state: State | None = None,
        programs: Callable[[str], str | None] | None = None,
        initcalls: Mapping[str, str] | None = None,
        config_paths: Sequence[str] = (),
        findings: Sequence[Finding] = (),
    ) -> None:
        self._context = context
        self._findings = findings
        self._policy = KernelPolicy() if policy is None else policy
        self._initcalls = None if initcalls is None else dict(initcalls)
        self._state = NothingLoaded() if state is None else state
        given = Circumstances(context, inspector, self._policy, self._state, config_paths=tuple(config_paths))
        self._given = given if programs is None else replace(given, programs=programs)

    @property
    def circumstances(self) -> Circumstances:
        """Everything that an answer rests on."""
        return self._given

    @property
    def initcalls(self) -> Mapping[str, str] | None:
        """The init functions of built-in modules with their modules, if they are known."""
        return self._initcalls

    def explain(self, word: str, *, use_blacklist: bool = False) -> Explanation:
        """Return the account of what ``modprobe WORD`` would do; ``use_blacklist`` is its ``-b``.

        Raises OSError if the word is a path to no file, NotFoundError if it is a name and the tree has no
        indexes.
        """
        predictor = Predictor(self._given)
        try:
            forecasts = predictor.targets(word, [World()], use_blacklist=use_blacklist)
        except UnpredictableError as error:
            return Explanation(word, (), (Note("unknown", f"cannot tell: {error}"),), "unknown")
        if not forecasts:
            notes = (*self._not_found(word), *self._amiss({normalize_modname(word)}))
            return Explanation(word, (), notes)
        worlds = [world for world, _ in forecasts[-1].ways]
        targets = tuple([self._target(one, worlds, predictor) for one in forecasts])
        diverted = self._diverted(word, targets, worlds, predictor)
        names = {normalize_modname(word), *(one.target.module for one in targets)}
        notes = (*diverted, *self._amiss(names))
        return Explanation(word, targets, notes, _verdict(targets, diverted))

    def _amiss(self, names: set[str]) -> Iterator[Note]:
        """Yield the findings about modules: lines that are meant for them, and do not do what they say."""
        for one in self._findings:
            if names & set(one.about):
                yield Note(f"lint-{one.kind}", f"{one.text}; fix: {one.fix}", source=one.source)

    def _not_found(self, word: str) -> Iterator[Note]:
        text = f"no module, alias, built-in module or install line answers to {word}"
        yield Note("not-found", text, fatal=True)
        near = difflib.get_close_matches(word.replace("-", "_"), list(self._context.tree.module_names()))
        if near:
            yield Note("similar", f"similar names: {', '.join(near)}")

    def _diverted(
        self, word: str, targets: Sequence[TargetNotes], worlds: Sequence[World], predictor: Predictor
    ) -> tuple[Note, ...]:
        """Say so if a module has the name that was asked for, and others are loaded in its place."""
        name = normalize_modname(word)
        tree = self._context.tree
        if is_path(word) or name in {one.target.module for one in targets}:
            return ()
        if ":" in word or tree.dependency_line(name) is None:
            return ()
        if all(predictor.is_present(name, world) for world in worlds):
            return ()
        others = ", ".join([one.target.module for one in targets])
        text = f"the module {name} itself is not loaded: here its name is an alias of {others}"
        return (Note("diverted", text, fatal=True, source=targets[0].target.reason.source),)

    # One module

    def _target(self, forecast: TargetForecast, worlds: Sequence[World], predictor: Predictor) -> TargetNotes:
        target = forecast.target
        if target.loaded is not None:
            return self._there(target, target.loaded)
        if target.blacklisted is not None:
            asked = f"by the alias {target.reason.of}" if target.reason.kind == "alias" else "with -b"
            text = f"blacklisted, and asked for {asked}: modprobe loads nothing, and exits with 0"
            note = Note("blacklist", text, fatal=True, source=target.blacklisted)
            return TargetNotes(target, "blacklisted", (note,))
        steps = tuple([self._step(one, target) for one in forecast.steps])
        outcome = self._of_alias(forecast, worlds) or _outcome(forecast, worlds, predictor)
        notes = tuple(_doubts(worlds)) if outcome == "unknown" else ()
        return TargetNotes(target, outcome, notes, steps)

    def _of_alias(self, forecast: TargetForecast, worlds: Sequence[World]) -> str:
        """Return what becomes of an alias that an install line names: it stands for its modules still.

        Empty for any other name, and for a line that loads none of them.
        """
        name, tree = forecast.target.module, self._context.tree
        if tree.dependency_line(name) is not None or tree.is_builtin(name):
            return ""
        modules = set(tree.aliases(name))
        there = {bool(modules) and modules <= world.loaded for world in worlds}
        if there == {False}:
            return ""
        return "loads" if there == {True} and not any(world.wild for world in worlds) else "unknown"

    def _there(self, target: Target, how: str) -> TargetNotes:
        text = "it is built into the kernel" if how == "builtin" else "it is loaded already"
        notes = [Note(how, text)]
        outcome = how
        if how == "builtin":
            notes += self._without_effect(target.module)
            told = list(builtin_notes(target.module, self._policy, self._initcalls))
            notes += told
            if told:
                outcome = "disabled" if any(note.fatal for note in told) else "unknown"
        return TargetNotes(target, outcome, tuple(notes))

    def _without_effect(self, name: str) -> Iterator[Note]:
        """Yield the lines that are meant to keep out a module which is in the kernel image."""
        text = "this line has no effect on a built-in module"
        for line in self._context.config.blacklists:
            if line.module == name:
                yield Note("blacklist-ignored", text, source=line.source)
        for command in self._context.config.install:
            if fnmatch(command.pattern, name):
                yield Note("install-ignored", text, source=command.source)

    def _step(self, forecast: StepForecast, target: Target) -> StepNotes:
        step = forecast.step
        notes = [*self._blacklist(step), *self._install(step, forecast), *self._softdeps(step)]
        if step.action == "missing":
            text = "there is no such module in the tree"
            notes.append(Note("missing", text, fatal=True))
        if not forecast.fates:
            notes.append(Note("not-reached", f"modprobe has given up on {target.module} by then"))
        elif forecast.fates == {"unneeded"}:
            notes.append(Note("unneeded", "it is in the kernel by then"))
        elif step.action == "insmod":
            notes += forecast.notes
        return StepNotes(step, tuple(notes))

    def _blacklist(self, step: Step) -> Iterator[Note]:
        """Say why a blacklist line does not stop a module that is part of the plan."""
        for line in self._context.config.blacklists:
            if line.module == step.module and step.reason.kind in _NO_BLACKLIST:
                text = f"blacklisted to no effect: {_NO_BLACKLIST[step.reason.kind]}"
                yield Note("blacklist-ignored", text, source=line.source)

    def _install(self, step: Step, forecast: StepForecast) -> Iterator[Note]:
        lines = [line for line in self._context.config.install if fnmatch(line.pattern, step.module)]
        if not lines:
            return
        if step.command is not None:
            text = f"a command runs in its stead: {step.command}{_effect(forecast)}"
            fatal = forecast.fates == {"failed"} and step.required
            yield Note("install", text, fatal=fatal, source=step.command_source)
        else:
            softdeps = self._context.softdeps(self._context.by_name(step.module))
            text = (
                f"its install line ({lines[0].source}) is not run: a module with soft dependencies has none"
            )
            yield Note("install-ignored", text, source=softdeps.source)
        if lines[1:]:
            text = f"the first install line counts alone, not {_places(lines[1:])}"
            yield Note("install-shadowed", text, source=lines[0].source)

    def _softdeps(self, step: Step) -> Iterator[Note]:
        lines = [line for line in self._context.config.softdeps if fnmatch(line.pattern, step.module)]
        if not lines:
            return
        first, *others = lines
        for name in (*first.pre, *first.post):
            if not self._context.lookup(name):
                yield Note("softdep-unknown", f"its soft dependency {name} is unknown", source=first.source)
        if others:
            text = f"the first softdep line counts alone, not {_places(others)}"
            yield Note("softdep-shadowed", text, source=first.source)


def _effect(forecast: StepForecast) -> str:
    """Return what a command comes to, to be put behind it."""
    loads = f"; it loads {', '.join(forecast.loaded)}" if forecast.loaded else ""
    if forecast.fates == {"failed"}:
        end = ", and modprobe gives up" if forecast.step.required else ""
        return f"{loads}; it fails{end}"
    return f"{loads}; it may fail" if "failed" in forecast.fates else loads


def _outcome(forecast: TargetForecast, worlds: Sequence[World], predictor: Predictor) -> str:
    """Return what becomes of a module over all worlds."""
    module = forecast.target.module
    there = {predictor.is_present(module, world) for world in worlds}
    if there == {True}:
        return "loads"
    if True in there or any(world.wild for world in worlds):
        return "unknown"
    own = [one for one in forecast.steps if one.step.module == module]
    runs = any(one.step.action == "install" and one.fates for one in own)
    return "runs" if runs else "fails"


def _doubts(worlds: Sequence[World]) -> Iterator[Note]:
    for sentence in dict.fromkeys(sentence for world in worlds for sentence in world.doubts):
        yield Note("unknown", f"cannot tell: {sentence}")


def _verdict(targets: Sequence[TargetNotes], diverted: Sequence[Note]) -> str:
    outcomes = {target.outcome for target in targets}
    if diverted or outcomes & {"runs", "fails", "blacklisted", "disabled"}:
        return "not loaded"
    return "unknown" if "unknown" in outcomes else "loaded"


def _places(lines: Sequence[Command | Softdep]) -> str:
    return ", ".join([str(line.source) for line in lines])
