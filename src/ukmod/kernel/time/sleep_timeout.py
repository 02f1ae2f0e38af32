"""Sleeping and busy-waiting for a given time: kernel/time/sleep_timeout.c, arch/x86/lib/delay.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.kernel.sched.core import TASK_IDLE, TASK_INTERRUPTIBLE, TASK_KILLABLE, TASK_UNINTERRUPTIBLE, block
from ukmod.kernel.time.time import NSEC_PER_USEC, jiffies_to_msecs, msecs_to_jiffies
from ukmod.machine.abi import Long, UInt, ULong

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def delay(k: Core, ns: int) -> None:
    """Busy-wait for ``ns`` nanoseconds. Interrupts are taken meanwhile if they are enabled."""
    clock, until = k.clock, k.clock.now + ns
    if not k.sched.in_interrupt and k.cpu.interrupts_enabled():
        while (when := clock.next_event()) is not None and when <= until:
            clock.advance_to(when)
            k.sched.fire_due()
    clock.advance_to(until)


@export("__const_udelay")
def const_udelay(k: Core, xloops: ULong) -> None:
    """void __const_udelay(unsigned long xloops): in units of 2**-32 seconds."""
    delay(k, xloops * 1_000_000_000 >> 32)


@export("__udelay")
def udelay(k: Core, usecs: ULong) -> None:
    """void __udelay(unsigned long usecs)."""
    delay(k, usecs * NSEC_PER_USEC)


@export("__ndelay")
def ndelay(k: Core, nsecs: ULong) -> None:
    """void __ndelay(unsigned long nsecs)."""
    delay(k, nsecs)


@export("__delay")
def delay_loops(k: Core, loops: ULong) -> None:
    """void __delay(unsigned long loops): cycles of the time stamp counter, which runs at 1 GHz here."""
    delay(k, loops)


@export()
def schedule_timeout(k: Core, timeout: Long) -> Long:
    """``signed long schedule_timeout(signed long timeout)``."""
    return k.sched.schedule_timeout(timeout, rest=int)


@export()
def schedule_timeout_interruptible(k: Core, timeout: Long) -> Long:
    """``signed long schedule_timeout_interruptible(signed long timeout)``."""
    k.tasks.set_state(k.sched.task(), TASK_INTERRUPTIBLE)
    return schedule_timeout(k, timeout)


@export()
def schedule_timeout_uninterruptible(k: Core, timeout: Long) -> Long:
    """``signed long schedule_timeout_uninterruptible(signed long timeout)``."""
    k.tasks.set_state(k.sched.task(), TASK_UNINTERRUPTIBLE)
    return schedule_timeout(k, timeout)


@export()
def schedule_timeout_killable(k: Core, timeout: Long) -> Long:
    """``signed long schedule_timeout_killable(signed long timeout)``."""
    k.tasks.set_state(k.sched.task(), TASK_KILLABLE)
    return schedule_timeout(k, timeout)


@export()
def schedule_timeout_idle(k: Core, timeout: Long) -> Long:
    """``signed long schedule_timeout_idle(signed long timeout)``."""
    k.tasks.set_state(k.sched.task(), TASK_IDLE)
    return schedule_timeout(k, timeout)


@export()
def msleep(k: Core, msecs: UInt) -> None:
    """void msleep(unsigned int msecs)."""
    timeout = msecs_to_jiffies(k.clock.hz, msecs) + 1
    while timeout:
        timeout = block(k, TASK_UNINTERRUPTIBLE, timeout)


@export()
def msleep_interruptible(k: Core, msecs: UInt) -> ULong:
    """``unsigned long msleep_interruptible(unsigned int msecs)``: the rest in ms if a signal came."""
    timeout, task = msecs_to_jiffies(k.clock.hz, msecs) + 1, k.sched.task()
    while timeout and not k.tasks.signal_pending(task):
        timeout = block(k, TASK_INTERRUPTIBLE, timeout)
    return jiffies_to_msecs(k, timeout)


@export("usleep_range_state")
def usleep_range_state(k: Core, least: ULong, most: ULong, state: UInt) -> None:
    """void usleep_range_state(unsigned long min, unsigned long max, unsigned int state)."""
    del most
    until, task = k.clock.now + least * NSEC_PER_USEC, k.sched.task()
    while True:
        k.tasks.set_state(task, state)
        if k.hrtimers.sleep_until(until):
            return


@export("usleep_range")
def usleep_range(k: Core, least: ULong, most: ULong) -> None:
    """void usleep_range(unsigned long min, unsigned long max): a function up to v5.18, inlined since."""
    usleep_range_state(k, least, most, TASK_UNINTERRUPTIBLE)
