"""rmmod(8): unload modules, each by itself."""

from __future__ import annotations

import errno
import os

from ukmod.errors import UsageError
from ukmod.kmod.context import Context
from ukmod.kmod.host import DELETE_FORCE, DELETE_NONBLOCK, LOG_ERR
from ukmod.kmod.loaded import SysModules
from ukmod.kmod.tools import call
from ukmod.kmod.tools.common import SHARED_OPTIONS, default_dirname
from ukmod.kmod.tools.getopt import LongOption, getopt
from ukmod.kmod.tools.log import ToolLog, program_name, version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.context import Module
    from ukmod.kmod.host import Host

__all__ = ["main"]

_LONG = (LongOption("force", "f"), *SHARED_OPTIONS)
_USAGE = """\
Usage:
\t{0} [options] [list of modulenames]
Options:
\t-f, --force       DANGEROUS: forces a module unload and may
\t                  crash your machine
\t-s, --syslog      print to syslog, not stderr
\t-v, --verbose     enables more messages
\t-V, --version     show version
\t-h, --help        show this help
"""


def main(argv: Sequence[str], host: Host) -> int:
    """Run rmmod; ``argv[0]`` is the name it was called by. Returns its exit status, 0 or 1."""
    return call(_rmmod, argv, host)


def _rmmod(argv: Sequence[str], host: Host) -> int:
    program = program_name(argv[0])
    log = ToolLog(host, program)
    verbose = LOG_ERR
    force = syslog = False
    words: list[str] = []
    try:
        for key, value in getopt(argv, "fsvVh", _LONG, posix="POSIXLY_CORRECT" in host.environ):
            if key == "":
                words.append(value)
            elif key == "f":
                force = True
            elif key == "s":
                syslog = True
            elif key == "v":
                verbose += 1
            else:
                host.stdout.write(_USAGE.format(program) if key == "h" else version_text())
                return 0
    except UsageError as error:
        host.stderr.write(f"{argv[0]}: {error.message}\n")
        return 1
    log.open(syslog=syslog)
    if not words:
        log.err("missing module name.")
        return 1
    context = Context.on(host, host.open_tree(default_dirname(host)), (), log.library)
    log.set_priority(verbose)
    status = _remove_all(words, context, host, log, force=force)
    log.close()
    return status


def _remove_all(words: list[str], context: Context, host: Host, log: ToolLog, *, force: bool) -> int:
    status = 0
    flags = DELETE_NONBLOCK | (DELETE_FORCE if force else 0)
    for word in words:
        context.forget()
        try:
            module = _named(word, context, host)
        except OSError as error:
            log.err(f"could not use module {word}: {os.strerror(error.errno or errno.EINVAL)}")
            return 1
        if not force and _is_in_use(module, context, SysModules(host, log.library), log):
            status = 1
            continue
        try:
            host.delete_module(module.name, flags)
        except OSError as error:
            log.library(
                LOG_ERR, "kmod_module_remove_module", f"could not remove '{module.name}': {error.strerror}"
            )
            log.err(f"could not remove module {word}: {error.strerror}")
            status = 1
    return status


def _named(word: str, context: Context, host: Host) -> Module:
    """Return the module of an existing path, or of a name."""
    try:
        host.files.stat(word)
    except OSError:
        return context.by_name(word)
    return context.by_path(word)


def _is_in_use(module: Module, context: Context, state: SysModules, log: ToolLog) -> bool:
    """Say so if the module cannot go."""
    name = module.name
    if context.is_builtin(module):
        log.err(f"Module {name} is builtin.")
        return True
    if state.initstate(name) is None:
        log.err(f"Module {name} is not currently loaded")
        return True
    holders = state.holders(name)
    if holders:
        log.err(f"Module {name} is in use by: {' '.join(holders)}")
        return True
    try:
        in_use = state.reference_count(name) > 0
    except OSError as error:
        if error.errno == errno.ENOENT:
            log.err("Module unloading is not supported")
        return True
    if in_use:
        log.err(f"Module {name} is in use")
    return in_use
