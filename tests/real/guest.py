"""Runs a case on the real kernel: the case as a script for the guest, and what that wrote as outcomes."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
from collections.abc import Iterator

from tests.real.qemu import Guest, Output
from tests.steps import (
    SETTLE,
    Case,
    Insmod,
    Join,
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
begin() {{ dmesg -c >/dev/null; echo "@step $1"; }}
end() {{
    echo "@result $1"
    sed 's/^/@output /' /tmp/output
    usleep {int(SETTLE * 1e6)}
    dmesg -r >/tmp/log; sed 's/^/@log /' /tmp/log
    echo @end
}}
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


def run(guest: Guest, case: Case) -> tuple[Outcome, ...]:
    """Execute a case and return its outcomes, as many as there were before the machine died, if it did."""
    return tuple(_outcomes(case, guest.run(script(case))))


def script(case: Case) -> str:
    """The case in the guest's shell."""
    lines = [PRELUDE]
    lines += ["dmesg -n 8"] if case.dies else []  # everything to the console
    lines += [_file("/etc/modprobe.d/case.conf", case.config)] if case.config else []
    lines += [_install(program) for program in case.programs]
    jobs = 0
    for number, step in enumerate(case.steps):
        lines.append(f"begin {number}")
        match step:
            case Start(inner):
                lines.append(
                    f"{{ {_command(inner)}; echo $? >/tmp/status.{jobs}; }} >/tmp/output.{jobs} 2>&1 &"
                )
                lines.append(f"jobs=$jobs' '$!; : >/tmp/output; end {number} >/dev/null; end started")
                jobs += 1
            case Join():
                joined = "".join(f"cat /tmp/status.{job} /tmp/output.{job}; " for job in range(jobs))
                lines.append(f"wait $jobs; {{ {joined}}} >/tmp/output; end joined")
            case _:
                lines.append(f"{{ {_command(step)}; }} >/tmp/output 2>&1; end $?")
    return "\n".join(lines)


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
        case Read(path):
            return f"cat {shlex.quote(path)}"
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
        body += [f"printf {kmsg} \"env=$(busybox tr '\\0' ' ' </proc/$$/environ)\" >/dev/kmsg"]
    body += [f"busybox usleep {int(program.sleep * 1e6)}"] if program.sleep else []
    body += [shlex.join(("/sbin/modprobe", *program.load))] if program.load else []
    body += [f"printf {kmsg} {shlex.quote(program.log)} >/dev/kmsg"] if program.log else []
    body += [f"kill -{program.signal} $$"] if program.signal else []
    body += [f"exit {program.status}"]
    return _file(program.path, "\n".join(body) + "\n", "755" if program.executable else "644")


def _outcomes(case: Case, output: Output) -> Iterator[Outcome]:
    chunks = output.text.replace("\r", "").split("@step ")[1:]
    for step, chunk in zip(case.steps, chunks, strict=False):
        lines = chunk.splitlines()
        tagged = [line.partition(" ") for line in lines[1:]]
        of = {
            tag: [text for found, _, text in tagged if found == tag] for tag in ("@result", "@output", "@log")
        }
        status = of["@result"][0] if of["@result"] else ""
        result, kept = _result(step, status, of["@output"])
        log = tuple(_log_line(text) for text in of["@log"])
        if not lines or lines[-1] != "@end":
            log = (*log, *_console(output.console))
        yield Outcome(describe(step), result, tuple(line.rstrip() for line in kept), log)


def _result(step: Step, status: str, output: list[str]) -> tuple[str, list[str]]:
    """The result of a step, from its exit status and what it wrote, and what of the latter is its output."""
    match step:
        case Start():
            return status, []
        case Join():
            return "joined", output
        case Insmod() | Rmmod() | Sysctl() | Write() | Read():
            return (_errno(status, output), output if isinstance(step, Read) and status == "0" else [])
    return status, output


def _errno(status: str, output: list[str]) -> str:
    if status in {"", "0"}:
        return status
    if int(status) > 128:
        return signal.Signals(int(status) - 128).name
    text = output[-1].rpartition(": ")[2] if output else ""
    if text.startswith("Unknown error "):
        return f"-{text.rpartition(' ')[2]}"
    if text in _ERRORS:
        return f"-{errno.errorcode[_ERRORS[text]]}"
    return f"{status} {text}".rstrip()


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
