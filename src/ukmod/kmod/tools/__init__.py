"""kmod's programs: modprobe, insmod, rmmod, lsmod, depmod, modinfo and kmod.

Each is a module with ``main(argv, host) -> int``: ``argv`` begins with the program's name as it was called,
the result is its exit status. The same function is a process's main program and a task's in an emulated
kernel.
"""

from __future__ import annotations

from ukmod.errors import UkmodError
from ukmod.kmod.tools.log import FatalError, program_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ukmod.kmod.host import Host

__all__ = ["OF_KMOD", "TOOLS", "call"]

TOOLS = ("depmod", "insmod", "kmod", "lsmod", "modinfo", "modprobe", "rmmod")
OF_KMOD = ("static-nodes",)
"""The commands that only ``kmod COMMAND`` has: there is no link of that name."""


def call(body: Callable[[Sequence[str], Host], int], argv: Sequence[str], host: Host) -> int:
    """Run a tool's body; a FATAL message ends it with status 1. What it wrote is flushed in any case.

    So does an index that is corrupt beyond its header, where the C tools find nothing, or crash.
    """
    try:
        return body(argv, host)
    except FatalError:
        return 1
    except UkmodError as error:
        host.stderr.write(f"{program_name(argv[0])}: ERROR: {error}\n")
        return 1
    except MemoryError:
        host.stderr.write(f"{program_name(argv[0])}: ERROR: out of memory\n")
        return 1
    finally:
        host.stdout.flush()
