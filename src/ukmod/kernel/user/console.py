"""The host's terminal, or a script and its reader, at the machine's serial line, which is its console."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ukmod.errors import UsageError
from ukmod.kernel.printk import CON_CONSDEV, CON_ENABLED, register_console
from ukmod.kernel.user.stdio import InputSource, OutputSink, start
from ukmod.machine.abi import Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

_GATHERS: Final = 1_000_000
"""The nanoseconds of virtual time for which output is held back, to be shown with what follows it."""
_CFLAG: Final = 0x8000_0000 | 0x1002 | 0x0800 | 0x0400 | 0x0080 | 0x0030
"""CRTSCTS, B115200, CLOCAL, HUPCL, CREAD and CS8: the driver stops the peer when its buffers are full."""


class SerialConsole:
    """A terminal at the serial line: ``show`` takes output, and ``source`` gives what is typed."""

    def __init__(self, k: Core, source: InputSource, show: OutputSink) -> None:
        self._k = k
        self._show = show
        self._output = bytearray()
        self._typed: deque[int] = deque()
        assert k.serial is not None
        self._line = k.serial
        self._line.peer = self
        start(k, "keyboard", lambda: self._type(source))

    def take(self, byte: int) -> None:
        """See Peer."""
        if not self._output:
            self._k.clock.at(self._k.clock.now + _GATHERS, self.flush)
        self._output.append(byte)

    def ready(self) -> bool:
        """See Peer."""
        return bool(self._typed)

    def send(self) -> int:
        """See Peer."""
        return self._typed.popleft()

    def flush(self) -> None:
        """Show what has been written."""
        if self._output:
            self._show(bytes(self._output))
            self._output.clear()

    def _type(self, source: InputSource) -> int:
        while data := source():
            self._typed.extend(data)
            self._line.notice()
        return 0

    def disconnect(self) -> None:
        """Leave the line."""
        self.flush()
        self._line.peer = None


def enable_console(k: Core, image: MappedImage) -> None:
    """Have the serial line be the machine's console, as ``console=ttyS0,115200n8r`` does.

    Raises UsageError for a kernel whose console cannot be there.
    """
    if not (console := image.get("univ8250_console")):
        raise UsageError("the kernel has no console at a serial line: CONFIG_SERIAL_8250_CONSOLE is not set")
    at = {name: console + k.types.offset("console", name) for name in ("index", "flags", "cflag")}
    k.memory.set_u16(at["index"], 0)
    k.memory.set_u32(at["cflag"], _CFLAG)
    k.memory.set_u16(at["flags"], k.memory.u16(at["flags"]) | CON_ENABLED | CON_CONSDEV)
    register_console(k, Ptr(console))
