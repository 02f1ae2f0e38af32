"""The outcome of asking modprobe for each module of a tree, once."""

from __future__ import annotations

from ukmod.kmod.predict.modprobe import Predictor
from ukmod.kmod.predict.world import UnpredictableError, World
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ukmod.kmod.config import Source
    from ukmod.kmod.context import Module
    from ukmod.kmod.plans import Step
    from ukmod.kmod.predict.modprobe import Circumstances, StepForecast, TargetForecast

__all__ = ["Obstacle", "Outcomes", "RequestOutcome"]

_ROUNDS = 16
"""The times that outcomes are looked at anew because more modules turned out to be loaded."""


@record
class Obstacle:
    """Why a step of modprobe's does not load its module."""

    text: str
    source: Source | None = None


@record
class RequestOutcome:
    """The outcome of ``modprobe MODULE``.

    ``certain`` are the modules that it loads in any case, ``possible`` those that it may load, ``brought``
    the modules of its plan with their kinds of routes, and ``obstacles`` what is in the way of a module.
    ``wild`` says which command was run that may load anything, ``doubts`` what nobody can tell.
    """

    module: str
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
    """Outcomes by module, each of them made once.

    With nothing loaded a module may be blocked, and be open later: its dependency has come in by another
    way. ``later`` holds outcomes with all that can be loaded in the kernel.
    """

    def __init__(self, given: Circumstances) -> None:
        self._given = given
        self.first: dict[str, RequestOutcome] = {}
        self.later: dict[str, RequestOutcome] = {}

    def look(self, names: Iterable[str]) -> None:
        """Find the outcome for each name: a module's, or one that only an install line knows."""
        for name in names:
            self.first[name] = self._of(name, World())
        loadable = self._loadable()
        suspects = [name for name, one in self.first.items() if not one.is_plain]
        for _round in range(_ROUNDS):
            for name in suspects:
                self.later[name] = self._of(name, World(loaded=loadable - {name}))
            more = self._loadable()
            if more == loadable:
                return
            loadable = more

    def of(self, module: Module) -> RequestOutcome:
        """Return the outcome for a module that was asked for by an alias with options of its own."""
        return self._of(module.name, World(), module)

    @property
    def is_sure(self) -> bool:
        """Whether all that can be loaded is loaded in some way for certain."""
        every = [*self.first.values(), *self.later.values()]
        return self._loadable() <= frozenset().union(*(one.certain for one in every))

    def _loadable(self) -> frozenset[str]:
        every = [*self.first.values(), *self.later.values()]
        return frozenset().union(*(one.possible for one in every))

    def _of(self, name: str, world: World, module: Module | None = None) -> RequestOutcome:
        context = self._given.context
        if module is None:
            context.forget()
            is_module = context.tree.dependency_line(name) is not None
            # Of a name that only a command has, that command counts, whatever patterns stand before it.
            named = None if is_module else context.named_by_command(name)
            module = context.by_name(name) if named is None else named
        try:
            forecast = Predictor(self._given).target(module, [world])
        except UnpredictableError as error:
            return RequestOutcome(name, doubts=(str(error),), wild=(str(error),), has_commands=True)
        return _outcome(name, forecast, world)


def _outcome(name: str, forecast: TargetForecast, before: World) -> RequestOutcome:
    worlds = [world for world, _ in forecast.ways]
    loaded = [world.loaded - before.loaded for world in worlds]
    wild = [doubt for world in worlds if world.wild for doubt in world.doubts]
    doubts = [doubt for world in worlds for doubt in world.doubts]
    return RequestOutcome(
        name,
        frozenset.intersection(*loaded),
        frozenset().union(*loaded),
        tuple(_brought(forecast, name)),
        tuple(_obstacles(forecast)),
        tuple(dict.fromkeys(doubts)),
        tuple(dict.fromkeys(wild)),
        any(one.step.action == "install" for one in forecast.steps),
    )


def _brought(forecast: TargetForecast, name: str) -> Iterator[tuple[str, str]]:
    planned = {name}
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
