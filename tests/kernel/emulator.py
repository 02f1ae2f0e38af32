"""Executes a case (tests/steps.py) in the emulated kernel, as tests/real/guest.py does in a real one."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.golden import RELEASE, modules
from tests.steps import (
    SETTLE,
    Case,
    Insmod,
    Join,
    Kill,
    List,
    LogLine,
    Modprobe,
    Outcome,
    Program,
    Read,
    Rmmod,
    Sleep,
    Start,
    Step,
    Sysctl,
    Write,
)
from tests.transcript import describe

from ukmod.errors import KernelPanic
from ukmod.kernel.api import Kernel
from ukmod.kernel.sched.core import Task
from ukmod.kmod.directory import DirectoryFiles
from ukmod.kmod.linux import LinuxHost, Stream
from ukmod.kmod.tools import depmod as tools_depmod
from ukmod.kmod.tree import Tree
from ukmod.userland import Process
from ukmod.userland import Program as Main

O_NONBLOCK = 0o4000
_NOT_FOUND = 127


@dataclass(slots=True)
class Job:
    """A step under way: the process that does it, and what it came to."""

    step: Step
    task: Task
    result: str = ""
    output: list[str] = field(default_factory=list)

    def outcome(self) -> str:
        """The result; if the process died of a signal, its name, or modprobe's status as a shell has it."""
        if self.task.exited and (died := self.task.exit_code & 0x7F):
            return str(128 + died) if isinstance(self.step, Modprobe) else signal.Signals(died).name
        return self.result


def tree(root: Path, config: str, files: Mapping[str, Path] | None = None, release: str = RELEASE) -> Tree:
    """A module tree at ``root`` with every compiled module, and ``config`` as its modprobe.d.

    ``files`` are others, by their names, which were compiled for the kernel ``release``.
    """
    directory = f"/lib/modules/{release}"
    extra = root / directory[1:] / "extra"
    extra.mkdir(parents=True)
    for name, file in (modules() if files is None else files).items():
        (extra / f"{name}.ko").symlink_to(file)
    (root / "modprobe.d").mkdir()
    (root / "modprobe.d" / "case.conf").write_text(config)
    depmod(root, release)
    return Tree(directory, DirectoryFiles(str(root)), config_paths=("/modprobe.d",))


def depmod(root: Path, release: str = RELEASE) -> None:
    """Index the tree below ``root``. It has no modules.order and modules.builtin, of which depmod warns."""
    host = LinuxHost()
    host.stderr = Stream(os.open(os.devnull, os.O_WRONLY))
    if tools_depmod.main(["depmod", "-b", str(root), release], host):
        raise AssertionError("depmod failed")


def run(case: Case, root: Path) -> tuple[Outcome, ...]:
    """What a case comes to. ``root`` is an empty directory to build its module tree in."""
    with Kernel(tree=tree(root, case.config), strict_modprobe=True) as k:
        for program in case.programs:
            k.install(program.path, _main(program) if program.executable else None)
        return tuple(_outcomes(k, case))


def _outcomes(k: Kernel, case: Case, files: Mapping[str, Path] | None = None) -> Iterator[Outcome]:
    files = modules() if files is None else files
    k.boot(files.values())
    jobs: list[Job] = []
    seen = 0
    for step in case.steps:
        result: str = ""
        output: tuple[str, ...] = ()
        try:
            result, output = _do(k, step, jobs, files)
            k.run(SETTLE)
        except KernelPanic:
            result = ""
        records = [record for record in k.core.log.records if record.seq >= seen]
        seen = records[-1].seq + 1 if records else seen
        log = tuple(LogLine(record.level, line) for record in records for line in record.lines)
        yield Outcome(describe(step), result, tuple(line.rstrip() for line in output), log)
        if not result:
            return


def _do(k: Kernel, step: Step, jobs: list[Job], files: Mapping[str, Path]) -> tuple[str, tuple[str, ...]]:
    match step:
        case Sleep(seconds):
            k.run(seconds)
            return "0", ()
        case Start(inner):
            jobs.append(_begin(k, inner, files))
            return "started", ()
        case Kill(program, number):
            for task in k.core.tasks.all():
                if k.core.tasks.comm(task) == program:
                    k.core.signals.send(task, number)
            return "0", ()
        case Join():
            k.core.sched.run(lambda: all(job.task.exited for job in jobs))
            result = " ".join(job.outcome() for job in jobs)
            jobs.clear()
            return result, ()
    job = _begin(k, step, files)
    k.core.sched.run(lambda: job.task.exited, k.core.clock.now + 200 * 10**9)
    return job.outcome(), tuple(job.output)


def _begin(k: Kernel, step: Step, files: Mapping[str, Path]) -> Job:
    """Start the process that does a step, as the shell would."""
    core = k.core
    works: dict[type, Callable[[Process], int]] = {}
    match step:
        case Insmod(module, params):
            file = files[module]
            works[Insmod] = lambda p: _none(p.sys.finit_module(str(file), file.read_bytes(), params, 0))
        case Rmmod(module):
            works[Rmmod] = lambda p: _none(p.sys.delete_module(module, O_NONBLOCK))
        case Sysctl(name, value):
            works[Sysctl] = lambda p: _none(
                p.sys.write_proc("/proc/sys/" + name.replace(".", "/"), value + "\n")
            )
        case Write(path, text):

            def write(process: Process) -> int:
                try:
                    process.sys.write_proc(path, text + "\n")
                except FileNotFoundError as error:
                    # A shell's > would create the file, which these file systems do not permit.
                    raise PermissionError(errno.EACCES, "cannot create", path) from error
                return 0

            works[Write] = write
        case Read(path):
            works[Read] = lambda p: _none(p.output.append(p.sys.read_proc(path)))
        case List(path):
            works[List] = lambda p: _none(
                p.output.extend(f"{name}\n" for name in sorted(p.sys.list_proc(path)))
            )
        case Modprobe(args):
            main = k.programs.exec("/sbin/modprobe")

            def modprobe(process: Process) -> int:
                process.argv = ("/sbin/modprobe", *args)
                return main(process)

            works[Modprobe] = modprobe
    work = works[type(step)]
    comm = type(step).__name__.lower()
    output: list[str] = []

    def program(process: Process) -> int:
        process.output = output
        try:
            status = work(process)
        except OSError as error:
            job.result = f"-{errno.errorcode.get(error.errno or 0, str(error.errno))}"
            status = 1
        else:
            job.result = str(status)
        job.output = "".join(output).splitlines()
        return status

    environ = ("PATH=/sbin:/usr/sbin:/bin:/usr/bin",)
    task = core.processes.fork(comm, lambda: core.processes.execve(program, comm, (comm,), environ))
    job = Job(step, task)
    return job


def _none(_: object) -> int:
    return 0


def _main(program: Program) -> Main:
    """A helper that does what the case says."""
    name = os.path.basename(program.path)

    def main(process: Process) -> int:
        sys = process.sys
        if program.say:
            sys.log(f"<5>{name}: argv={' '.join(process.argv)}")
            sys.log(f"<5>{name}: env={' '.join(process.environ)}")
            sys.log(f"<5>{name}: cwd={process.cwd}")
        if program.sleep:
            sys.nanosleep(round(program.sleep * 1e9))
        if program.load:
            sys.spawn("/sbin/modprobe", ("/sbin/modprobe", *program.load), process.env)
        if program.log:
            sys.log(f"<5>{name}: {program.log}")
        if program.signal:
            sys.kill(sys.getpid(), program.signal)
        return program.status

    return main
