"""The account of the host's memory: what the guest makes ukmod keep for it is taken from the machine's RAM.

A work item, a timer or a callback of the guest's is an object of Python's, too. There are at most as many of
each kind as the machine has pages of RAM. The record of an allocation costs RAM itself, as KASAN's does.
"""

from __future__ import annotations

from errno import ENOMEM
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.machine.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

RECORD: Final = 1024
"""The size in bytes of the record of an allocation: the object's own, and the stack of its caller."""


def admit(k: Core, count: int, what: str) -> None:
    """Raise LimitError (ENOMEM) if there are already ``count`` objects of a kind, and that is too many.

    The error kills the task that wants one more: see kernel/failures.py.
    """
    if count >= k.memory.size >> PAGE_SHIFT:
        raise LimitError(f"the machine has no memory for more than {count} {what}", errno=ENOMEM)
