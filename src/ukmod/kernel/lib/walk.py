"""Walks of the guest's data structures, which the guest may have linked so that they have no end.

The kernel would walk for ever. Here each such walk is counted, and one that is too long raises EndlessError,
which becomes the kernel's report of corrupted data: see kernel/failures.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ukmod.errors import MachineError
from ukmod.kernel.bug import Site

MAX_STEPS: Final = 1 << 20
"""A longer walk is considered endless: so many entries are in no kernel's lists."""


class EndlessError(MachineError):
    """A data structure of the guest has no end. ``site`` is the kernel's function that walks it."""

    def __init__(self, site: Site, what: str, start: int) -> None:
        super().__init__(f"{what} corruption. {start:016x} leads to no end.")
        self.site = site


def steps(site: Site, what: str, start: int, limit: int = MAX_STEPS) -> Iterator[int]:
    """Count the steps of a walk that begins at ``start``, for a loop that ends by itself.

    ``what`` is the kind of structure, as in "list". Raises EndlessError after ``limit`` steps.
    """
    yield from range(limit)
    raise EndlessError(site, what, start)


def links(first: int, following: Callable[[int], int], site: Site, what: str) -> Iterator[int]:
    """The nodes of a list that ends with a null pointer; ``following`` reads the next one's address.

    It is read before a node is yielded, so that the caller may free the node.
    """
    count = steps(site, what, first)
    while first:
        next(count)
        after = following(first)
        yield first
        first = after
