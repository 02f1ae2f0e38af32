"""System calls to drivers that ask for a module by the name or number of what it implements."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ukmod.kernel.uapi import S_IFBLK, S_IFCHR

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

__all__ = [
    "MAGIC",
    "PROGRAM",
    "SOUND_DEVICES",
    "compressors",
    "device_mapper",
    "disk_array",
    "program",
    "sound",
]

_NAME: Final = b"ukmod"
PROGRAM: Final = "/ukmod-program"
"""A file that may be executed, and that no kernel has a binary format for."""
MAGIC: Final = b"\x7f\xfe\xfd\xfc"
"""Its first bytes: text would be taken for a script without an interpreter's name."""

SNDRV_SEQ_IOCTL_GET_CLIENT_INFO, SNDRV_TIMER_IOCTL_SELECT = 0xC0BC5310, 0x40345410
_CARD, _SEQUENCER, _TIMER = "card", "sequencer", "timer"
SOUND_DEVICES: Final = {_CARD: (116, 0), _SEQUENCER: (116, 1), _TIMER: (116, 33)}
"""Majors and minors of /dev/snd/controlC0, seq and timer, which root makes."""
_DUMMY_CLIENT, _TIMERS = 14, range(1, 4)
"""The only client of the sequencer that is a module's by default; global timers but the system's."""

_CONTROL: Final = "/dev/ukmod/control"
_DM: Final = struct.Struct("<3I2I I i I I I Q 128s 129s 7x")
"""struct dm_ioctl, include/uapi/linux/dm-ioctl.h."""
_DM_TARGET: Final = struct.Struct("<QQiI16s")
_DM_ROOM: Final = 1024
DM_DEV_CREATE, DM_TABLE_LOAD, DM_DEV_REMOVE = 0xC138FD03, 0xC138FD09, 0xC138FD04

_MD_MAJOR, _RAM_MAJOR = 9, 1
MD_ADD_NEW_DISK, MD_SET_ARRAY_INFO, MD_RUN_ARRAY = 0x40140921, 0x40480923, 0x400C0930

_PPP: Final = "/dev/ukmod/ppp"
PPPIOCNEWUNIT, PPPIOCSCOMPRESS = 0xC004743E, 0x4010744D
_UNKNOWN_COMPRESSOR: Final = bytes((99, 2))
"""The option of PPP's compression control protocol: its type and its length."""


def program(p: UserProcess) -> None:
    """Execute a file that is no program."""
    p.syscall("execve", PROGRAM, None, None)


def sound(p: UserProcess) -> None:
    """Open the first card, and ask the sequencer for a client, and ALSA's timers for each global one."""
    with suppress(OSError), p.open(f"/dev/ukmod/{_CARD}", "r+b"):
        pass
    with suppress(OSError), p.open(f"/dev/ukmod/{_SEQUENCER}", "r+b") as sequencer:
        client = struct.pack("<i", _DUMMY_CLIENT).ljust(188, b"\0")
        sequencer.ioctl(SNDRV_SEQ_IOCTL_GET_CLIENT_INFO, bytearray(client))
    with p.open(f"/dev/ukmod/{_TIMER}", "r+b") as timer:
        for number in _TIMERS:
            with suppress(OSError):
                wanted = struct.pack("<5i", 1, 0, -1, number, 0).ljust(52, b"\0")
                timer.ioctl(SNDRV_TIMER_IOCTL_SELECT, bytearray(wanted))


def _device(p: UserProcess, path: str, major: int, minor: int, kind: int = S_IFCHR) -> None:
    with suppress(FileExistsError):
        p.mknod(path, kind | 0o600, os.makedev(major, minor))


def disk_array(p: UserProcess) -> None:
    """Run an array on a RAM disk: of a level by its number, and of one by its name."""
    for minor, level in enumerate((99, "ukmod")):
        disk, path = f"/dev/ukmod/ram{minor}", f"/dev/ukmod/md{minor}"
        _device(p, disk, _RAM_MAJOR, minor, S_IFBLK)
        _device(p, path, _MD_MAJOR, minor, S_IFBLK)
        with p.open(disk, "rb"), p.open(path, "r+b") as array:
            number = level if isinstance(level, int) else 0
            about = (0, 90, 0, 0, number, 0, 1, 1, minor, 1, *(0 for _ in range(8)))
            array.ioctl(MD_SET_ARRAY_INFO, bytearray(struct.pack("<18i", *about)))
            array.ioctl(MD_ADD_NEW_DISK, bytearray(struct.pack("<5i", 0, _RAM_MAJOR, minor, 0, 0)))
            if isinstance(level, str):
                p.write(f"/sys/block/md{minor}/md/level", level.encode())
            with suppress(OSError):
                array.ioctl(MD_RUN_ARRAY, bytearray(12))


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
