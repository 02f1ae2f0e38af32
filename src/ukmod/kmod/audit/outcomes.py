"""The outcome of asking modprobe for each module of a tree, or for a word, once."""

from __future__ import annotations

from ukmod.kmod.predict.modprobe import Predictor
from ukmod.kmod.predict.world import UnpredictableError, World
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ukmod.kmod.config import Source
    from ukmod.kmod.context import Module
    from ukmod.kmod.plans import Step
    from ukmod.kmod.predict.modprobe import Circumstances, StepForecast, TargetForecast

__all__ = ["Asked", "Obstacle", "Outcomes", "RequestOutcome"]


@record
class Asked:
    """A request to modprobe: a module as such, or a word, with everything that it may stand for."""

    text: str
    is_word: bool = False


@record
class Obstacle:
    """Why a step of modprobe's does not load its module."""

    text: str
    source: Source | None = None


@record
class RequestOutcome:
    """The outcome of ``modprobe WORD``.

    ``targets`` are the modules that the word stands for. ``certain`` are the modules that it loads in any
    case, ``possible`` those that it may load, ``brought`` the other modules of its plan with their kinds of
    routes, and ``obstacles`` what is in the way of a module. ``wild`` says which command was run that may
    load anything, ``doubts`` what nobody can tell.
    """

    targets: tuple[str, ...]
    certain: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()
    brought: tuple[tuple[str, str], ...] = ()
    obstacles: tuple[tuple[str, Obstacle], ...] = ()
    doubts: tuple[str, ...] = ()
    wild: tuple[str, ...] = ()
    has_commands: bool = False

    def obstacle(self, module: str) -> Obstacle | None:
        """Return what keeps a module of the plan from being loaded."""
        return next((one for name, one in self.obstacles if name == module), None)

    @property
    def is_plain(self) -> bool:
        """Whether all of the plan is carried out, and no command is run: loaded modules change nothing."""
        return not (self.obstacles or self.doubts or self.has_commands)


class Outcomes:
    """Outcomes by what is asked for, each of them made once.

    With nothing loaded a module may be blocked, and be open later: its dependency has come in by another
    way. So there are a first outcome, and one with all that can be loaded in the kernel.
    """

    def __init__(self, given: Circumstances) -> None:
        self._given = given
        self._first: dict[Asked, RequestOutcome] = {}
        self._later: dict[tuple[Asked, str], RequestOutcome] = {}
        self._loadable: set[str] = set()
        self._certain: set[str] = set()
        self._brought: dict[Asked, dict[str, str]] = {}

    def look(self, every: Sequence[Asked]) -> None:
        """Find out what can be loaded, if all of these are asked for, again and again."""
        for asked in every:
            self._add(asked, self.first(asked))
        suspects = [asked for asked in every if not self.first(asked).is_plain]
        before: set[str] | None = None
        while before != self._loadable:
            before = set(self._loadable)
            for asked in suspects:
                world = World(loaded=frozenset(before.difference(self.first(asked).targets)))
                self._add(asked, self._of(asked, world))

    def first(self, asked: Asked) -> RequestOutcome:
        """Return the outcome with nothing loaded."""
        found = self._first.get(asked)
        if found is None:
            found = self._first[asked] = self._of(asked, World())
        return found

    def later(self, asked: Asked, name: str) -> RequestOutcome | None:
        """Return the outcome for a module with all others loaded; None if it is the first one."""
        first = self.first(asked)
        if first.is_plain:
            return None
        if (asked, name) not in self._later:
            world = World(loaded=frozenset(self._loadable.difference(first.targets, (name,))))
            self._later[asked, name] = self._of(asked, world)
        return self._later[asked, name]

    @property
    def is_sure(self) -> bool:
        """Whether all that can be loaded is loaded in some way for certain."""
        return self._loadable <= self._certain

    def brought(self, asked: Asked) -> Mapping[str, str]:
        """Return the modules that come along, at first or later, with their kinds of routes."""
        return self._brought.get(asked) or dict(self.first(asked).brought)

    def _add(self, asked: Asked, outcome: RequestOutcome) -> None:
        self._brought[asked] = dict(outcome.brought) | self._brought.get(asked, {})
        self._loadable |= outcome.possible
        self._certain |= outcome.certain

    def _of(self, asked: Asked, world: World) -> RequestOutcome:
        predictor = Predictor(self._given)
        try:
            if asked.is_word:
                forecasts = predictor.targets(asked.text, [world])
            else:
                forecasts = [predictor.target(self._module(asked.text), [world])]
        except UnpredictableError as error:
            return RequestOutcome((asked.text,), doubts=(str(error),), wild=(str(error),), has_commands=True)
        return _outcome(forecasts, world)

    def _module(self, name: str) -> Module:
        context = self._given.context
        context.forget()
        is_module = context.tree.dependency_line(name) is not None
        # Of a name that only a command has, that command counts, whatever patterns stand before it.
        named = None if is_module else context.named_by_command(name)
        return context.by_name(name) if named is None else named


def _outcome(forecasts: Sequence[TargetForecast], before: World) -> RequestOutcome:
    """Return the outcome of the forecasts for one word, each of which continues the one before."""
    worlds = [world for world, _ in forecasts[-1].ways] if forecasts else [before]
    loaded = [world.loaded - before.loaded for world in worlds]
    wild = [doubt for world in worlds if world.wild for doubt in world.doubts]
    doubts = [doubt for world in worlds for doubt in world.doubts]
    return RequestOutcome(
        tuple([one.target.module for one in forecasts]),
        frozenset.intersection(*loaded),
        frozenset().union(*loaded),
        tuple([pair for one in forecasts for pair in _brought(one)]),
        tuple([pair for one in forecasts for pair in _obstacles(one)]),
        tuple(dict.fromkeys(doubts)),
        tuple(dict.fromkeys(wild)),
        any(step.step.action == "install" for one in forecasts for step in one.steps),
    )


def _brought(forecast: TargetForecast) -> Iterator[tuple[str, str]]:
    planned = {forecast.target.module}
    for one in forecast.steps:
        if one.step.module not in planned:
            planned.add(one.step.module)
            yield one.step.module, one.step.reason.kind.partition(" ")[0]
    for one in forecast.steps:
        for module in one.loaded:
            if module not in planned:
                planned.add(module)
                yield module, "install"


def _obstacles(forecast: TargetForecast) -> Iterator[tuple[str, Obstacle]]:
    if forecast.target.blacklisted is not None:
        yield forecast.target.module, Obstacle("it is blacklisted", forecast.target.blacklisted)
    stopped: Obstacle | None = None
    for one in forecast.steps:
        found = stopped if not one.fates else _obstacle(one) if "unneeded" not in one.fates else None
        if found is not None and one.step.module not in one.loaded:
            yield one.step.module, found
        if stopped is None and "failed" in one.fates and one.step.required:
            stopped = _stop(one.step, found)


def _stop(step: Step, obstacle: Obstacle | None) -> Obstacle | None:
    if obstacle is None:
        return None
    return Obstacle(f"it needs {step.module}: {obstacle.text}", obstacle.source)


def _obstacle(one: StepForecast) -> Obstacle | None:
    step = one.step
    if step.command is not None:
        return Obstacle(f"a command runs in its stead: {step.command}", step.command_source)
    if one.fates == {"done"}:
        return None
    if step.path is None:
        return Obstacle("there is no such module in the tree")
    fatal = next((note for note in one.notes if note.fatal), None)
    return None if fatal is None else Obstacle(fatal.text, fatal.source)
