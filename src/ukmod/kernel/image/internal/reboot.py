"""The last functions of a machine that is restarted, halted or powered off: arch/x86/kernel/reboot.c.

The image's own code has run its notifiers, shut its devices down and said so in the log by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.errors import Reboot
from ukmod.kernel.export import export

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@export()
def native_machine_emergency_restart(k: Core) -> None:
    """void native_machine_emergency_restart(void)."""
    k.crash.stop(Reboot("the machine was restarted"))


@export()
def native_machine_halt(k: Core) -> None:
    """void native_machine_halt(void)."""
    k.crash.stop(Reboot("the machine was halted"))


@export()
def native_machine_power_off(k: Core) -> None:
    """void native_machine_power_off(void)."""
    k.crash.stop(Reboot("the machine was powered off"))
