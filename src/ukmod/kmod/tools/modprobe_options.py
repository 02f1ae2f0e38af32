"""modprobe's command line."""

from __future__ import annotations

from ukmod.kmod.host import INIT_IGNORE_MODVERSIONS, INIT_IGNORE_VERMAGIC, LOG_CRIT, LOG_EMERG, LOG_WARNING
from ukmod.kmod.tools.getopt import LongOption, getopt
from ukmod.kmod.tools.log import version_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.host import Host
    from ukmod.kmod.tools.log import ToolLog

__all__ = ["ModprobeRequest", "environment_options", "parse_request"]

_SHORT = "arw:RibfDcnC:d:S:sqvVh"
_LONG = (
    LongOption("all", "a"),
    LongOption("remove", "r"),
    LongOption("remove-dependencies", "remove-holders"),
    LongOption("remove-holders", "remove-holders"),
    LongOption("wait", "w", takes_value=True),
    LongOption("resolve-alias", "R"),
    LongOption("first-time", "first-time"),
    LongOption("ignore-install", "i"),
    LongOption("ignore-remove", "i"),
    LongOption("use-blacklist", "b"),
    LongOption("force", "f"),
    LongOption("force-modversion", "force-modversion"),
    LongOption("force-vermagic", "force-vermagic"),
    LongOption("show-depends", "D"),
    LongOption("showconfig", "c"),
    LongOption("show-config", "c"),
    LongOption("show-modversions", "show-modversions"),
    LongOption("dump-modversions", "show-modversions"),
    LongOption("show-exports", "show-exports"),
    LongOption("dry-run", "n"),
    LongOption("show", "n"),
    LongOption("config", "C", takes_value=True),
    LongOption("dirname", "d", takes_value=True),
    LongOption("set-version", "S", takes_value=True),
    LongOption("syslog", "s"),
    LongOption("quiet", "q"),
    LongOption("verbose", "v"),
    LongOption("version", "V"),
    LongOption("help", "h"),
    LongOption("json", "json"),  # ours
)
_USAGE = """\
Usage:
\t{0} [options] [-i] [-b] modulename
\t{0} [options] -a [-i] [-b] modulename [modulename...]
\t{0} [options] -r [-i] modulename
\t{0} [options] -r -a [-i] modulename [modulename...]
\t{0} [options] -c
\t{0} [options] --dump-modversions filename
Management Options:
\t-a, --all                   Consider every non-argument to
\t                            be a module name to be inserted
\t                            or removed (-r)
\t-r, --remove                Remove modules instead of inserting
\t    --remove-dependencies   Deprecated: use --remove-holders
\t    --remove-holders        Also remove module holders (use together with -r)
\t-w, --wait=<MSEC>           When removing a module, wait up to MSEC for
\t                            module's refcount to become 0 so it can be
\t                            removed (use together with -r)
\t    --first-time            Fail if module already inserted or removed
\t-i, --ignore-install        Ignore install commands
\t-i, --ignore-remove         Ignore remove commands
\t-b, --use-blacklist         Apply blacklist to resolved alias.
\t-f, --force                 Force module insertion or removal.
\t                            implies --force-modversions and
\t                            --force-vermagic
\t    --force-modversion      Ignore module's version
\t    --force-vermagic        Ignore module's version magic

Query Options:
\t-R, --resolve-alias         Only lookup and print alias and exit
\t-D, --show-depends          Only print module dependencies and exit
\t-c, --showconfig            Print out known configuration and exit
\t-c, --show-config           Same as --showconfig
\t    --show-modversions      Dump module symbol version and exit
\t    --dump-modversions      Same as --show-modversions
\t    --show-exports          Only print module exported symbol versions and exit

General Options:
\t-n, --dry-run               Do not execute operations, just print out
\t-n, --show                  Same as --dry-run
\t-C, --config=FILE           Use FILE instead of default search paths
\t-d, --dirname=DIR           Use DIR as filesystem root for /lib/modules
\t-S, --set-version=VERSION   Use VERSION instead of `uname -r`
\t-s, --syslog                print to syslog, not stderr
\t-q, --quiet                 disable messages
\t-v, --verbose               enables more messages
\t-V, --version               show version
\t-h, --help                  show this help
"""


class ModprobeRequest:
    """The parsed command line."""

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.config_paths: list[str] = []
        self.root: str | None = None
        self.release: str | None = None
        self.wait_msec = 0
        self.verbose = LOG_WARNING
        self.words: list[str] = []

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags

    @property
    def shows(self) -> bool:
        """Whether steps are printed."""
        return "D" in self.flags or self.verbose > LOG_WARNING

    @property
    def dry_run(self) -> bool:
        """Whether nothing is done."""
        return bool(self.flags & {"D", "n"})

    @property
    def force(self) -> int:
        """The flags for finit_module."""
        modversion = bool(self.flags & {"f", "force-modversion"})
        vermagic = bool(self.flags & {"f", "force-vermagic"})
        return modversion * INIT_IGNORE_MODVERSIONS | vermagic * INIT_IGNORE_VERMAGIC

    @property
    def failure(self) -> int:
        """How urgent it is that a module is missing: with --all, the others still have their turn."""
        return LOG_WARNING if "a" in self.flags else LOG_CRIT


def parse_request(argv: Sequence[str], host: Host, log: ToolLog, program: str) -> ModprobeRequest | int:
    """Understand a command line, the options in $MODPROBE_OPTIONS first.

    An exit status stands for a request that is already met, or makes no sense. UsageError, with the C
    library's message, for what is no option.
    """
    request = ModprobeRequest()
    arguments = [argv[0], *environment_options(host.environ.get("MODPROBE_OPTIONS", "")), *argv[1:]]
    for key, value in getopt(arguments, _SHORT, _LONG, posix="POSIXLY_CORRECT" in host.environ):
        if key == "V":
            host.stdout.write(version_text())
            return 0
        if key == "h":
            host.stdout.write(_USAGE.format(program))
            return 0
        if not _take(request, key, value, host, log):
            return 1
    return request


def _take(request: ModprobeRequest, key: str, value: str, host: Host, log: ToolLog) -> bool:
    """Take one option or word; False if it makes no sense."""
    if key == "":
        request.words.append(value)
    elif key == "w":
        wait_msec = _c_unsigned(value)
        if wait_msec is None:
            log.err(f"unexpected wait value '{value}'.")
            return False
        request.wait_msec = wait_msec
    elif key == "C":
        request.config_paths.append(value)
        _hand_down(host, "-C")
        _hand_down(host, value)
    elif key == "d":
        request.root = value
    elif key == "S":
        request.release = value
    else:
        request.flags.add("r" if key == "remove-holders" else key)
        request.flags.add(key)
        if key in "sqv":
            _hand_down(host, f"-{key}")
        if key == "q":
            request.verbose = LOG_EMERG
        elif key == "v":
            request.verbose += 1
    return True


def _hand_down(host: Host, option: str) -> None:
    """Let a modprobe that an install command starts have the same option."""
    old = host.environ.get("MODPROBE_OPTIONS")
    host.environ["MODPROBE_OPTIONS"] = option if old is None else f"{old} {option}"


def environment_options(text: str) -> list[str]:
    """Split $MODPROBE_OPTIONS at spaces; quotes keep them, and are left out where they are closed."""
    options: list[str] = []
    word = ""
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == " ":
            options.append(word)
            word = ""
        elif char in "\"'" and (end := text.find(char, at)) >= 0:
            if word:
                word += text[at:end]
            else:
                options.append(text[at:end])
            at = end + 1
        elif char in "\"'":
            word += text[at - 1 :]
            break
        else:
            word += char
    return [*options, word] if word else options


def _c_unsigned(text: str) -> int | None:
    """Read a number as strtoul(3) with base 0 does; None if it is not one, or too large."""
    stripped = text.lstrip(" \t\n\v\f\r")
    sign = -1 if stripped.startswith("-") else 1
    digits = stripped[1:] if stripped[:1] in {"-", "+"} else stripped
    base = 16 if digits[:2] in {"0x", "0X"} else 8 if digits.startswith("0") else 10
    if "_" in digits or not digits[:1].isalnum():
        return None
    try:
        number = int(digits, base)
    except ValueError:
        return None
    return number * sign % 2**64 if number < 2**64 else None
