"""How a survey's processes end with the one that started them, however that one ends.

A process that is killed can clean nothing up. Its children then try their modules to the end, for a minute or
more, with nobody to report to. So each of them asks the kernel to be killed as well.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from typing import Final

from ukmod.kmod import processes

_PR_SET_PDEATHSIG: Final = 1
"""include/uapi/linux/prctl.h"""


def end_with(parent: int) -> None:
    """Have this process killed when the thread that started it has ended; end it now if ``parent`` has.

    It does not hold for a fork of this process, which must ask for itself. Where there is no prctl(2), this
    does nothing but look whether the parent is there.
    """
    with suppress(AttributeError, OSError):
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, *map(ctypes.c_ulong, (signal.SIGKILL, 0, 0, 0)))
    if os.getppid() != parent:
        processes.end(1)
