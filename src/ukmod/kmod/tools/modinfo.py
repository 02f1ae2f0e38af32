"""modinfo: show what modules say about themselves. "man modinfo(8)"; ``--json`` is ukmod's own."""

from __future__ import annotations

import errno
import os
import stat

from ukmod.errors import UkmodError, UsageError
from ukmod.kmod.context import Context
from ukmod.kmod.forks import WORTH_A_FORK
from ukmod.kmod.modinfo import SIGNATURE_FIELDS, ModuleInfo, builtin_fields, invalid_parameters, read_module
from ukmod.kmod.names import is_module_file, normalize_alias
from ukmod.kmod.tools import call
from ukmod.kmod.tools.getopt import LongOption, getopt
from ukmod.kmod.tools.log import ToolLog, program_name, version_text
from ukmod.kmod.tools.modinfo_report import as_object, heading, json_text, text
from ukmod.kmod.tree import MODULE_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ukmod.kmod.context import Module
    from ukmod.kmod.host import Host

__all__ = ["main"]

_SHORT = "adlpn0mF:k:b:Vh"
_LONG = (
    LongOption("author", "a"),
    LongOption("description", "d"),
    LongOption("license", "l"),
    LongOption("parameters", "p"),
    LongOption("filename", "n"),
    LongOption("null", "0"),
    LongOption("modname", "m"),
    LongOption("field", "F", takes_value=True),
    LongOption("set-version", "k", takes_value=True),
    LongOption("basedir", "b", takes_value=True),
    LongOption("json", "json"),
    LongOption("version", "V"),
    LongOption("help", "h"),
)
_FIELDS = {"a": "author", "d": "description", "l": "license", "p": "parm", "n": "filename"}

_HELP = f"""\
Usage:
\t{{0}} [options] <modulename|filename> [args]
Options:
\t-a, --author                Print only 'author'
\t-d, --description           Print only 'description'
\t-l, --license               Print only 'license'
\t-p, --parameters            Print only 'parm'
\t-n, --filename              Print only 'filename'
\t-0, --null                  Use \\0 instead of \\n
\t-m, --modname               Handle argument as module name instead of alias or filename
\t-F, --field=FIELD           Print only provided FIELD
\t-k, --set-version=VERSION   Use VERSION instead of `uname -r`
\t-b, --basedir=DIR           Use DIR as filesystem root for {MODULE_DIRECTORY}
\t    --json                  Print a JSON array with an object for each module
\t-V, --version               Show version
\t-h, --help                  Show this help
"""


class _Request:
    """The parsed command line; ``field`` is None for all fields."""

    def __init__(self) -> None:
        self.field: str | None = None
        self.separator = "\n"
        self.by_name = False
        self.json = False
        self.release: str | None = None
        self.root: str | None = None
        self.words: list[str] = []


def main(argv: Sequence[str], host: Host) -> int:
    """Run modinfo; ``argv[0]`` is the name it was called by. Returns its exit status, 0 or 1."""
    return call(_modinfo, argv, host)


def _modinfo(argv: Sequence[str], host: Host) -> int:
    program = program_name(argv[0])
    request = _Request()
    try:
        for key, value in getopt(argv, _SHORT, _LONG, posix="POSIXLY_CORRECT" in host.environ):
            if key == "V":
                host.stdout.write(version_text())
                return 0
            if key == "h":
                host.stdout.write(_HELP.format(program))
                return 0
            _take(request, key, value)
    except UsageError as error:
        host.stderr.write(f"{argv[0]}: {error.message}\n")
        return 1
    log = ToolLog(host, program)
    if not request.words:
        log.err("missing module or filename.")
        return 1
    return _Run(request, host, log).run()


def _take(request: _Request, key: str, value: str) -> None:
    if key == "":
        request.words.append(value)
    elif key in _FIELDS:
        request.field = _FIELDS[key]
    elif key == "F":
        request.field = value
    elif key == "0":
        request.separator = "\0"
    elif key == "m":
        request.by_name = True
    elif key == "k":
        request.release = value
    elif key == "b":
        request.root = value
    else:
        request.json = True


class _Run:
    """One run of modinfo."""

    def __init__(self, request: _Request, host: Host, log: ToolLog) -> None:
        self.request = request
        self.host = host
        self.log = log
        release = host.release() if request.release is None else request.release
        dirname = f"{request.root or ''}{MODULE_DIRECTORY}/{release}"
        if not dirname.startswith("/"):
            dirname = f"{host.getcwd()}/{dirname}"
        # modinfo asks for modules as they are, not for what the configuration makes of them.
        self.context = Context(host.open_tree(dirname), log=log.library, getcwd=host.getcwd)

    def run(self) -> int:
        """Show each word's modules; 1 if that failed for any of them."""
        words = self.request.words
        ours = len(words) // 2 if len(words) >= WORTH_A_FORK else len(words)
        rest = self.host.beside(lambda: self._show_all(words[ours:])) if words[ours:] else None
        failed, objects = self._show_all(words[:ours])
        if rest is not None:
            rest_failed, rest_objects = rest()
            failed, objects = failed or rest_failed, objects + rest_objects
        if self.request.json:
            self.host.stdout.write(json_text(objects))
        return int(failed)

    def _show_all(self, words: Iterable[str]) -> tuple[bool, list[dict[str, object]]]:
        """Show their modules; return whether that failed for any, and the modules' objects for ``--json``."""
        failed = False
        objects: list[dict[str, object]] = []
        for word in words:
            shown = [self._show(module, objects) for module in self._modules(word)]
            failed = failed or not shown or not all(shown)
        return failed, objects

    def _modules(self, word: str) -> list[Module]:
        """Return the modules a word stands for; none, with a message, if there is no such module."""
        self.context.forget()
        if self.request.by_name:
            module = self.context.lookup_name(word)
            if module is None:
                self.log.err(f"Module name {word} not found.")
            return [] if module is None else [module]
        if self._is_module_file(word):
            try:
                return [self.context.by_path(word, is_there=True)]
            except OSError:
                self.log.err(f"Module file {word} not found.")
                return []
        if normalize_alias(word) is None:
            self.log.err(f"Module alias {word} not found.")
            return []
        modules = self.context.lookup(word)
        if not modules:
            self.log.err(f"Module {word} not found.")
        return modules

    def _is_module_file(self, word: str) -> bool:
        try:
            return is_module_file(word) and stat.S_ISREG(self.host.files.stat(word).st_mode)
        except OSError:
            return False

    def _show(self, module: Module, objects: list[dict[str, object]]) -> bool:
        """Print one module, or add its object; False, with a message, if its file says nothing."""
        path = self.context.path_of(module)
        if not self.request.json:
            self.host.stdout.write(heading(module.name, path, self.request.field, self.request.separator))
            if self.request.field == "filename":
                return True
        try:
            info = self._read(module, path)
        except (OSError, UkmodError) as error:
            reason = os.strerror(error.errno or errno.EINVAL)
            self.log.err(f"could not get modinfo from '{module.name}': {reason}")
            return False
        request = self.request
        if request.field in {None, "parm"}:
            for key, value in invalid_parameters(info.fields):
                self.log.err(f"Found invalid \"{key}={value}\": missing ':'")
        if request.json:
            objects.append(as_object(info, request.field))
        else:
            self.host.stdout.write(text(info, request.field, request.separator))
        return True

    def _read(self, module: Module, path: str | None) -> ModuleInfo:
        if path is not None:
            with self.host.open_module(path) as file:
                field = self.request.field
                return read_module(
                    file,
                    module.name,
                    signature=self.request.json or field is None or field in SIGNATURE_FIELDS,
                    build_id=self.request.json or field == "build-id",
                )
        try:
            modinfo = self.context.tree.files.read(f"{self.context.tree.dirname}/modules.builtin.modinfo")
        except FileNotFoundError:
            modinfo = b""  # kernels before 5.2 do not tell
        return ModuleInfo(module.name, None, builtin_fields(modinfo, module.name))
