"""The user, the groups and the capabilities of a process, which its own system calls set."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.user.syscall import SystemCalls

PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 28, 47, 2
"""include/uapi/linux/prctl.h"""
_NOROOT, _KEEP_CAPS = 1 << 0, 1 << 4
"""include/uapi/linux/securebits.h: root's execve() gives no capabilities, and setuid() takes none."""
LINUX_CAPABILITY_VERSION_3: Final = 0x2008_0522
_HEADER: Final = struct.Struct("<Ii")
_DATA: Final = struct.Struct("<6I")
_WORD: Final = 0xFFFF_FFFF


@record
class ProcessIdentity:
    """A user and a group by number, and capabilities by number; None for those that the user has anyway."""

    uid: int = 0
    gid: int = 0
    caps: Collection[int] | None = None

    def assume(self, call: SystemCalls) -> None:
        """Become this user, for good. A program that is executed keeps the capabilities. Raises OSError."""
        if self.caps is not None:
            call("prctl", PR_SET_SECUREBITS, _NOROOT | _KEEP_CAPS, 0, 0, 0)
        if self.gid:
            call("setgroups", 0, None)
            call("setresgid", self.gid, self.gid, self.gid)
        if self.uid:
            call("setresuid", self.uid, self.uid, self.uid)
        if self.caps is not None:
            sets = sum(1 << number for number in set(self.caps))
            low, high = sets & _WORD, sets >> 32
            header = _HEADER.pack(LINUX_CAPABILITY_VERSION_3, 0)
            call("capset", header, _DATA.pack(low, low, low, high, high, high))
            for number in set(self.caps):
                call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)
