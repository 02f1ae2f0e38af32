"""modprobe(8): load a module and what it needs, or unload it."""

from __future__ import annotations

import errno
import os

from ukmod.errors import LoadError, UkmodError, UsageError
from ukmod.kmod.context import Context
from ukmod.kmod.host import (
    DELETE_FORCE,
    DELETE_NONBLOCK,
    INIT_IGNORE_MODVERSIONS,
    INIT_IGNORE_VERMAGIC,
    LOG_CRIT,
    LOG_EMERG,
    LOG_ERR,
    LOG_INFO,
    LOG_WARNING,
)
from ukmod.kmod.insert import carry_out
from ukmod.kmod.loaded import SysModules
from ukmod.kmod.plans import plan_target, resolve
from ukmod.kmod.tools import call
from ukmod.kmod.tools.common import options_text
from ukmod.kmod.tools.getopt import Option, getopt
from ukmod.kmod.tools.log import Log, program_name, version_text
from ukmod.kmod.tree import MODULE_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ukmod.kmod.context import Module
    from ukmod.kmod.elf import Elf
    from ukmod.kmod.host import Host
    from ukmod.kmod.plans import Step
    from ukmod.kmod.remove import RemovalStep

__all__ = ["main"]

_SHORT = "arw:RibfDcnC:d:S:sqvVh"
_LONG = (
    Option("all", "a"),
    Option("remove", "r"),
    Option("remove-dependencies", "remove-dependencies"),
    Option("remove-holders", "remove-holders"),
    Option("wait", "w", takes_value=True),
    Option("resolve-alias", "resolve-alias"),
    Option("show-alias", "R"),
    Option("first-time", "first-time"),
    Option("ignore-install", "i"),
    Option("ignore-remove", "i"),
    Option("use-blacklist", "b"),
    Option("force", "f"),
    Option("force-modversion", "force-modversion"),
    Option("force-vermagic", "force-vermagic"),
    Option("show-depends", "D"),
    Option("showconfig", "showconfig"),
    Option("show-config", "c"),
    Option("show-modversions", "show-modversions"),
    Option("dump-modversions", "dump-modversions"),
    Option("show-exports", "show-exports"),
    Option("dry-run", "n"),
    Option("show", "show"),
    Option("config", "C", takes_value=True),
    Option("dirname", "d", takes_value=True),
    Option("set-version", "S", takes_value=True),
    Option("syslog", "s"),
    Option("quiet", "q"),
    Option("verbose", "v"),
    Option("version", "V"),
    Option("help", "h"),
    Option("json", "json"),  # ours
)
_DEPRECATED = {
    "remove-dependencies": "remove-holders",
    "resolve-alias": "R",
    "showconfig": "c",
    "dump-modversions": "show-modversions",
    "show": "n",
}
_SPELLED = {"R": "show-alias", "c": "show-config", "n": "dry-run"}

_USAGE = """\
Usage:
\t{0} [options] [-i] [-b] modulename
\t{0} [options] -a [-i] [-b] modulename [modulename...]
\t{0} [options] -r [-i] modulename
\t{0} [options] -r -a [-i] modulename [modulename...]
\t{0} [options] -c
\t{0} [options] --show-modversions filename
Management Options:
\t-a, --all                   Consider every non-argument to
\t                            be a module name to be inserted
\t                            or removed (-r)
\t-r, --remove                Remove modules instead of inserting
\t    --remove-holders        Also remove module holders (use together with -r)
\t-w, --wait MSEC             When removing a module, wait up to MSEC for
\t                            module's refcount to become 0 so it can be
\t                            removed (use together with -r)
\t    --first-time            Fail if module already inserted or removed
\t-i, --ignore-install        Ignore install commands
\t-i, --ignore-remove         Ignore remove commands
\t-b, --use-blacklist         Apply blacklist to resolved alias.
\t-f, --force                 Force module insertion or removal.
\t                            implies --force-modversion and
\t                            --force-vermagic
\t    --force-modversion      Ignore module's version
\t    --force-vermagic        Ignore module's version magic

Query Options:
\t-R, --show-alias            Print module(s) matching given alias and exit
\t-D, --show-depends          Print module dependencies and exit
\t-c, --show-config           Print known configuration and exit
\t    --show-modversions      Print module symbol version and exit
\t    --show-exports          Print module exported symbol versions and exit

General Options:
\t-n, --dry-run               Do not execute operations, just print out
\t-C, --config FILE           Use FILE instead of default search paths
\t-d, --dirname DIR           Use DIR as filesystem root for /lib/modules
\t-S, --set-version VERSION   Use VERSION instead of $(uname -r)
\t-s, --syslog                print to syslog, not stderr
\t-q, --quiet                 disable messages
\t-v, --verbose               enables more messages
\t-V, --version               show version
\t-h, --help                  show this help
"""


class _Request:
    """What the command line asks for."""

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
        return bool(self.flags & {"D", "n"}) or self.verbose > LOG_WARNING

    @property
    def dry_run(self) -> bool:
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


def main(argv: Sequence[str], host: Host) -> int:
    """Run modprobe; ``argv[0]`` is the name it was called by. Returns its exit status, 0 or 1."""
    return call(_modprobe, argv, host)


def _modprobe(argv: Sequence[str], host: Host) -> int:
    program = program_name(argv[0])
    log = Log(host, program)
    request = _Request()
    arguments = [argv[0], *_environment_options(host.environ.get("MODPROBE_OPTIONS", "")), *argv[1:]]
    try:
        for key, value in getopt(arguments, _SHORT, _LONG, posix="POSIXLY_CORRECT" in host.environ):
            if key == "V":
                host.stdout.write(version_text())
                return 0
            if key == "h":
                host.stdout.write(_USAGE.format(program))
                return 0
            if not _take(request, key, value, host, log):
                return 1
    except UsageError as error:
        host.stderr.write(f"{argv[0]}: {error.message}\n")
        return 1
    log.open(syslog="s" in request or not host.has_stderr())
    if not request.words and "c" not in request:
        log.err("missing parameters. See -h.")
        return 1
    return _Run(request, host, log).run()


def _take(request: _Request, key: str, value: str, host: Host, log: Log) -> bool:
    """Take one option or word; False if it makes no sense."""
    if key in _DEPRECATED:
        new = _DEPRECATED[key]
        log.wrn(f"--{key} is deprecated and scheduled for removal; use --{_SPELLED.get(new, new)}")
        key = new
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


class _Run:
    """One run of modprobe, its command line understood."""

    def __init__(self, request: _Request, host: Host, log: Log) -> None:
        self.request = request
        self.host = host
        self.log = log
        tree = host.open_tree(self._dirname())
        self.context = Context.on(host, tree, request.config_paths or None, log.library)
        log.library(LOG_INFO, "kmod_new", f"ctx {id(self.context):#x} created")
        log.set_priority(request.verbose)
        tree.load(log.library)
        self.state = SysModules(host, log.library)

    def _dirname(self) -> str:
        request = self.request
        release = self.host.release() if request.release is None else request.release
        dirname = f"{request.root or ''}{MODULE_DIRECTORY}/{release}"
        return dirname if dirname.startswith("/") else f"{self.host.getcwd()}/{dirname}"

    def run(self) -> int:
        request = self.request
        if "c" in request:
            error = self._show_config()
        elif "show-modversions" in request:
            error = self._show_symbols("modversions")
        elif "show-exports" in request:
            error = self._show_symbols("symbols")
        elif "r" in request:
            error = self._last_failure(self._remove, request.words)
        elif "a" in request:
            error = self._last_failure(self._insert, request.words)
        else:
            error = self._insert(request.words[0], options_text(request.words[1:]))
        self.log.close()
        return 1 if error else 0

    def _last_failure(self, do: Callable[[str], int], words: list[str]) -> int:
        error = 0
        for word in words:
            error = do(word) or error
        return error

    # What is asked for by name

    def _resolve(self, word: str) -> list[Module]:
        """Return the modules of a word; none after a message."""
        self.context.forget()
        try:
            found = resolve(self.context, word)
        except OSError as error:
            reason = os.strerror(error.errno or errno.EINVAL)
            self.log.message(self.request.failure, f"Failed to get module from path {word}: {reason}")
            return []
        if not found:
            dirname = self.context.tree.dirname
            self.log.message(self.request.failure, f"Module {word} not found in directory {dirname}")
        return found

    # Queries

    def _show_config(self) -> int:
        stdout = self.host.stdout
        for line in self.context.config.lines():
            stdout.write(line + "\n")
        stdout.write("\n# End of configuration files. Dumping indexes now:\n\n")
        for items in (self.context.tree.alias_items(), self.context.tree.symbol_items()):
            for key, value in items:
                stdout.write(f"alias {key} {value}\n")
        return 0

    def _show_symbols(self, what: str) -> int:
        found = self._resolve(self.request.words[0])
        if not found:
            return errno.ENOENT
        error = 0
        for module in found:
            error = self._print_symbols(module, what)
        return error

    def _print_symbols(self, module: Module, what: str) -> int:
        from ukmod.kmod.elf import Elf

        path = self.context.path_of(module)
        try:
            if path is None:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            with self.host.open_module(path) as file:
                elf = Elf(file.contents(), path)
                symbols = _versions(elf) if what == "modversions" else _exports(elf)
        except (OSError, UkmodError) as error:
            number = error.errno or errno.EINVAL
            reason = os.strerror(number)
            self.log.message(self.request.failure, f"could not get {what} of {module.name}: {reason}")
            return number
        for name, crc in symbols:
            self.host.stdout.write(f"0x{crc:08x}\t{name}\n")
        return 0

    # Loading

    def _insert(self, word: str, options: str | None = None) -> int:
        found = self._resolve(word)
        if not found:
            return errno.ENOENT
        shown: list[Step] = []
        error = 0
        for module in found:
            if "R" in self.request:
                self.host.stdout.write(f"{module.name}\n")
            else:
                error = self._insert_module(module, options, shown)
        if "json" in self.request:
            from ukmod.kmod.tools.report import steps_json

            self.host.stdout.write(steps_json(shown))
        return error

    def _insert_module(self, module: Module, options: str | None, shown: list[Step]) -> int:
        request = self.request
        show = None
        if "json" in request:
            show = shown.append
        elif request.shows:
            show = self._print_step
        try:
            target = plan_target(
                self.context,
                module,
                options,
                state=self.state,
                ignore_loaded="D" in request,
                ignore_commands="i" in request,
                use_blacklist="b" in request,
            )
            carry_out(
                target,
                self.context,
                self.host,
                state=self.state,
                show=show,
                force=request.force,
                dry_run=request.dry_run,
                ignore_loaded="D" in request,
                first_time="first-time" in request,
            )
        except LoadError as error:
            self.log.err(f"could not insert '{module.name}': {_insert_error(error.errno)}")
            return error.errno
        return 0

    def _print_step(self, step: Step) -> None:
        if text := str(step):
            self.host.stdout.write(text + "\n")

    # Unloading

    def _remove(self, word: str) -> int:
        from ukmod.kmod.names import normalize_alias
        from ukmod.kmod.remove import removal

        self.context.forget()
        if normalize_alias(word) is None:
            return errno.EINVAL
        found = self.context.lookup(word)
        if not found:
            self.log.message(self.request.failure, f"Module {word} not found.")
            return errno.ENOENT
        for module in found:
            walk = removal(
                self.context,
                module,
                self.state,
                holders="remove-holders" in self.request,
                ignore_commands="i" in self.request,
                ignore_loaded="D" in self.request,
                first_time="first-time" in self.request,
                waits=self.request.wait_msec > 0,
            )
            answer: int | None = None
            try:
                while True:
                    step = next(walk) if answer is None else walk.send(answer)
                    answer = self._remove_step(step)
            except StopIteration as stop:
                error: int = stop.value
            if error:
                return error
        return 0

    def _remove_step(self, step: RemovalStep) -> int:
        if step.action == "refuse":
            self.log.message(self.request.failure, step.message)
            return 0
        if step.action == "remove":
            return self._run_remove_command(step)
        return self._delete_module(step.module)

    def _show(self, text: str) -> None:
        if self.request.shows:
            self.host.stdout.write(text + "\n")
            self.host.stdout.flush()

    def _run_remove_command(self, step: RemovalStep) -> int:
        command = (step.command or "").replace("$CMDLINE_OPTS", "")
        self._show(f"remove {command}")
        if self.request.dry_run:
            return 0
        self.host.environ["MODPROBE_MODULE"] = step.module
        try:
            status = self.host.system(command)
        finally:
            self.host.environ.pop("MODPROBE_MODULE", None)
        exit_code = status >> 8 & 0xFF
        if exit_code:
            self.log.message(self.request.failure, f"Error running remove command for {step.module}")
        return exit_code

    def _delete_module(self, name: str) -> int:
        self._show(f"rmmod {name}")
        if self.request.dry_run:
            return 0
        flags = DELETE_NONBLOCK | (DELETE_FORCE if "f" in self.request else 0)
        error = self._try_delete(name, flags)
        if self.request.wait_msec:
            if error == errno.EAGAIN:
                error = self._retry_delete(name, flags)
            if error:
                self.log.err(f"could not remove '{name}': {os.strerror(error)}")
        return error

    def _try_delete(self, name: str, flags: int) -> int:
        try:
            self.host.delete_module(name, flags)
        except OSError as error:
            if not self.request.wait_msec:
                text = f"could not remove '{name}': {error.strerror}"
                self.log.library(LOG_ERR, "kmod_module_remove_module", text)
            return error.errno or errno.EINVAL
        return 0

    def _retry_delete(self, name: str, flags: int) -> int:
        """Try again after 2, 4, 8... ms until the time given with --wait is over."""
        deadline = self.host.monotonic() + self.request.wait_msec / 1000
        delay = 0.001
        while (left := deadline - self.host.monotonic()) > 0:
            delay *= 2
            while delay > left >= 0.001:
                delay /= 2
            self.host.sleep(min(delay, left))
            error = self._try_delete(name, flags)
            if error != errno.EAGAIN:
                return error
        return errno.EAGAIN


def _versions(elf: Elf) -> list[tuple[str, int]]:
    """Return (symbol, CRC) of each symbol the module was built against; FormatError if it does not say."""
    if elf.find(b"__versions") is not None:
        return [(os.fsdecode(name.removeprefix(b".")), crc) for name, crc in elf.version_records()]
    versions = elf.versions()  # the extended ones of Linux 6.14, which the C tools do not read
    if not versions:
        raise elf.no_data("no symbol versions")
    return list(versions.items())


def _exports(elf: Elf) -> list[tuple[str, int]]:
    from ukmod.kmod.symbols import exported_symbols

    return exported_symbols(elf)


def _insert_error(number: int) -> str:
    if number == errno.EEXIST:
        return "Module already in kernel"
    if number == errno.ENOENT:
        return "Unknown symbol in module, or unknown parameter (see dmesg)"
    return os.strerror(number)


def _hand_down(host: Host, option: str) -> None:
    """Let a modprobe that an install command starts have the same option."""
    old = host.environ.get("MODPROBE_OPTIONS")
    host.environ["MODPROBE_OPTIONS"] = option if old is None else f"{old} {option}"


def _environment_options(text: str) -> list[str]:
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
