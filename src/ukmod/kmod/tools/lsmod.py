"""lsmod(8): the modules the kernel holds."""

from __future__ import annotations

import errno
import os

from ukmod.errors import UsageError
from ukmod.kmod.host import LOG_ERR
from ukmod.kmod.loaded import loaded_modules
from ukmod.kmod.tools import call
from ukmod.kmod.tools.common import SHARED_OPTIONS
from ukmod.kmod.tools.getopt import LongOption, getopt
from ukmod.kmod.tools.log import ToolLog, program_name, version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ukmod.kmod.host import Host
    from ukmod.kmod.loaded import LoadedModule

__all__ = ["main"]

_LONG = (*SHARED_OPTIONS, LongOption("json", "json"))  # --json is ours
_USAGE = """\
Usage:
\t{0} [options]
Options:
\t-s, --syslog      print to syslog, not stderr
\t-v, --verbose     enables more messages
\t-V, --version     show version
\t-h, --help        show this help
"""


def main(argv: Sequence[str], host: Host, *, program: str | None = None) -> int:
    """Run lsmod, or ``kmod list``, and return the exit status, 0 or 1.

    ``argv[0]`` is the name it was called by, ``program`` the name in messages where that is another.
    """
    name = program_name(argv[0]) if program is None else program
    return call(lambda argv, host: _lsmod(argv, host, name), argv, host)


def _lsmod(argv: Sequence[str], host: Host, program: str) -> int:
    log = ToolLog(host, program)
    verbose = LOG_ERR
    syslog = as_json = False
    words: list[str] = []
    try:
        for key, value in getopt(argv, "svVh", _LONG, posix="POSIXLY_CORRECT" in host.environ):
            if key == "":
                words.append(value)
            elif key == "s":
                syslog = True
            elif key == "json":
                as_json = True
            elif key == "v":
                verbose += 1
            else:
                host.stdout.write(_USAGE.format(program) if key == "h" else version_text())
                return 0
    except UsageError as error:
        host.stderr.write(f"{argv[0]}: {error.message}\n")
        return 1
    log.open(syslog=syslog)
    if words:
        log.err("too many arguments provided.")
        return 1
    log.set_priority(verbose)
    modules = loaded_modules(host, log.library)
    try:
        if as_json:
            from ukmod.kmod.tools.report import modules_json

            host.stdout.write(modules_json(modules))
        else:
            _print_table(modules, host)
    except OSError as error:
        log.err(f"could not get list of modules: {os.strerror(error.errno or errno.EINVAL)}")
        return 1
    finally:
        log.close()
    return 0


def _print_table(modules: Iterator[LoadedModule], host: Host) -> None:
    first = next(modules, None)  # without /proc/modules there is no heading either
    host.stdout.write("Module                  Size  Used by\n")
    while first is not None:
        users = "".join((" " if at == 0 else ",") + user for at, user in enumerate(first.holders))
        host.stdout.write(f"{first.name:<19} {first.size:8}  {first.refcnt}{users}\n")
        first = next(modules, None)
