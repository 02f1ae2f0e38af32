"""modprobe, predicted: the ways in which it may end, by the plan that it would carry out in each world."""

from __future__ import annotations

from ukmod.errors import NotFoundError, UsageError
from ukmod.kmod.context import Context
from ukmod.kmod.names import is_path
from ukmod.kmod.plans import plan_target, resolve
from ukmod.kmod.predict.kernel import option_notes, policy_notes
from ukmod.kmod.predict.shell import run_command
from ukmod.kmod.predict.world import Budget, UnpredictableError, WorldState, distinct
from ukmod.kmod.tools.common import options_text
from ukmod.kmod.tools.log import ToolLog
from ukmod.kmod.tools.modprobe_options import ModprobeRequest, parse_request
from ukmod.kmod.tree import root_of
from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ukmod.kmod.config import Source
    from ukmod.kmod.context import Module
    from ukmod.kmod.host import Host
    from ukmod.kmod.kernelargs import KernelPolicy
    from ukmod.kmod.loaded import State
    from ukmod.kmod.objections import Inspector, Note
    from ukmod.kmod.plans import Step, Target
    from ukmod.kmod.predict.world import World

__all__ = ["Circumstances", "Predictor", "StepForecast", "TargetForecast"]

_DEEPEST = 16
"""Commands that call modprobe that runs commands, one in the other."""


@record
class Circumstances:
    """Everything that a prediction rests on, shared by all that are made.

    ``state`` is what the kernel holds before, ``programs`` returns the name of the file that a program's path
    leads to (empty: there is none; None: that is not known), ``config_paths`` are those of ``-C``.
    """

    context: Context
    inspector: Inspector
    policy: KernelPolicy
    state: State
    programs: Callable[[str], str | None] = lambda _path: None
    config_paths: tuple[str, ...] = ()


@record
class StepForecast:
    """The fate of a step over all worlds: done, failed, unneeded (it is loaded by then).

    None of them: modprobe ends before it. ``notes`` are the kernel's answer to a module.
    """

    step: Step
    fates: frozenset[str]
    notes: tuple[Note, ...] = ()
    loaded: tuple[str, ...] = ()
    """The modules that a command loads, in one world at least."""


@record
class TargetForecast:
    """The fate of one module that a word stands for: its steps, and the ways in which they may end."""

    target: Target
    steps: tuple[StepForecast, ...]
    ways: tuple[tuple[World, int], ...]


class Predictor:
    """Predicts modprobe, and the programs that its commands run."""

    def __init__(
        self, circumstances: Circumstances, *, calls: tuple[object, ...] = (), budget: Budget | None = None
    ) -> None:
        self._given = circumstances
        self._calls = calls
        self._budget = Budget() if budget is None else budget

    # A word, as modprobe takes it

    def targets(
        self,
        word: str,
        worlds: Sequence[World],
        *,
        options: str | None = None,
        ignore_commands: bool = False,
        use_blacklist: bool = False,
        force: bool = False,
    ) -> list[TargetForecast]:
        """Return what becomes of each module that a word stands for, one after the other.

        Raises OSError if the word is a path to no file, UnpredictableError if nothing can be said.
        """
        context = self._given.context
        if not is_path(word):
            context.tree.require_indexes()
        context.forget()
        forecasts: list[TargetForecast] = []
        now = list(worlds)
        stuck: list[tuple[World, int]] = []
        for module in resolve(context, word):
            forecast = self.target(
                module,
                now,
                options=options,
                ignore_commands=ignore_commands,
                use_blacklist=use_blacklist,
                force=force,
            )
            forecasts.append(replace(forecast, ways=tuple(distinct([*forecast.ways, *stuck]))))
            stuck = [way for way in forecasts[-1].ways if way[0].endless]
            now = distinct(world for world, _ in forecast.ways if not world.endless)
        return forecasts

    def target(
        self,
        module: Module,
        worlds: Sequence[World],
        *,
        options: str | None = None,
        ignore_commands: bool = False,
        use_blacklist: bool = False,
        force: bool = False,
    ) -> TargetForecast:
        """Return what becomes of one module of the context, in at least one world.

        The steps are those of the first world. Raises UnpredictableError if nothing can be said.
        """
        planned: list[tuple[Target, list[World]]] = []
        for world in worlds:
            target = self._plan(
                module, options, world, ignore_commands=ignore_commands, use_blacklist=use_blacklist
            )
            same = next((those for one, those in planned if one == target), None)
            if same is None:
                planned.append((target, [world]))
            else:
                same.append(world)
        forecasts = [self._carry_out(target, those, force=force) for target, those in planned]
        ways = distinct(way for one in forecasts for way in one.ways)
        return replace(forecasts[0], ways=tuple(ways))

    def _plan(
        self, module: Module, options: str | None, world: World, *, ignore_commands: bool, use_blacklist: bool
    ) -> Target:
        return plan_target(
            self._given.context,
            module,
            options,
            state=WorldState(self._given.state, world),
            ignore_loaded=False,
            ignore_commands=ignore_commands,
            use_blacklist=use_blacklist,
        )

    def _carry_out(self, target: Target, worlds: Sequence[World], *, force: bool) -> TargetForecast:
        active = list(worlds)
        ended: list[tuple[World, int]] = []
        forecasts = []
        for step in target.steps:
            fates: set[str] = set()
            notes = self._notes(step, active[0]) if active else ()
            new: set[str] = set()
            after: list[World] = []
            for world in active:
                for fate, then in self._step(step, world, force=force):
                    fates.add(fate)
                    new |= then.loaded - world.loaded
                    if then.endless or (fate == "failed" and step.required):
                        ended.append((then, 1))
                    else:
                        after.append(then)
            active = distinct(after)
            forecasts.append(StepForecast(step, frozenset(fates), notes, tuple(sorted(new))))
        return TargetForecast(target, tuple(forecasts), (*((world, 0) for world in active), *ended))

    # Steps

    def is_present(self, name: str, world: World) -> bool:
        """Tell whether a module is in the kernel."""
        state = WorldState(self._given.state, world)
        return state.initstate(name) == "live" or self._given.context.tree.is_builtin(name)

    def _notes(self, step: Step, world: World) -> tuple[Note, ...]:
        if step.path is None or step.action != "insmod":
            return ()
        facts = self._given.inspector.facts(step.module, step.path)
        notes = self._given.inspector.notes(facts, lambda name: self.is_present(name, world))
        return (*notes, *option_notes(facts, step.options), *policy_notes(facts, self._given.policy))

    def _step(self, step: Step, world: World, *, force: bool) -> list[tuple[str, World]]:
        state = WorldState(self._given.state, world)
        is_builtin = step.action == "builtin" or (
            step.path is None and self._given.context.tree.is_builtin(step.module)
        )
        if is_builtin or state.initstate(step.module) == "live":
            return [("unneeded", world)]
        if step.command is not None:
            command = step.command.replace("$CMDLINE_OPTS", step.options)
            return self._command(step, command, world)
        if step.path is None:
            return [("failed", world)]
        return self._insmod(step, world, force=force)

    def _insmod(self, step: Step, world: World, *, force: bool) -> list[tuple[str, World]]:
        assert step.path is not None
        fatal = [note for note in self._notes(step, world) if note.fatal]
        loaded = world.with_module(step.module)
        if fatal:
            forced = force and all(note.kind in {"vermagic", "symbol-version"} for note in fatal)
            if not forced:
                return [("failed", world)]
            sentence = f"whether the kernel lets {step.module} be forced is not known"
            return [("done", loaded.doubting(sentence)), ("failed", world.doubting(sentence))]
        facts = self._given.inspector.facts(step.module, step.path)
        doubt = facts.doubt
        if (asked := self._given.policy.enforced_if_built) and not facts.signed:
            what, where = asked[0]
            doubt = f"whether the kernel is built to refuse unsigned modules: {what} ({where})"
        if later := self._given.policy.disabled_later:
            what, where = later
            doubt = f"the kernel loads no module any more once {what} is applied ({where})"
        if doubt:
            return [("done", loaded.doubting(doubt)), ("failed", world.doubting(doubt))]
        return [("done", loaded)]

    def _command(self, step: Step, command: str, world: World) -> list[tuple[str, World]]:
        try:
            ways = self.run(command, step.module, world, step.command_source)
        except UnpredictableError as error:
            if self._calls:
                raise
            # What was loaded before this command is known; what it does is not, nor whether it ends.
            ways = [(replace(world.doubting(str(error)), endless=True), 1), *_anything(world, str(error))]
        return [("failed" if status else "done", then) for then, status in ways]

    def run(
        self, command: str, module: str, world: World, source: Source | None = None
    ) -> list[tuple[World, int]]:
        """Return the ways in which a module's install command ends, which stands at ``source``.

        Raises UnpredictableError if nothing can be said.
        """
        call = (command, module, world.loaded, world.unloaded)
        if call in self._calls or len(self._calls) >= _DEEPEST:
            where = "" if source is None else f" ({source})"
            raise UnpredictableError(f"the command for {module} calls itself without end: {command}{where}")
        inner = Predictor(self._given, calls=(*self._calls, call), budget=self._budget)
        variables = (("MODPROBE_MODULE", module), ("MODPROBE_OPTIONS", ""))
        return run_command(command, world, inner, variables)

    # The programs that commands run: ukmod.kmod.predict.shell.Machine

    def spend(self) -> None:
        """Take note of a command that is followed. Raises UnpredictableError for one too many."""
        self._budget.spend()

    def program(self, path: str) -> str | None:
        """Return the name of the file that a program's path leads to: empty for none, None if not known."""
        return self._given.programs(path)

    def modprobe(self, arguments: Sequence[str], world: World) -> list[tuple[World, int]]:
        """Return the ways in which a modprobe with these arguments ends."""
        request = _request(["modprobe", *arguments])
        if not isinstance(request, ModprobeRequest):
            return [(world, request)]
        told = f"it runs modprobe {' '.join(arguments)}"
        tree = self._given.context.tree
        if request.root not in {None, "", "/"} or request.release not in {None, tree.release}:
            return _anything(world, told)
        if not request.words:
            return [(world, 0 if "c" in request else 1)]
        if request.flags & {"R", "c", "D", "n", "show-modversions", "show-exports"}:
            sentence = f"its exit status is not known: modprobe {' '.join(arguments)}"
            return [(world.doubting(sentence), status) for status in (0, 1)]
        root = root_of(tree.dirname)
        paths = [f"{(root or '').rstrip('/')}{path}" for path in request.config_paths if path.startswith("/")]
        if request.config_paths and (root is None or len(paths) < len(request.config_paths)):
            return _anything(world, told)  # where it is read from depends on the directory of the process
        given = self._with_config(paths)
        inner = Predictor(given, calls=self._calls, budget=self._budget)
        if "r" in request:
            return inner._remove_words(request, world, told)
        words = request.words if "a" in request else request.words[:1]
        options = None if "a" in request else options_text(request.words[1:])
        ways = [(world, 0)]
        for word in words:
            ways = distinct(
                (then, status or before)
                for here, before in ways
                for then, status in inner._insert(word, options, request, here)
            )
        return ways

    def _with_config(self, paths: Sequence[str]) -> Circumstances:
        """Return the same with a context of its own: the outer one is at work."""
        old = self._given
        config = old.context.config
        every = (*old.config_paths, *paths)
        if paths:
            config = Context.open(old.context.tree, config_paths=every).config
        return replace(old, context=Context(old.context.tree, config), config_paths=every)

    def _insert(
        self, word: str, options: str | None, request: ModprobeRequest, world: World
    ) -> list[tuple[World, int]]:
        try:
            forecasts = self.targets(
                word,
                [world],
                options=options,
                ignore_commands="i" in request,
                use_blacklist="b" in request,
                force=bool(request.force),
            )
        except (OSError, NotFoundError):
            return [(world, 1)]
        if not forecasts:
            return [(world, 1)]
        if "first-time" in request:
            last = forecasts[-1]
            return distinct((then, 1 if last.target.loaded else status) for then, status in last.ways)
        return list(forecasts[-1].ways)  # the last module's end is the word's

    def insmod(self, arguments: Sequence[str], world: World) -> list[tuple[World, int]]:
        """Return the ways in which an insmod ends."""
        files = [word for word in arguments if not word.startswith("-")]
        told = f"it runs insmod {' '.join(arguments)}"
        root = root_of(self._given.context.tree.dirname)
        if not files or not files[0].startswith("/") or root is None:
            return _anything(world, told)
        try:
            module = self._given.context.by_path(root.rstrip("/") + files[0])
        except OSError:
            return [(world, 1)]
        target = self._plan(module, options_text(files[1:]), world, ignore_commands=True, use_blacklist=False)
        own = [step for step in target.steps if step.module == module.name]
        if target.loaded or not own:
            return [(world, 1)]
        ways = self._insmod(own[-1], world, force=len(files) < len(arguments))
        return [(then, int(fate == "failed")) for fate, then in ways]

    def rmmod(self, arguments: Sequence[str], world: World) -> list[tuple[World, int]]:
        """Return the ways in which an rmmod ends."""
        names = [word.replace("-", "_") for word in arguments if not word.startswith("-")]
        return self._delete(names, world, f"it runs rmmod {' '.join(arguments)}")

    def _remove_words(self, request: ModprobeRequest, world: World, told: str) -> list[tuple[World, int]]:
        names = []
        for word in request.words if "a" in request else request.words[:1]:
            found = self._given.context.lookup(word)
            if not found:
                return [(world, 1)]
            for module in found:
                if self._given.context.remove_command(module) is not None and "i" not in request:
                    return _anything(world, told)
            names += [module.name for module in found]
        loaded = [name for name in names if name in world.loaded]
        if not loaded and all(self._given.state.initstate(name) is None for name in names):
            return [(world, 0)]
        return self._delete(names, world, told)

    def _delete(self, names: Sequence[str], world: World, told: str) -> list[tuple[World, int]]:
        """Unload modules; whether others use them is known only in a kernel."""
        sentence = f"whether modules can be unloaded is not known: {told}"
        there = [name for name in names if self.is_present(name, world)]
        if not there:
            return [(world, 1)]
        gone = world
        for name in there:
            gone = gone.without_module(name)
        return [(gone.doubting(sentence), 0), (world.doubting(sentence), 1)]


def _anything(world: World, sentence: str) -> list[tuple[World, int]]:
    return [(world.doubting(sentence, wild=True), status) for status in (0, 1)]


class _Unheard:
    """As much of a host as modprobe's command line wants: nobody hears its messages."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self.stdout = self.stderr = self

    def write(self, text: str) -> None:
        """Drop it."""

    def flush(self) -> None:
        """Nothing is held back."""

    def has_stderr(self) -> bool:
        """There is one to be written to."""
        return True


def _request(argv: list[str]) -> ModprobeRequest | int:
    host: Any = _Unheard()
    heard: Host = host
    try:
        return parse_request(argv, heard, ToolLog(heard, "modprobe"), "modprobe")
    except UsageError:
        return 1
