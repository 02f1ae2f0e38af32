"""Runs a case on the real kernel: the case as a script for the guest, and what that wrote as outcomes."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
from collections import defaultdict
from collections.abc import Iterator

from tests.real.qemu import SCRIPT_SECONDS, Guest, Output
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

PRELUDE = f"""\
export PATH=/sbin:/bin
busybox --install -s /bin
tree=/lib/modules/$(uname -r)/extra
end() {{
    echo "@result $1"
    sed 's/^/@output /' /tmp/output
    usleep {int(SETTLE * 1e6)}
    dmesg -r -c >/tmp/log; sed 's/^/@log /' /tmp/log
    echo @end
}}
dmesg -c >/dev/null
"""
_RECORD = re.compile(r"<(\d+)>\[ *\d+\.\d+\] ?(.*)")

# What C kmod's insmod and busybox's shell say for an errno, where that is not strerror()'s text.
_OTHER_WORDS = {
    "nonexistent directory": errno.ENOENT,
    "Invalid module format": errno.ENOEXEC,
    "Unknown symbol in module": errno.ENOENT,
    "Module has wrong symbol version": errno.ESRCH,
    "Invalid parameters": errno.EINVAL,
}
_ERRORS = {os.strerror(number): number for number in errno.errorcode} | _OTHER_WORDS


def run(guest: Guest, case: Case, *, seconds: float = SCRIPT_SECONDS) -> tuple[Outcome, ...]:
    """Execute a case and return its outcomes, as many as there were before the machine died, if it did.

    A machine that has not finished after ``seconds`` of wall time is ended.
    """
    return tuple(_outcomes(case, guest.run(script(case), seconds=seconds)))


def script(case: Case) -> str:
    """The case in the guest's shell."""
    lines = [PRELUDE]
    lines += ["dmesg -n 8"] if case.dies else []  # everything to the console
    lines += setting(case)
    jobs = 0
    for step in case.steps:
        lines.append("echo @step; : >/tmp/output")
        match step:
            case Start(inner):
                job = f"/tmp/job.{jobs}"
                lines.append(f"{{ {_command(inner)}; echo $? >{job}.status; }} >{job} 2>&1 & end started")
                jobs += 1
            case Join():
                lines.append("wait")
                lines += [
                    f'echo "@job $(cat /tmp/job.{job}.status) $(cat /tmp/job.{job})"' for job in range(jobs)
                ]
                lines.append("end joined")
                jobs = 0
            case _:
                lines.append(f"{{ {_command(step)}; }} >/tmp/output 2>&1; end $?")
    return "\n".join(lines)


def setting(case: Case) -> list[str]:
    """Commands that make a case's configuration and its programs."""
    config = [_file("/etc/modprobe.d/case.conf", case.config)] if case.config else []
    return config + [_install(program) for program in case.programs]


def _command(step: Step) -> str:
    match step:
        case Insmod(module, params):
            return f"/sbin/insmod $tree/{module}.ko {shlex.quote(params) if params else ''}"
        case Rmmod(module):
            return f"/sbin/rmmod {shlex.quote(module)}"
        case Modprobe(args):
            return shlex.join(("/sbin/modprobe", *args))
        case Sleep(seconds):
            return f"usleep {int(seconds * 1e6)}"
        case Sysctl(name, value):
            return f"echo {shlex.quote(value)} >/proc/sys/{name.replace('.', '/')}"
        case Write(path, text):
            return f"echo {shlex.quote(text)} >{shlex.quote(path)}"
        case Kill(program, number):
            return f"killall -{number} {shlex.quote(program)}"
        case Read(path):
            return f"cat {shlex.quote(path)}"
        case List(path):
            return f"ls -A {shlex.quote(path)}"
    raise TypeError(f"{step} has no command of its own")


def _file(path: str, text: str, mode: str = "644") -> str:
    return f"mkdir -p {os.path.dirname(path)}; printf %s {shlex.quote(text)} >{path}; chmod {mode} {path}"


def _install(program: Program) -> str:
    name = os.path.basename(program.path)
    kmsg = f'"<5>{name}: %s\\n"'
    body = ["#!/bin/sh"]
    if program.say:
        # argv[0] is lost to the #! line; the kernel gives the file's path there, as its callers do.
        body += [f'printf {kmsg} "argv=$0 $*" >/dev/kmsg']
        body += [f"printf {kmsg} \"env=$(tr '\\0' ' ' </proc/$$/environ | sed 's/ $//')\" >/dev/kmsg"]
        body += [f'printf {kmsg} "cwd=$(pwd)" >/dev/kmsg']
    body += [f"usleep {int(program.sleep * 1e6)}"] if program.sleep else []
    body += [shlex.join(("/sbin/modprobe", *program.load))] if program.load else []
    body += [f"printf {kmsg} {shlex.quote(program.log)} >/dev/kmsg"] if program.log else []
    body += [f"kill -{program.signal} $$"] if program.signal else []
    body += [f"exit {program.status}"]
    return _file(program.path, "\n".join(body) + "\n", "755" if program.executable else "644")


def _outcomes(case: Case, output: Output) -> Iterator[Outcome]:
    started: list[Step] = []
    for step, chunk in zip(case.steps, output.text.replace("\r", "").split("@step\n")[1:], strict=False):
        said = _by_tag(chunk)
        status, lines = "".join(said["@result"]), said["@output"]
        result = _result(step, status, "".join(lines[-1:]))
        match step:
            case Start(inner):
                started.append(inner)
            case Join() if status:
                jobs = (job.split(" ", 1) for job in said["@job"])
                result = " ".join(_result(inner, *job) for inner, job in zip(started, jobs, strict=True))
                started.clear()
        if not isinstance(step, Modprobe | Read | List) or (isinstance(step, Read | List) and status != "0"):
            lines = []
        log = [_log_line(text) for text in said["@log"]]
        if "@end" not in said:
            log += _console(output.console)
        yield Outcome(describe(step), result, tuple(line.rstrip() for line in lines), tuple(log))


def _by_tag(chunk: str) -> defaultdict[str, list[str]]:
    """What the guest said of one step."""
    said = defaultdict(list)
    for line in chunk.splitlines():
        tag, _, text = line.partition(" ")
        said[tag].append(text)
    return said


def _result(step: Step, status: str, message: str) -> str:
    """A step's result, from the exit status of its command and the last line that it wrote."""
    if status in {"", "0"} or isinstance(step, Modprobe | Start | Join):
        return status
    if int(status) > 128:
        return signal.Signals(int(status) - 128).name
    text = message.rpartition(": ")[2]
    if text.startswith("Unknown error "):
        return f"-{text.rpartition(' ')[2]}"
    if text in _ERRORS:
        return f"-{errno.errorcode[_ERRORS[text]]}"
    raise ValueError(f"{describe(step)}: exit status {status}, and no errno is known for {message!r}")


def _log_line(text: str) -> LogLine:
    found = _RECORD.fullmatch(text)
    if found is None:
        raise ValueError(f"not a line of dmesg -r: {text!r}")
    return LogLine(int(found[1]) & 7, found[2])


def _console(console: str) -> Iterator[LogLine]:
    """The last words of a machine that died; the console has no levels, 0 is put for them."""
    for line in console.replace("\r", "").splitlines():
        found = re.fullmatch(r"\[ *\d+\.\d+\] ?(.*)", line)
        if found:
            yield LogLine(0, found[1])
