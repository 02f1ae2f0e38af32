"""insmod(8): load one module from a file, and nothing else."""

from __future__ import annotations

import errno
import os

from ukmod.errors import LoadError, UsageError
from ukmod.kmod.context import Context
from ukmod.kmod.host import INIT_IGNORE_MODVERSIONS, INIT_IGNORE_VERMAGIC, LOG_ERR
from ukmod.kmod.insert import insert_file
from ukmod.kmod.tools import call
from ukmod.kmod.tools.common import SHARED_OPTIONS, default_dirname, options_text
from ukmod.kmod.tools.getopt import LongOption, getopt
from ukmod.kmod.tools.log import ToolLog, program_name, version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.host import Host

__all__ = ["main"]

_LONG = (
    LongOption("force", "f"),
    LongOption("force-modversion", "force-modversion"),
    LongOption("force-vermagic", "force-vermagic"),
    *SHARED_OPTIONS,
)
_FORCE = {
    "f": INIT_IGNORE_MODVERSIONS | INIT_IGNORE_VERMAGIC,
    "force-modversion": INIT_IGNORE_MODVERSIONS,
    "force-vermagic": INIT_IGNORE_VERMAGIC,
}
_USAGE = """\
Usage:
\t{0} [options] filename [module options]
Options:
\t-f, --force       DANGEROUS: forces a module load, may cause
\t                  data corruption and crash your machine
\t-s, --syslog      print to syslog, not stderr
\t-v, --verbose     enables more messages
\t-V, --version     show version
\t-h, --help        show this help
"""
_REASONS = {
    errno.ENOEXEC: "Invalid module format",
    errno.ENOENT: "Unknown symbol in module",
    errno.ESRCH: "Module has wrong symbol version",
    errno.EINVAL: "Invalid parameters",
}


def main(argv: Sequence[str], host: Host) -> int:
    """Run insmod; ``argv[0]`` is the name it was called by. Returns its exit status, 0 or 1."""
    return call(_insmod, argv, host)


def _insmod(argv: Sequence[str], host: Host) -> int:
    program = program_name(argv[0])
    log = ToolLog(host, program)
    verbose = LOG_ERR
    force = 0
    syslog = False
    words: list[str] = []
    try:
        for key, value in getopt(argv, "fsvVh", _LONG, posix="POSIXLY_CORRECT" in host.environ):
            force |= _FORCE.get(key, 0)
            if key == "":
                words.append(value)
            elif key == "s":
                syslog = True
            elif key == "v":
                verbose += 1
            elif key in "hV":
                host.stdout.write(_USAGE.format(program) if key == "h" else version_text())
                return 0
    except UsageError as error:
        host.stderr.write(f"{argv[0]}: {error.message}\n")
        return 1
    log.open(syslog=syslog)
    if not words:
        log.err("missing filename.")
        return 1
    if words[0] == "-":
        log.err("this tool does not support loading from stdin!")
        return 1
    context = Context.on(host, host.open_tree(default_dirname(host)), (), log.library)
    log.set_priority(verbose)
    status = _insert(words[0], options_text(words[1:]) or "", context, host, log, force=force)
    log.close()
    return status


def _insert(file: str, params: str, context: Context, host: Host, log: ToolLog, *, force: int) -> int:
    try:
        module = context.by_path(file)
    except OSError as error:
        log.err(f"could not load module {file}: {os.strerror(error.errno or errno.EINVAL)}")
        return 1
    try:
        insert_file(host, module.path or file, params, force=force, log=log.library, name=module.name)
    except LoadError as error:
        log.err(f"could not insert module {file}: {_REASONS.get(error.errno) or os.strerror(error.errno)}")
        return 1
    return 0
