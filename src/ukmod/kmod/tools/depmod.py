"""depmod(8): write the files that modprobe reads."""

from __future__ import annotations

import errno
import gc
import os

from ukmod.errors import UkmodError, UsageError
from ukmod.kmod.depmod.analysis import Analysis, analyse
from ukmod.kmod.depmod.cache import cache_path, read_cached
from ukmod.kmod.depmod.config import CONFIG_DIRECTORIES, load_config
from ukmod.kmod.depmod.dependencies import (
    Checks,
    parse_symvers,
    parse_system_map,
    report_symbols,
    show_dependencies,
)
from ukmod.kmod.depmod.forks import Fork
from ukmod.kmod.depmod.incremental import remember, take_snapshot, update
from ukmod.kmod.depmod.order import module_order
from ukmod.kmod.depmod.output import OF_ALIASES, OF_LINKS, Output
from ukmod.kmod.depmod.publish import make_directory, publish, touch
from ukmod.kmod.depmod.quick import is_up_to_date
from ukmod.kmod.depmod.reader import read_all
from ukmod.kmod.depmod.scan import Candidate, scan_tree, shown_path
from ukmod.kmod.host import LOG_CRIT, LOG_ERR, LOG_WARNING
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.tools import call
from ukmod.kmod.tools.depmod_options import Options, is_version, parse_options
from ukmod.kmod.tools.log import Log, program_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ukmod.kmod.depmod.config import DepmodConfig
    from ukmod.kmod.depmod.facts import Facts
    from ukmod.kmod.depmod.output import Made, Messages
    from ukmod.kmod.host import Host

__all__ = ["main"]


def main(argv: Sequence[str], host: Host) -> int:
    """Run depmod; ``argv[0]`` is the name it was called by. Returns its exit status, 0 or 1."""
    collects = gc.isenabled()
    gc.disable()  # all that is made lives to the end, and there is no use in looking through it
    try:
        return call(_depmod, argv, host)
    finally:
        if collects:
            gc.enable()


def _depmod(argv: Sequence[str], host: Host) -> int:
    log = Log(host, program_name(argv[0]))
    try:
        options = parse_options(argv, host, log)
    except UsageError as error:
        host.stderr.write(f"{argv[0]}: {error.message}\n")
        return 1
    if options is None:
        return 0
    if options.words and not is_version(options.words[0]):
        log.err(f"Bad version passed {options.words[0]}")
        return 1
    release, *files = options.words or [host.release()]
    dirname = f"{options.root}/{options.module_directory}/{release}"
    out_root = options.root if options.out_root is None else options.out_root
    if "A" in options and ("n" in options or is_up_to_date(dirname, log.err)):
        return 0
    log.set_priority(options.verbosity)
    kernel = _kernel(options, log)
    if kernel is None:
        options.flags.discard("e")
        kernel = {}
    if files and not options.flags & {"a", "A"}:
        modules = _named(files, dirname, log)
    else:
        config = load_config(release, options.config or CONFIG_DIRECTORIES, log.message)
        try:
            modules = scan_tree(dirname, config, log.message)
        except OSError as error:
            log.message(LOG_CRIT, f"could not search modules: {error.strerror}")
            return 1
        if _may_remember(options, files):
            out = f"{out_root}/{options.module_directory}/{release}"
            return _remembering(modules, dirname, out, config, options, host, log)
    modules = module_order(modules, dirname, log.message)
    if "n" in options:
        return _show(modules, dirname, options, kernel, host, log)
    complete = _make_all(modules, dirname, options, kernel, host, log)
    if complete is None:
        return 1
    output, made = complete
    status = _write(output.finish, made, {}, f"{out_root}/{options.module_directory}/{release}", log)
    host.leave(status)
    return status


def _may_remember(options: Options, files: Sequence[str]) -> bool:
    """Tell whether this run may use what the last one left: only the plain kinds of it do."""
    special = options.flags - {"a", "A", "w"} or options.prefix or options.verbosity != LOG_WARNING or files
    return not special and options.symvers is None and options.system_map is None


def _remembering(
    found: list[Candidate],
    dirname: str,
    directory: str,
    config: DepmodConfig,
    options: Options,
    host: Host,
    log: Log,
) -> int:
    """Do what changed since the last run, or all of it, and remember that for the next."""
    searches = (config.searches, config.overrides, config.externals, sorted(config.excludes))
    key = (dirname, directory, searches, "w" in options)
    path = cache_path(f"{dirname}\0{directory}", host.environ, privileged=os.geteuid() == 0) + ".run"
    snapshot = take_snapshot(found, dirname)
    last = update(found, snapshot, dirname, directory, path, key, lambda some: read_all(some, fork=True))
    order_messages: list[tuple[int, str]] = []
    if last is None:
        modules = module_order(found, dirname, lambda *message: order_messages.append(message))
    else:
        order_messages = last.order_messages
    for message in order_messages:
        log.message(*message)
    if last is None:
        complete = _make_all(modules, dirname, options, {}, host, log, marks=True)
        if complete is None:
            return 1
        output, made = complete
        kept = {}
    else:
        if last.analysis.cycles:
            _report_cycles(last.analysis, log)
            return 1
        output = Output(last.analysis, dirname, warn_duplicates="w" in options, log=log.message, marks=True)
        made = last.made | output.make(last.stale, fork=not last.made)
        kept = {name: messages for name, (_checksum, messages) in last.kept.items()}
    status = _write(output.finish, made, kept, directory, log)
    if status == 0 and not any(fact.failure for fact in output.analysis.facts):
        remember(path, key, snapshot, output.analysis, order_messages, made, last)
    host.leave(status)
    return status


def _kernel(options: Options, log: Log) -> dict[str, int] | None:
    """Return what the kernel image exports, if the user has said where that is written."""
    path = options.symvers if options.symvers is not None else options.system_map
    if path is None:
        if "e" in options:
            log.wrn("-e needs -E or -F")
        return None
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            text = file.read()
    except OSError as error:
        log.message(LOG_CRIT, f"could not load {path}: {error.strerror}")
        return None
    parse = parse_system_map if options.symvers is None else parse_symvers
    return parse(text, path, options.prefix, log.message)


def _named(paths: Sequence[str], dirname: str, log: Log) -> list[Candidate]:
    """Return the modules given on the command line."""
    modules: dict[str, Candidate] = {}
    for path in paths:
        if not path.startswith("/"):
            log.message(LOG_CRIT, f"{path}: not absolute path.")
        name = modname_from_path(path)
        known = modules.get(name)
        try:
            os.stat(path)
            if known is not None and known.path != path:
                paths_differ = f"new-path='{path}' old-path='{known.path}'"
                log.err(f"kmod_module '{name}' already exists with different path: {paths_differ}")
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        except OSError as error:
            log.message(LOG_CRIT, f"could not create module {path}: {error.strerror}")
        if known is not None:
            log.err(f"hash_add_unique {name}: {os.strerror(errno.EEXIST)}")
            log.message(LOG_CRIT, f"could not add module {path}: {os.strerror(errno.EEXIST)}")
        modules[name] = Candidate(name, path, shown_path(path, dirname))
    return list(modules.values())


def _read(modules: list[Candidate], dirname: str, options: Options, host: Host, log: Log) -> list[Facts]:
    crcs = "e" in options and options.symvers is not None
    if "no-cache" in options or crcs:  # CRCs are not in the cache
        facts = read_all(modules, crcs=crcs, fork=True)
    else:
        path = cache_path(dirname, host.environ, privileged=os.geteuid() == 0)
        facts = read_cached(modules, path, lambda others: read_all(others, fork=True))
    for module, fact in zip(modules, facts, strict=True):
        if fact.failure:
            log.err(f"failed to load symbols from {module.path}: {os.strerror(fact.failure)}")
    return facts


def _make_all(
    modules: list[Candidate],
    dirname: str,
    options: Options,
    kernel: dict[str, int],
    host: Host,
    log: Log,
    *,
    marks: bool = False,
) -> tuple[Output, dict[str, Made]] | None:
    """Read and analyse the modules and make all files; None if there are cycles, which are reported."""
    facts = _read(modules, dirname, options, host, log)
    warn = "w" in options
    # The files of aliases need no analysis: a child makes them while that is done here.
    unlinked = Output(Analysis(modules, facts, {}, (), (), ()), dirname, warn_duplicates=warn, marks=marks)
    of_aliases = Fork(lambda: unlinked.make(OF_ALIASES))
    analysis = _analyse(modules, facts, options, kernel, host, log)
    if analysis.cycles:
        _report_cycles(analysis, log)
        of_aliases.result()
        return None
    output = Output(analysis, dirname, warn_duplicates=warn, log=log.message, marks=marks)
    return output, output.make(OF_LINKS) | of_aliases.result()


def _show(
    modules: list[Candidate],
    dirname: str,
    options: Options,
    kernel: dict[str, int],
    host: Host,
    log: Log,
) -> int:
    """Print the text files: ``-n``."""
    analysis = _analyse(modules, _read(modules, dirname, options, host, log), options, kernel, host, log)
    if analysis.cycles:
        _report_cycles(analysis, log)
        return 1
    for _name, content in Output(analysis, dirname, warn_duplicates="w" in options, log=log.message).texts():
        host.stdout.write(content.decode("utf-8", "surrogateescape"))
    return 0


def _analyse(
    modules: list[Candidate],
    facts: list[Facts],
    options: Options,
    kernel: dict[str, int],
    host: Host,
    log: Log,
) -> Analysis:
    checks = Checks(report="e" in options, versions=options.symvers is not None, prefix=options.prefix)
    analysis = analyse(modules, facts, kernel, options.prefix)
    if checks.report:
        report_symbols(modules, facts, analysis.owners, kernel, checks, log.message)
    if options.verbosity > LOG_WARNING:
        for line in show_dependencies(modules, facts, analysis.owners, options.prefix):
            host.stdout.write(line)
    return analysis


def _report_cycles(analysis: Analysis, log: Log) -> None:
    involved: set[int] = set()
    for cycle in analysis.cycles:
        involved.update(cycle[:-1])
        log.err(f"Cycle detected: {' -> '.join([analysis.modules[index].name for index in cycle])}")
    log.err(f"Found {len(involved)} modules in dependency cycles!")


def _write(
    finish: Callable[..., list[tuple[str, bytes]]],
    made: Mapping[str, Made],
    kept: Mapping[str, Messages],
    directory: str,
    log: Log,
) -> int:
    """Put the files that were made into the directory, where the others are."""
    try:
        make_directory(directory)
    except OSError as error:
        log.message(LOG_CRIT, f"could not create directory {directory}: {error.strerror}")
    try:
        publish(directory, finish(made, kept))
        if "modules.dep" in kept:
            touch(f"{directory}/modules.dep")  # what `depmod -A` goes by
    except OSError as error:
        log.message(LOG_ERR, f"Could not create index '{error.filename}': {error.strerror}")
        return 1
    except UkmodError as error:
        log.message(LOG_CRIT, f"Module index: {error}")
    return 0
