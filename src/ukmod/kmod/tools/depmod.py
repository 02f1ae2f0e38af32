"""depmod(8): write the files that modprobe reads."""

from __future__ import annotations

import errno
import gc
import os
from contextlib import suppress

from ukmod.errors import UkmodError, UsageError
from ukmod.kmod.depmod.analysis import analyse
from ukmod.kmod.depmod.config import CONFIG_DIRECTORIES, load_config
from ukmod.kmod.depmod.dependencies import (
    Checks,
    parse_symvers,
    parse_system_map,
    report_symbols,
    show_dependencies,
)
from ukmod.kmod.depmod.full import FullRun, make_all
from ukmod.kmod.depmod.incremental.cache import cache_path
from ukmod.kmod.depmod.incremental.update import RunRecord, keep, recall, remember, take_snapshot, update
from ukmod.kmod.depmod.order import module_order
from ukmod.kmod.depmod.output import Output
from ukmod.kmod.depmod.parts import ALIASES, LINKS, OTHERS, unpack
from ukmod.kmod.depmod.publish import make_directory, publish, touch
from ukmod.kmod.depmod.quick import is_up_to_date
from ukmod.kmod.depmod.reader import read_all
from ukmod.kmod.depmod.scan import Candidate, scan_tree, shown_path
from ukmod.kmod.host import LOG_CRIT, LOG_ERR, LOG_WARNING
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.regular import read_regular
from ukmod.kmod.tools import call
from ukmod.kmod.tools.depmod_options import DepmodOptions, is_version, parse_options
from ukmod.kmod.tools.log import ToolLog, program_name
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ukmod.kmod.depmod.analysis import Analysis
    from ukmod.kmod.depmod.config import DepmodConfig
    from ukmod.kmod.depmod.facts import Facts
    from ukmod.kmod.depmod.incremental.update import Snapshot, Update
    from ukmod.kmod.depmod.output import Made, Messages
    from ukmod.kmod.depmod.parts import Parts
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
    log = ToolLog(host, program_name(argv[0]))
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
    if os.path.isfile(options.root):
        from ukmod.kmod.tools.depmod_archive import index_archive

        return index_archive(options, host, log)
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
    job = _Job(options, dirname, f"{out_root}/{options.module_directory}/{release}", kernel, host, log)
    if files and not options.flags & {"a", "A"}:
        return _run(_warned_of(_named(files, dirname, log), job), job)
    config = load_config(release, options.config or CONFIG_DIRECTORIES, log.message)
    try:
        found = scan_tree(dirname, config, log.message)
    except OSError as error:
        log.message(LOG_CRIT, f"could not search modules: {error.strerror}")
        return 1
    found = _warned_of(found, job)
    if "no-cache" in options:
        return _run(found, job)
    path = cache_path(f"{dirname}\0{job.directory}", host.environ, privileged=os.geteuid() == 0) + ".run"
    snapshot = take_snapshot(found, dirname)
    if _may_remember(options, files):
        return _remembering(found, path, snapshot, config, job)
    return _run(found, job, recall(path, snapshot))


def _warned_of(modules: list[Candidate], job: _Job) -> list[Candidate]:
    """Return modules, after warnings of those that a kernel cannot unpack itself, if -w asks for them."""
    packed = [module for module in modules if not module.path.endswith(".ko")] if "w" in job.options else ()
    for module in packed:
        from ukmod.kmod.packing import kernel_faults

        with suppress(OSError), ModuleFile(module.path) as file:  # reading it as a module says why
            for text in kernel_faults(file):
                job.log.wrn(f"{module.path}: the kernel cannot unpack it itself: {text}")
    return modules


@record
class _Job:
    """One call of depmod: its options, the module directory, the one for its files, what the kernel exports,
    and where it says things.
    """

    options: DepmodOptions
    dirname: str
    directory: str
    kernel: Mapping[str, int]
    host: Host
    log: ToolLog


def _may_remember(options: DepmodOptions, files: Sequence[str]) -> bool:
    """Tell whether this run may use the files the last one made: only the plain kinds of it do."""
    special = options.flags - {"a", "A", "w"} or options.prefix or options.verbosity != LOG_WARNING or files
    return not special and options.symvers is None and options.system_map is None


def _run(found: list[Candidate], job: _Job, known: Mapping[str, Parts] | None = None) -> int:
    """Do all of it, and leave nothing for the next run; what is ``known`` of modules is not read again."""
    options = job.options
    known = known or {}
    modules = module_order(found, job.dirname, job.log.message)
    plan = FullRun(modules, job.dirname, known, warn_duplicates="w" in options)
    if options.flags & {"n", "e"}:
        analysis = _analyse(modules, _read(modules, known, job), job)
        output = plan.output(analysis, job.log.message)
        if "n" in options and not analysis.cycles:
            for _name, content in output.texts():
                job.host.stdout.write(content.decode("utf-8", "surrogateescape"))
            return 0
        made = {} if analysis.cycles else output.make(fork=True)
    else:
        full = make_all(plan, lambda facts: _analyse(modules, facts, job))
        output, made = plan.output(full.analysis, job.log.message), full.made
    if output.analysis.cycles:
        return 1
    status = _write(output.finish, made, {}, job)
    job.host.leave(status)
    return status


def _remembering(
    found: list[Candidate], path: str, snapshot: Snapshot, config: DepmodConfig, job: _Job
) -> int:
    """Do what changed since the run remembered at ``path``, or all of it, and remember that for the next."""
    searches = (config.searches, config.overrides, config.externals, sorted(config.excludes))
    key = (job.dirname, job.directory, searches, "w" in job.options)
    last = update(
        found, snapshot, job.dirname, job.directory, path, key, lambda some: read_all(some, fork=True)
    )
    done = _anew(found, path, snapshot, job) if last is None else _after(last, job)
    if done is None:
        return 1
    output, made, run = done
    kept = {name: messages for name, (_checksum, messages) in last.kept.items()} if last else {}
    status = _write(output.finish, made, kept, job)
    if status == 0 and run.parts_id:
        remember(path, key, snapshot, run, made, last)
    job.host.leave(status)
    return status


def _after(last: Update, job: _Job) -> tuple[Output, dict[str, Made], RunRecord] | None:
    """Make the files that are still to make after the last run; None if there are cycles."""
    for message in last.run.order_messages:
        job.log.message(*message)
    if last.analysis.cycles:
        _report_cycles(last.analysis, job.log)
        return None
    warn = "w" in job.options
    output = Output(last.analysis, job.dirname, warn_duplicates=warn, log=job.log.message, marks=True)
    return output, last.made | output.make(last.stale, fork=not last.made), last.run


def _anew(
    found: list[Candidate], path: str, snapshot: Snapshot, job: _Job
) -> tuple[Output, dict[str, Made], RunRecord] | None:
    """Make all files, and keep what the modules say; None if there are cycles."""
    messages: Messages = []
    modules = module_order(found, job.dirname, lambda *message: messages.append(message))
    for message in messages:
        job.log.message(*message)
    warn = "w" in job.options
    known = recall(path, snapshot)
    plan = FullRun(
        modules, job.dirname, known, lambda parts: keep(path, parts), warn_duplicates=warn, marks=True
    )
    full = make_all(plan, lambda facts: _analyse(modules, facts, job))
    if full.analysis.cycles:
        return None
    run = RunRecord(modules, full.analysis.direct, messages, full.kept, {})
    return plan.output(full.analysis, job.log.message), full.made, run


def _kernel(options: DepmodOptions, log: ToolLog) -> dict[str, int] | None:
    """Return what the kernel image exports, if the user has said where that is written."""
    path = options.symvers if options.symvers is not None else options.system_map
    if path is None:
        if "e" in options:
            log.wrn("-e needs -E or -F")
        return None
    try:
        text = read_regular(path).decode("utf-8", "surrogateescape")
    except OSError as error:
        log.message(LOG_CRIT, f"could not load {path}: {error.strerror}")
        return None
    parse = parse_system_map if options.symvers is None else parse_symvers
    return parse(text, path, options.prefix, log.message)


def _named(paths: Sequence[str], dirname: str, log: ToolLog) -> list[Candidate]:
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


def _read(modules: list[Candidate], known: Mapping[str, Parts], job: _Job) -> list[Facts]:
    """Return the facts of all modules; those of known modules lack CRCs."""
    crcs = "e" in job.options and job.options.symvers is not None
    if crcs or not known:
        return read_all(modules, crcs=crcs, fork=True)
    kinds = (LINKS, ALIASES, OTHERS)
    fresh = iter(read_all([module for module in modules if module.path not in known], fork=True))
    return [
        unpack([module], [known[module.path]], kinds)[0] if module.path in known else next(fresh)
        for module in modules
    ]


def _analyse(modules: list[Candidate], facts: Sequence[Facts], job: _Job) -> Analysis:
    """Work out who needs whom, and say what there is to say of it."""
    options, log = job.options, job.log
    for module, fact in zip(modules, facts, strict=True):
        if fact.failure:
            log.err(f"failed to load symbols from {module.path}: {os.strerror(fact.failure)}")
    checks = Checks(report="e" in options, versions=options.symvers is not None, prefix=options.prefix)
    analysis = analyse(modules, facts, job.kernel, options.prefix)
    if checks.report:
        report_symbols(modules, facts, analysis.owners, job.kernel, checks, log.message)
    if options.verbosity > LOG_WARNING:
        for line in show_dependencies(modules, facts, analysis.owners, options.prefix):
            job.host.stdout.write(line)
    if analysis.cycles:
        _report_cycles(analysis, log)
    return analysis


def _report_cycles(analysis: Analysis, log: ToolLog) -> None:
    involved: set[int] = set()
    for cycle in analysis.cycles:
        involved.update(cycle[:-1])
        log.err(f"Cycle detected: {' -> '.join([analysis.modules[index].name for index in cycle])}")
    log.err(f"Found {len(involved)} modules in dependency cycles!")


def _write(
    finish: Callable[..., list[tuple[str, bytes]]],
    made: Mapping[str, Made],
    kept: Mapping[str, Messages],
    job: _Job,
) -> int:
    """Put the files that were made into the directory, where the others are."""
    directory, log = job.directory, job.log
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
