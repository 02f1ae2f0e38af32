"""One way in which things may go."""

from __future__ import annotations

from ukmod.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    from ukmod.kmod.loaded import State

    T = TypeVar("T")

__all__ = ["MOST_WORLDS", "Budget", "UnpredictableError", "World", "WorldState", "distinct"]

MOST_WORLDS = 64
"""Ways that are followed at once. Each program with an unknown exit status doubles them."""


class UnpredictableError(Exception):
    """Nothing can be said: there are more ways than are followed, or a command calls itself without end."""


class Budget:
    """The number of commands that a prediction may still follow: a few lines can hold millions."""

    __slots__ = ("_left",)

    def __init__(self, commands: int = 20_000) -> None:
        self._left = commands

    def spend(self) -> None:
        """Take note of a command. Raises UnpredictableError for one too many."""
        self._left -= 1
        if self._left < 0:
            raise UnpredictableError("its commands are too many to follow")


@record
class World:
    """The modules that have been loaded and unloaded, and what this way depends on.

    ``doubts`` are sentences, each about something that is not known and was taken to go one way here. In a
    ``wild`` world a program has run that may have loaded anything; in an ``endless`` one a command never
    ends, so nothing that would follow it happens.
    """

    loaded: frozenset[str] = frozenset()
    unloaded: frozenset[str] = frozenset()
    doubts: tuple[str, ...] = ()
    wild: bool = False
    endless: bool = False

    def with_module(self, name: str) -> World:
        """Return this world with one module more."""
        return replace(self, loaded=self.loaded | {name}, unloaded=self.unloaded - {name})

    def without_module(self, name: str) -> World:
        """Return this world with one module less."""
        return replace(self, loaded=self.loaded - {name}, unloaded=self.unloaded | {name})

    def doubting(self, sentence: str, *, wild: bool = False) -> World:
        """Return this world with a doubt more; ``wild`` if anything may have been loaded."""
        doubts = self.doubts if sentence in self.doubts else (*self.doubts, sentence)
        return replace(self, doubts=doubts, wild=self.wild or wild)


class WorldState:
    """The modules of a world: a :class:`ukmod.kmod.loaded.State`. ``base`` is how things were before."""

    __slots__ = ("_base", "_world")

    def __init__(self, base: State, world: World) -> None:
        self._base = base
        self._world = world

    def initstate(self, name: str) -> str | None:
        """Return live for a module that is loaded."""
        if name in self._world.loaded:
            return "live"
        return None if name in self._world.unloaded else self._base.initstate(name)

    def refcnt(self, name: str) -> int | None:
        """Return a module's count as it was before."""
        return self._base.refcnt(name)

    def holders(self, name: str) -> list[str]:
        """Return a module's users as they were before."""
        return self._base.holders(name)


def distinct(ways: Iterable[T]) -> list[T]:
    """Return each way once. Raises UnpredictableError if there are too many."""
    found = list(dict.fromkeys(ways))
    if len(found) > MOST_WORLDS:
        raise UnpredictableError("it depends on the exit status of too many programs")
    return found
