"""A pseudoterminal as a program's controlling terminal: line discipline and job control are the image's.

The host is at its master, as a terminal emulator or sshd is.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.kernel.sched.core import Task
from ukmod.kernel.uapi import O_NOCTTY, O_RDWR
from ukmod.kernel.user.line import HostLine, WindowSize
from ukmod.kernel.user.stdio import OpenFile, OutputSink, start

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage
    from ukmod.kernel.user.process import UserProcess

TIOCSCTTY, TIOCSWINSZ, TIOCSPTLCK, TIOCGPTPEER = 0x540E, 0x5414, 0x4004_5431, 0x5441
"""include/uapi/asm-generic/ioctls.h"""
_WINSIZE: Final = struct.Struct("<HHHH")


class Terminal:
    """A pseudoterminal with a window of ``size``: ``line`` gives what is typed, ``show`` takes output."""

    def __init__(
        self, k: Core, image: MappedImage, size: WindowSize, line: HostLine, show: OutputSink
    ) -> None:
        self._k = k
        self._image = image
        self._size = size
        self._line = line
        self._show = show

    def connect(self, process: UserProcess) -> list[Task]:
        """See Stdio. The process becomes the leader of the terminal's session."""
        k = self._k
        master = process.open("/dev/ptmx", "r+b", flags=O_NOCTTY)
        master.ioctl(TIOCSPTLCK, bytearray(4))
        master.ioctl(TIOCSWINSZ, bytearray(_winsize(self._size)))
        slave = master.ioctl(TIOCGPTPEER, O_RDWR | O_NOCTTY)
        self._lead(process.task)
        process.syscall("ioctl", slave, TIOCSCTTY, 0)
        ends = [k.cpu.call(self._image.address("fget"), master.fileno()) for _ in range(2)]
        master.close()
        for descriptor in range(3):
            process.syscall("dup2", slave, descriptor)
        if slave >= 3:
            process.syscall("close", slave)
        keyboard, screen = (OpenFile(k, self._image, end) for end in ends)
        start(k, "keyboard", partial(keyboard.feed, partial(self._typed, self._tty(ends[0]))))
        return [start(k, "screen", partial(screen.collect, self._show))]

    def _lead(self, task: Task) -> None:
        """setsid(): a process that is alone in its session leads it."""
        signal = self._k.memory.u64(task.address + self._k.types.offset("task_struct", "signal"))
        self._k.memory.set_u32(signal + self._k.types.offset("signal_struct", "leader"), 1)

    def _tty(self, file: int) -> int:
        """file_tty()."""
        k = self._k
        private = k.memory.u64(file + k.types.offset("file", "private_data"))
        return k.memory.u64(private + k.types.offset("tty_file_private", "tty"))

    def _typed(self, master: int) -> bytes:
        """Return what was typed. A new size of the window is passed on, and the end hangs the terminal up."""
        k = self._k
        while isinstance(received := self._line.receive(), WindowSize):
            size = k.slab.kernel_object(_WINSIZE.size)
            k.memory.write(size, _winsize(received))
            k.cpu.call(self._image.address("pty_resize"), master, size)
            k.slab.kfree(size)
        if not received:
            slave = k.memory.u64(master + k.types.offset("tty_struct", "link"))
            k.cpu.call(self._image.address("tty_vhangup"), slave)
        return received


def _winsize(size: WindowSize) -> bytes:
    """A struct winsize."""
    return _WINSIZE.pack(size.rows, size.columns, 0, 0)
