"""kmod static-nodes: the device nodes that load a module when they are opened, from modules.devname."""

from __future__ import annotations

import errno
import os
import re

from ukmod.errors import UsageError
from ukmod.kmod.tools import call
from ukmod.kmod.tools.common import default_dirname
from ukmod.kmod.tools.getopt import LongOption, getopt
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ukmod.kmod.host import Host

__all__ = ["StaticNode", "main", "parse_devname"]

_LONG = (
    LongOption("output", "o", takes_value=True),
    LongOption("format", "f", takes_value=True),
    LongOption("help", "h"),
)

_HELP = """\
Usage:
\tkmod static-nodes [options]

kmod static-nodes outputs the static-node information of the currently running kernel.

Options:
\t-f, --format=FORMAT  choose format to use: see "Formats"
\t-o, --output=FILE    write output to file
\t-h, --help           show this help

Formats:
\thuman        (default) a human readable format. Do not parse.
\ttmpfiles     the tmpfiles.d(5) format used by systemd-tmpfiles.
\tdevname      the modules.devname format.
"""

# What sscanf(3) makes of "%s %s %c%u:%u".
_ENTRY = re.compile(r"\s*(\S+)\s+(\S+)\s+([cb])\s*\+?(\d+):\s*\+?(\d+)", re.ASCII)


@record
class StaticNode:
    """One line of modules.devname: opening ``/dev/PATH`` loads ``module``. ``type`` is ``c`` or ``b``."""

    module: str
    path: str
    type: str
    major: int
    minor: int


def parse_devname(text: str) -> Iterator[StaticNode | str]:
    """Yield the entries of modules.devname; any other line is yielded unchanged."""
    for line in text.splitlines(keepends=True):
        if line.startswith("#"):
            continue
        match = _ENTRY.match(line)
        if match is None:
            yield line
        else:
            module, path, kind, major, minor = match.groups()
            yield StaticNode(module, path, kind, int(major), int(minor))


def _human(node: StaticNode) -> str:
    kind = "character" if node.type == "c" else "block"
    return (
        f"Module: {node.module}\n\tDevice node: /dev/{node.path}\n"
        f"\t\tType: {kind} device\n\t\tMajor: {node.major}\n\t\tMinor: {node.minor}\n"
    )


def _tmpfiles(node: StaticNode) -> str:
    """Return lines of tmpfiles.d(5): ``!`` keeps them to the time of boot."""
    directory = node.path.rpartition("/")[0]
    parent = f"d /dev/{directory} 0755 - - -\n" if directory else ""
    return f"{parent}{node.type}! /dev/{node.path} 0600 - - - {node.major}:{node.minor}\n"


def _devname(node: StaticNode) -> str:
    return f"{node.module} {node.path} {node.type}{node.major}:{node.minor}\n"


_FORMATS: dict[str, Callable[[StaticNode], str]] = {
    "human": _human,
    "tmpfiles": _tmpfiles,
    "devname": _devname,
}


def main(argv: Sequence[str], host: Host) -> int:
    """Run ``kmod static-nodes``; ``argv[0]`` is the command's name. Returns its exit status, 0 or 1."""
    return call(_static_nodes, argv, host)


def _static_nodes(argv: Sequence[str], host: Host) -> int:
    output = None
    show = _FORMATS["human"]
    try:
        for key, value in getopt(argv, "o:f:h", _LONG, posix="POSIXLY_CORRECT" in host.environ):
            if key == "h":
                host.stdout.write(_HELP)
                return 0
            if key == "o":
                output = value
            elif key == "f":
                if value not in _FORMATS:
                    host.stderr.write(f"Unknown format: '{value}'.\n")
                    host.stdout.write(_HELP)
                    return 1
                show = _FORMATS[value]
    except UsageError as error:
        host.stderr.write(f"{argv[0]}: {error.message}\n")
        return 1
    path = f"{default_dirname(host)}/modules.devname"
    try:
        text = os.fsdecode(host.files.read(path))
    except FileNotFoundError:
        host.stderr.write(f"Warning: {path} not found - ignoring\n")
        return 0
    except OSError as error:
        host.stderr.write(f"Error: could not open {path} - {error.strerror}\n")
        return 1
    status, parts = 0, []
    for entry in parse_devname(text):
        if isinstance(entry, str):
            host.stderr.write(f"Error: invalid devname entry: {entry}")
            status = 1
        else:
            parts.append(show(entry))
    if output is None:
        host.stdout.write("".join(parts))
        return status
    return _write(host, output, "".join(parts)) or status


def _write(host: Host, path: str, text: str) -> int:
    """Write a file and make its directories; 1, with a message, if that fails.

    The file is written in place, as by kmod: its name may be a link or a device.
    """
    real = host.files.real(path)
    try:
        os.makedirs(os.path.dirname(real) or ".", mode=0o755, exist_ok=True)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EINVAL)
        host.stderr.write(f"Error: could not create parent directory for {path} - {reason}.\n")
        return 1
    try:
        with open(real, "wb") as file:
            file.write(os.fsencode(text))
    except OSError as error:
        host.stderr.write(f"Error: could not create {path} - {error.strerror}\n")
        return 1
    return 0
