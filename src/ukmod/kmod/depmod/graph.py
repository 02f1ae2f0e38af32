"""The graph of dependencies: its topological order, or the cycles that stand against one.

Modules are numbers, and ``dependencies[n]`` the modules that module n needs itself.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Dependencies = Sequence[Sequence[int]]

__all__ = ["closures", "closures_of", "find_cycles", "topological_order", "users_of"]


def topological_order(dependencies: Dependencies) -> tuple[list[int], list[int]]:
    """Return modules, users before what they use, and for each how many users were left at the end.

    In a graph with cycles, modules that are in one or needed by one are missing from the first list, and have
    a count above 0 in the second.
    """
    users = [0] * len(dependencies)
    for needed in dependencies:
        for module in needed:
            users[module] += 1
    ready = [module for module, count in enumerate(users) if count == 0]
    order = []
    while ready:
        module = ready.pop()
        order.append(module)
        for needed_one in dependencies[module]:
            users[needed_one] -= 1
            if users[needed_one] == 0:
                ready.append(needed_one)
    return order, users


def closures(dependencies: Dependencies, order: Sequence[int]) -> list[list[int]]:
    """Return all modules that each module needs, directly or not, in the topological ``order``.

    A set takes eight times the memory of a list: each is dropped once its last user has been visited.
    """
    place = [0] * len(dependencies)
    for position, module in enumerate(order):
        place[module] = position
    # What a module needs comes after it in the order, and is complete when it is reached from the end.
    reachable: list[frozenset[int]] = [frozenset()] * len(dependencies)
    users = Counter(chain.from_iterable(dependencies))
    result: list[list[int]] = [[]] * len(dependencies)
    for module in reversed(order):
        needed = dependencies[module]
        if needed:
            places = frozenset([place[one] for one in needed]).union(*[reachable[one] for one in needed])
            if users[module]:
                reachable[module] = places
            result[module] = [order[position] for position in sorted(places)]
            for one in needed:
                users[one] -= 1
                if not users[one]:
                    reachable[one] = frozenset()
    return result


def users_of(some: Iterable[int], dependencies: Dependencies, order: Sequence[int]) -> set[int]:
    """Return all modules that need one of some, directly or not."""
    found = set(some)
    for module in reversed(order):  # what a module needs comes before it
        if not found.isdisjoint(dependencies[module]):
            found.add(module)
    return found


def closures_of(some: Iterable[int], dependencies: Dependencies, order: Sequence[int]) -> list[list[int]]:
    """Return what :func:`closures` does for some modules, and nothing for those that none of them needs."""
    reached = set(some)
    for module in order:
        if module in reached:
            reached.update(dependencies[module])
    return closures(dependencies, [module for module in order if module in reached])


def find_cycles(dependencies: Dependencies, users: Sequence[int]) -> list[list[int]]:
    """Return the cycles, each as a path that begins and ends with the same module.

    ``users`` is :func:`topological_order`'s. The search is kmod's, so that the same cycles are found in the
    same order: from each module left over, depth first, what is needed last being followed first. A module
    that was found in a cycle, or that needs nothing, is no longer a start. A start that an earlier search
    came by without finding it in a cycle is a path of one module: kmod reports it so.

    A cycle that the start itself is not in is left to its own modules; kmod walks around it forever.
    """
    starts = [module for module, count in enumerate(users) if count > 0]
    visited: set[int] = set()
    cycles: list[list[int]] = []
    steps = 0
    while starts:
        start = starts.pop(0)
        stack: list[_Path] = [(start, None)]
        reached: set[int] = set()
        while stack:
            path = stack.pop()
            module = path[0]
            if module in visited and module == start:
                cycle = _modules(path)
                cycles.append(cycle)
                for one in cycle:
                    _remove(starts, one)
                continue
            # All paths are followed, as in kmod, until there are too many: then each module only once.
            steps += 1
            if module in (reached if steps > _MANY_STEPS else _modules(path[1])):
                continue
            reached.add(module)
            visited.add(module)
            if not dependencies[module]:
                _remove(starts, module)
                continue
            stack += [(needed, path) for needed in dependencies[module]]
    return cycles


def _remove(ring: list[int], module: int) -> None:
    """Take a module out; the list then begins with what came after it, as kmod's lists, being rings, do."""
    if module in ring:
        at = ring.index(module)
        ring[:] = ring[at + 1 :] + ring[:at]


_MANY_STEPS = 100_000

if TYPE_CHECKING:
    _Path = tuple[int, "_Path | None"]
    """A module, and the path by which it was reached."""


def _modules(path: _Path | None) -> list[int]:
    """Return a path's modules from its start on."""
    modules = []
    while path is not None:
        modules.append(path[0])
        path = path[1]
    return modules[::-1]
