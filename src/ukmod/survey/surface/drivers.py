"""System calls to drivers that ask for a module by the name or number of what it implements."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ukmod.kernel.uapi import S_IFCHR

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

__all__ = ["MAGIC", "PROGRAM", "SOUND_DEVICES", "compressors", "device_mapper", "program", "sound"]

_NAME: Final = b"ukmod"
PROGRAM: Final = "/ukmod-program"
"""A file that may be executed, and that no kernel has a binary format for."""
MAGIC: Final = b"\x7f\xfe\xfd\xfc"
"""Its first bytes: text would be taken for a script without an interpreter's name."""

SNDRV_SEQ_IOCTL_GET_CLIENT_INFO, SNDRV_TIMER_IOCTL_SELECT = 0xC0BC5310, 0x40345410
_SEQUENCER, _TIMER = "sequencer", "timer"
SOUND_DEVICES: Final = {_SEQUENCER: (116, 1), _TIMER: (116, 33)}
"""Majors and minors of /dev/snd/seq and /dev/snd/timer, which root makes."""
_DUMMY_CLIENT, _TIMERS = 14, range(1, 4)
"""The only client of the sequencer that is a module's by default; global timers but the system's."""

_CONTROL: Final = "/dev/ukmod/control"
_DM: Final = struct.Struct("<3I2I I i I I I Q 128s 129s 7x")
"""struct dm_ioctl, include/uapi/linux/dm-ioctl.h."""
_DM_TARGET: Final = struct.Struct("<QQiI16s")
_DM_ROOM: Final = 1024
DM_DEV_CREATE, DM_TABLE_LOAD, DM_DEV_REMOVE = 0xC138FD03, 0xC138FD09, 0xC138FD04

_PPP: Final = "/dev/ukmod/ppp"
PPPIOCNEWUNIT, PPPIOCSCOMPRESS = 0xC004743E, 0x4010744D
_UNKNOWN_COMPRESSOR: Final = bytes((99, 2))
"""The option of PPP's compression control protocol: its type and its length."""


def program(p: UserProcess) -> None:
    """Execute a file that is no program."""
    p.syscall("execve", PROGRAM, None, None)


def sound(p: UserProcess) -> None:
    """Ask the sequencer for a client, and ALSA's timers for each global one."""
    with suppress(OSError), p.open(f"/dev/ukmod/{_SEQUENCER}", "r+b") as sequencer:
        client = struct.pack("<i", _DUMMY_CLIENT).ljust(188, b"\0")
        sequencer.ioctl(SNDRV_SEQ_IOCTL_GET_CLIENT_INFO, bytearray(client))
    with p.open(f"/dev/ukmod/{_TIMER}", "r+b") as timer:
        for number in _TIMERS:
            with suppress(OSError):
                wanted = struct.pack("<5i", 1, 0, -1, number, 0).ljust(52, b"\0")
                timer.ioctl(SNDRV_TIMER_IOCTL_SELECT, bytearray(wanted))


def _device(p: UserProcess, path: str, major: int, minor: int) -> None:
    with suppress(FileExistsError):
        p.mknod(path, S_IFCHR | 0o600, os.makedev(major, minor))


def device_mapper(p: UserProcess) -> None:
    """Give a new device a table with a target that nobody has."""
    _device(p, _CONTROL, 10, 236)
    with p.open(_CONTROL, "r+b") as control:
        target = _DM_TARGET.pack(0, 8, 0, 0, _NAME)
        for request, content in ((DM_DEV_CREATE, b""), (DM_TABLE_LOAD, target), (DM_DEV_REMOVE, b"")):
            head = _DM.pack(4, 0, 0, _DM_ROOM, _DM.size, bool(content), 0, 0, 0, 0, 0, _NAME, b"")
            with suppress(OSError):
                control.ioctl(request, bytearray((head + content).ljust(_DM_ROOM, b"\0")))


def compressors(p: UserProcess) -> None:
    """Ask a new unit of PPP for a method of compression."""
    _device(p, _PPP, 108, 0)
    with p.open(_PPP, "r+b") as unit, p.open("/dev/zero", "r+b").mmap(4096) as memory:
        unit.ioctl(PPPIOCNEWUNIT, bytearray(struct.pack("<i", -1)))
        memory[: len(_UNKNOWN_COMPRESSOR)] = _UNKNOWN_COMPRESSOR
        option = struct.pack("<QIi", memory.address, len(_UNKNOWN_COMPRESSOR), 1)
        unit.ioctl(PPPIOCSCOMPRESS, option)
