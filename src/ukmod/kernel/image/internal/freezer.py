"""Functions of an image that freeze tasks: the helpers and workqueues that they stop are Python's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.machine.abi import Bool, Int, UInt

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@export("__usermodehelper_disable")
def usermodehelper_disable(k: Core, depth: UInt) -> Int:
    """int __usermodehelper_disable(enum umh_disable_depth depth)."""
    return k.helpers.disable(depth)


@export("__usermodehelper_set_disable_depth")
def usermodehelper_set_disable_depth(k: Core, depth: UInt) -> None:
    """void __usermodehelper_set_disable_depth(enum umh_disable_depth depth)."""
    k.helpers.set_disable_depth(depth)


@export()
def freeze_workqueues_begin(k: Core) -> None:
    """void freeze_workqueues_begin(void)."""
    k.workqueues.freeze_begin()


@export()
def freeze_workqueues_busy(k: Core) -> Bool:
    """bool freeze_workqueues_busy(void)."""
    return k.workqueues.freeze_busy()


@export()
def thaw_workqueues(k: Core) -> None:
    """void thaw_workqueues(void)."""
    k.workqueues.thaw()
