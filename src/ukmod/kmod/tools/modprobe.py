"""modprobe(8): load a module and what it needs, or unload it."""

from __future__ import annotations

import errno
import os

from ukmod.errors import LoadError, UkmodError, UsageError
from ukmod.kmod.context import Context
from ukmod.kmod.host import (
    DELETE_FORCE,
    DELETE_NONBLOCK,
    LOG_ERR,
    LOG_INFO,
)
from ukmod.kmod.insert import carry_out, run_shell
from ukmod.kmod.loaded import SysModules
from ukmod.kmod.names import is_module_file
from ukmod.kmod.plans import plan_target, resolve
from ukmod.kmod.tools import call
from ukmod.kmod.tools.common import options_text
from ukmod.kmod.tools.log import ToolLog, program_name
from ukmod.kmod.tools.modprobe_options import parse_request
from ukmod.kmod.tree import MODULE_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ukmod.kmod.context import Module
    from ukmod.kmod.elf import Elf
    from ukmod.kmod.host import Host
    from ukmod.kmod.plans import Step
    from ukmod.kmod.remove import RemovalStep
    from ukmod.kmod.tools.modprobe_options import ModprobeRequest

__all__ = ["main"]


def main(argv: Sequence[str], host: Host) -> int:
    """Run modprobe; ``argv[0]`` is the name it was called by. Returns its exit status, 0 or 1."""
    return call(_modprobe, argv, host)


def _modprobe(argv: Sequence[str], host: Host) -> int:
    program = program_name(argv[0])
    log = ToolLog(host, program)
    try:
        request = parse_request(argv, host, log, program)
    except UsageError as error:
        host.stderr.write(f"{argv[0]}: {error.message}\n")
        return 1
    if isinstance(request, int):
        return request
    log.open(syslog="s" in request or not host.has_stderr())
    if not request.words and "c" not in request:
        log.err("missing parameters. See -h.")
        return 1
    return _Run(request, host, log).run()


class _Run:
    """One run of modprobe, its command line understood."""

    def __init__(self, request: ModprobeRequest, host: Host, log: ToolLog) -> None:
        self.request = request
        self.host = host
        self.log = log
        tree = host.open_tree(self._dirname())
        self.context = Context.on(host, tree, request.config_paths or None, log.library)
        log.library(LOG_INFO, "kmod_new", f"ctx {id(self.context):#x} created")
        log.set_priority(request.verbose)
        tree.load(log.library)
        self.state = SysModules(host, log.library)
        self.steps: list[Step] = []
        """The document that --json prints at the end."""

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
        if "json" in request:
            from ukmod.kmod.tools.report import steps_json

            self.host.stdout.write(steps_json(self.steps))
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
        word = self.request.words[0]
        if "/" not in word and not is_module_file(word):  # a name, which kmod 30 does not take
            error = 0 if (found := self._resolve(word)) else errno.ENOENT
            for module in found:
                error = self._print_symbols(module, what, module.name)
            return error
        try:
            module = self.context.by_path(word)
        except OSError as missing:
            self.log.message(self.request.failure, f"Module {word} not found.")
            return missing.errno or errno.ENOENT
        return self._print_symbols(module, what, word)

    def _print_symbols(self, module: Module, what: str, called: str) -> int:
        path = self.context.path_of(module)
        try:
            if path is None:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            with self.host.open_module(path) as file:
                elf = file.elf()
                symbols = _versions(elf) if what == "modversions" else _exports(elf)
        except (OSError, UkmodError) as error:
            number = error.errno or errno.EINVAL
            reason = os.strerror(number)
            self.log.message(self.request.failure, f"could not get {what} of {called}: {reason}")
            return number
        for name, crc in symbols:
            self.host.stdout.write(f"0x{crc:08x}\t{name}\n")
        return 0

    # Loading

    def _insert(self, word: str, options: str | None = None) -> int:
        found = self._resolve(word)
        if not found:
            return errno.ENOENT
        error = 0
        for module in found:
            if "R" in self.request:
                self.host.stdout.write(f"{module.name}\n")
            else:
                error = self._insert_module(module, options)
        return error

    def _insert_module(self, module: Module, options: str | None) -> int:
        request = self.request
        show = None
        if "json" in request:
            show = self.steps.append
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
        exit_code = run_shell(command, step.module, self.host) >> 8 & 0xFF
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
        raise elf.error("no symbol versions", 0, errno.ENODATA)
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
