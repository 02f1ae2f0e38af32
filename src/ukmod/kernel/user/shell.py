"""A program that is used from the host while it runs: at a terminal, or by a script and its readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ukmod.kernel.user.line import HostEnd, HostLine, WindowSize
from ukmod.kernel.user.process import image_of
from ukmod.kernel.user.program import RunningProgram
from ukmod.kernel.user.stdio import OutputSink, Pipes, Stdio
from ukmod.kernel.user.terminal import Terminal

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


def interact(
    k: Core, argv: Sequence[str], env: Mapping[str, str], host: HostEnd, shows: Sequence[OutputSink],
    size: WindowSize | None, directory: str = "/",
) -> int:  # fmt: skip
    """Execute a program that the host is connected with; returns its wait status once it has ended.

    With a ``size``, its input and output are a terminal of that size, and ``shows[0]`` takes what is written
    there. Otherwise they are pipes, and ``shows`` take its standard output and error. It begins in
    ``directory``.

    Raises OSError if it cannot be executed, and UsageError without an image.
    """
    image = image_of(k)
    line = HostLine(k, host)
    stdio: Stdio
    if size is not None:
        stdio = Terminal(k, image, size, line, shows[0])
    else:
        stdio = Pipes(k, image, line.text, shows)
    try:
        status = RunningProgram(k, image, argv, stdio, env, directory=directory).wait(None)
    finally:
        k.sched.outside = None
    assert status is not None  # there is no time limit
    return status
