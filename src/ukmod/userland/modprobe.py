"""/sbin/modprobe of the emulated machine: kmod's own, and one that lets a request carry parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ukmod.kmod.tree import Tree
    from ukmod.userland.process import Process, Program


def modprobe(tree: Callable[[Sequence[str]], Tree | None], *, parameters: bool = True) -> Program:
    """The program, on the module tree that ``tree`` gives for its arguments when it is started.

    With ``parameters``, a name from the kernel may be followed by module parameters in the same string:
    request_module("send_signal level=3"). kmod's modprobe takes that for one name that no module has.
    """

    def main(process: Process) -> int:
        from ukmod.kmod.tools import modprobe as kmod_modprobe  # for the runs that request a module
        from ukmod.userland.host import ProcessHost

        argv = list(process.argv)
        if parameters and len(argv) == 4 and argv[1:3] == ["-q", "--"]:
            argv[3:] = argv[3].split() or [argv[3]]
        return kmod_modprobe.main(argv, ProcessHost(process, tree(argv[1:])))

    return main
