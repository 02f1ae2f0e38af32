"""depmod's command line."""

from __future__ import annotations

from ukmod.kmod.host import LOG_CRIT, LOG_WARNING
from ukmod.kmod.tools.getopt import LongOption, getopt
from ukmod.kmod.tools.log import ToolLog, program_name, version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.host import Host

__all__ = ["DepmodOptions", "is_version", "parse_options"]

_SHORT = "aAb:m:o:C:E:F:evnP:wVh"
_LONG = (
    LongOption("all", "a"),
    LongOption("quick", "A"),
    LongOption("basedir", "b", takes_value=True),
    LongOption("moduledir", "m", takes_value=True),
    LongOption("outdir", "o", takes_value=True),
    LongOption("config", "C", takes_value=True),
    LongOption("symvers", "E", takes_value=True),
    LongOption("filesyms", "F", takes_value=True),
    LongOption("errsyms", "e"),
    LongOption("verbose", "v"),
    LongOption("show", "n"),
    LongOption("dry-run", "n"),
    LongOption("symbol-prefix", "P", takes_value=True),
    LongOption("warn", "w"),
    LongOption("version", "V"),
    LongOption("help", "h"),
    LongOption("no-cache", "no-cache"),  # ours
)
_USAGE = """\
Usage:
\t{0} -[aA] [options] [forced_version]

If no arguments (except options) are given, "depmod -a" is assumed

depmod will output a dependency list suitable for the modprobe utility.

Options:
\t-a, --all            Probe all modules
\t-A, --quick          Only does the work if there's a new module
\t-e, --errsyms        Report not supplied symbols
\t-n, --show           Write the dependency file on stdout only
\t-P, --symbol-prefix  Architecture symbol prefix
\t-C, --config=PATH    Read configuration from PATH
\t-v, --verbose        Enable verbose mode
\t-w, --warn           Warn on duplicates
\t-V, --version        show version
\t-h, --help           show this help

The following options are useful for people managing distributions:
\t-b, --basedir=DIR    Root path (default: /).
\t-m, --moduledir=DIR  Module directory (default: /lib/modules).
\t-o, --outdir=DIR     Output root path (default: same as <basedir>).
\t-F, --filesyms=FILE  Use the file instead of the
\t                     current kernel symbols.
\t-E, --symvers=FILE   Use Module.symvers file to check
\t                     symbol versions.
"""


class DepmodOptions:
    """The command line, taken apart."""

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.root = ""
        self.out_root: str | None = None
        self.module_directory = "lib/modules"
        self.config: list[str] = []
        self.symvers: str | None = None
        self.system_map: str | None = None
        self.prefix = ""
        self.verbosity = LOG_WARNING
        self.words: list[str] = []

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags


def parse_options(argv: Sequence[str], host: Host, log: ToolLog) -> DepmodOptions | None:
    """Return the options, None if ``-h`` or ``-V`` was one and is done; UsageError for what is none."""
    options = DepmodOptions()
    for key, value in getopt(argv, _SHORT, _LONG, posix="POSIXLY_CORRECT" in host.environ):
        match key:
            case "":
                options.words.append(value)
            case "b":
                options.root = _absolute(value, host)
            case "m":
                options.module_directory = value.lstrip("/")  # always below the roots
            case "o":
                options.out_root = _absolute(value, host)
            case "C":
                options.config.append(value)
            case "E":
                options.symvers = value
            case "F":
                options.system_map = value
            case "P":
                if len(value) != 1:
                    log.message(LOG_CRIT, "-P only takes a single char")
                options.prefix = value
            case "h" | "V":
                host.stdout.write(_USAGE.format(program_name(argv[0])) if key == "h" else version_text())
                return None
            case _:
                options.flags.add(key)
                options.verbosity += key == "v"
    return options


def _absolute(path: str, host: Host) -> str:
    return path if path.startswith("/") else f"{host.getcwd()}/{path}"


def is_version(text: str) -> bool:
    """Tell whether a word begins with ``NUMBER.NUMBER``."""
    major, dot, minor = text.lstrip().partition(".")
    return bool(dot) and major.isascii() and major.isdigit() and minor[:1].isascii() and minor[:1].isdigit()
