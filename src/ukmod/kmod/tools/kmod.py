"""kmod(8): the program the others are links to."""

from __future__ import annotations

from ukmod.errors import UsageError
from ukmod.kmod.tools import call
from ukmod.kmod.tools.getopt import LongOption, getopt
from ukmod.kmod.tools.log import program_name, version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.host import Host

__all__ = ["main"]

_LONG = (LongOption("help", "h"), LongOption("version", "V"))
_USAGE = """\
kmod - Manage kernel modules: list, load, unload, etc
Usage:
\t{0} [options] command [command_options]

Options:
\t-V, --version     show version
\t-h, --help        show this help

Commands:
  help         show help message
  list         list currently loaded modules
  static-nodes output the static-node information installed with the currently running kernel

kmod also handles gracefully if called from following symlinks:
  lsmod        compat lsmod command
  rmmod        compat rmmod command
  insmod       compat insmod command
  modinfo      compat modinfo command
  modprobe     compat modprobe command
  depmod       compat depmod command
"""


def main(argv: Sequence[str], host: Host) -> int:
    """Run kmod; ``argv[0]`` is the name it was called by. Returns its exit status, 0 or 1."""
    return call(_kmod, argv, host)


def _kmod(argv: Sequence[str], host: Host) -> int:
    program = program_name(argv[0])
    words: list[str] = []
    try:
        for key, value in getopt(argv, "+hV", _LONG):
            if key == "":
                words.append(value)
            else:
                host.stdout.write(_USAGE.format(program) if key == "h" else version_text())
                return 0
    except UsageError as error:
        host.stderr.write(f"{argv[0]}: {error.message}\n")
        return 1
    if not words:
        host.stderr.write("missing command\n")
    elif words[0] == "help":
        host.stdout.write(_USAGE.format(program))
        return 0
    elif words[0] == "list":
        from ukmod.kmod.tools import lsmod

        return lsmod.main(words, host, program=program)
    elif words[0] == "static-nodes":
        from ukmod.kmod.tools import static_nodes

        return static_nodes.main(words, host)
    else:
        host.stderr.write(f"invalid command '{words[0]}'\n")
    host.stdout.write(_USAGE.format(program))
    return 1
