"""Lines that modprobe reads, and that do nothing, or something else, on this system."""

from __future__ import annotations

import difflib
import re

from ukmod.kmod.config import END_ESCAPED, Alias, Blacklist, Command, Options, Softdep
from ukmod.kmod.kernelargs import kernel_arguments
from ukmod.kmod.lint.finding import Finding
from ukmod.kmod.lint.patterns import PatternLines
from ukmod.kmod.names import is_module_file, normalize_modname
from ukmod.kmod.predict.kernel import option_note
from ukmod.kmod.wildcard import fnmatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ukmod.kmod.context import Context, Module
    from ukmod.kmod.lint.lines import ConfigLine
    from ukmod.kmod.objections import Inspector

__all__ = ["MeaningLinter"]

_PATTERN = re.compile(r"[*?\[]")
_MOST_SIMILAR = 2_000_000
"""Names that are looked at for one that is like an unknown name: some microseconds each."""


class MeaningLinter:
    """Compares lines with a tree of modules, and with the lines before them."""

    def __init__(self, context: Context, inspector: Inspector | None) -> None:
        self._context = context
        self._inspector = inspector
        self._names = tuple(context.tree.module_names())
        self._aliases = PatternLines(context.config.aliases)
        self._installs = PatternLines(context.config.install)
        self._removes = PatternLines(context.config.remove)
        self._softdeps = PatternLines(context.config.softdeps)
        self._similar = _MOST_SIMILAR

    def findings(self, line: ConfigLine) -> Iterator[Finding]:
        """Yield what is wrong with a line."""
        entry = line.entry
        if line.text.endswith((END_ESCAPED, "\r")) and isinstance(entry, Blacklist | Alias | Softdep):
            return  # the last name is spoilt: that has been said
        if isinstance(entry, Blacklist):
            yield from self._denied(line, entry.module)
        elif isinstance(entry, Command):
            yield from self._command(line, entry)
        elif isinstance(entry, Options):
            yield from self._options(line, entry)
        elif isinstance(entry, Alias):
            yield from self._alias(line, entry)
        elif isinstance(entry, Softdep):
            yield from self._softdep(line, entry)

    def name_findings(self, line: ConfigLine, name: str) -> Iterator[Finding]:
        """Yield why a name is not that of a module which a deny list can keep out."""
        yield from self._denied(line, name)

    def knows(self, name: str) -> bool:
        """Tell whether there is such a module, loadable or built in."""
        tree = self._context.tree
        return tree.dependency_line(name) is not None or tree.is_builtin(name)

    # Names

    def _denied(self, line: ConfigLine, name: str) -> Iterator[Finding]:
        if self._context.tree.is_builtin(name):
            yield self._builtin(line, name)
        elif not self.knows(name):
            yield self._unknown(line, name, is_pattern_allowed=False)

    def _builtin(self, line: ConfigLine, name: str) -> Finding:
        text = f"{name} is built into the kernel: no line of modprobe.d keeps it out"
        fix = f"boot with initcall_blacklist= and the init function of {name}, or use a kernel without it"
        if line.directive == "options":
            text = f"{name} is built into the kernel: it takes its parameters from the kernel's command line"
            fix = f"boot with {name}.PARAMETER=VALUE"
        return Finding("built-in", "error", line.source, line.words, text, fix, (name,))

    def _unknown(self, line: ConfigLine, name: str, *, is_pattern_allowed: bool) -> Finding:
        """Say what a name that no module has may have been meant to be."""

        def found(kind: str, severity: str, text: str, fix: str, *meant: str) -> Finding:
            about = (*line.names, *meant)
            return Finding(kind, severity, line.source, line.words, text, fix, about)

        word = line.directive
        plain = name.strip("\r")
        if is_module_file(plain) or "/" in plain:
            own = normalize_modname(plain.rpartition("/")[2])
            return found("file-name", "error", f"{plain} is the name of a file", f"{word} {own}", own)
        if _PATTERN.search(plain) and not is_pattern_allowed:
            matching = [one for one in self._names if fnmatch(plain, one)]
            several = "; ".join([f"{word} {one}" for one in matching[:20]])
            text = f"{word} lines know no patterns: {plain} is taken for a name"
            return found("pattern", "error", text, several or "name the modules", *matching)
        modules = [module.name for module in self._context.lookup(plain)] if plain else []
        modules = [one for one in modules if one != plain]
        if modules:
            several = "; ".join([f"{word} {one}" for one in dict.fromkeys(modules)])
            text = f"{plain} is an alias of {', '.join(modules)}, not the name of a module"
            return found("alias-name", "error", text, several, *modules)
        if near := self._near(plain, self._names):
            text = f"there is no module {plain}; there is {near[0]}"
            return found("unknown-module", "warning", text, f"{word} {near[0]}, if that is meant", near[0])
        text = f"this kernel has no module {plain}"
        return found("unknown-module", "note", text, "nothing is to be done, if the name is right")

    def _near(self, name: str, known: Collection[str]) -> list[str]:
        """The known name that is most like this one. After long searches no more is looked for."""
        self._similar -= len(known)
        return difflib.get_close_matches(name, known, n=1, cutoff=0.8) if self._similar >= 0 else []

    # Directives

    def _command(self, line: ConfigLine, entry: Command) -> Iterator[Finding]:
        lines = self._installs if line.directive == "install" else self._removes
        if (first := lines.first(entry.pattern)) not in (None, entry.source):
            text = f"the first {line.directive} line for a module counts alone: {first} has one"
            fix = f"remove one of them, or put this line into a file that comes before {first.file}"
            yield Finding("shadowed", "error", line.source, line.words, text, fix, line.names)
            return
        program, *others = entry.command.split() or [""]
        if others and self.knows(normalize_modname(program)):
            text = f"only {entry.pattern} counts: {program} is taken for the command"
            fix = "; ".join(
                [f"{line.directive} {one} {' '.join(others)}" for one in (entry.pattern, program)]
            )
            yield Finding("extra-words", "error", line.source, line.words, text, fix, line.names)
        if _PATTERN.search(entry.pattern):
            if not any(fnmatch(entry.pattern, name) for name in self._names):
                yield self._unknown(line, entry.pattern, is_pattern_allowed=True)
            return
        if self._context.tree.is_builtin(entry.pattern):
            yield self._builtin(line, entry.pattern)
        elif not self.knows(entry.pattern):
            if not self._context.tree.aliases(entry.pattern):  # it closes, or serves, the way by an alias
                yield self._unknown(line, entry.pattern, is_pattern_allowed=True)
        elif line.directive == "install":
            yield from self._void(line, entry)

    def _void(self, line: ConfigLine, entry: Command) -> Iterator[Finding]:
        module = self._context.by_name(entry.pattern)
        softdeps = self._context.softdeps(module)
        if softdeps:
            name = entry.pattern
            text = f"it is not run: {name} has soft dependencies ({softdeps.source}), and then has no command"
            fix = f"put 'softdep {name} pre:' into a file that sorts before modules.softdep, such as a.conf"
            yield Finding("install-ignored", "error", line.source, line.words, text, fix, (name,))

    def _options(self, line: ConfigLine, entry: Options) -> Iterator[Finding]:
        modules = self._context.lookup(entry.module)
        if self._context.tree.is_builtin(entry.module):
            yield self._builtin(line, entry.module)
        elif not modules:
            yield self._unknown(line, entry.module, is_pattern_allowed=False)
        if "#" in entry.text.split():
            text = "there are no comments behind options: the kernel is given these words too"
            fix = f"options {entry.module} {entry.text.partition('#')[0].strip()}"
            yield Finding("comment-in-options", "error", line.source, line.words, text, fix, line.names)
        options = re.split(r"(?:^|\s)#", entry.text)[0]
        for module in modules:
            yield from self.option_findings(line, module, options)

    def option_findings(self, line: ConfigLine, module: Module, options: str) -> Iterator[Finding]:
        """Yield the options of a module that the kernel ignores or refuses."""
        path = self._context.path_of(module)
        if path is None or self._inspector is None:
            return
        facts = self._inspector.facts(module.name, path)
        for name, value in kernel_arguments(options):
            if (note := option_note(facts, name, value)) is None:
                continue
            severity = "error" if note.fatal else "warning"
            near = [] if note.fatal else self._near(name, facts.parameters or ())
            fix = "".join([f"{one} may be meant; " for one in near]) + f"see modinfo -p {module.name}"
            text = f"{module.name}: {note.text}"
            yield Finding(note.kind, severity, line.source, line.words, text, fix, (module.name,))

    def module(self, name: str) -> Module:
        """Return the module of a name."""
        return self._context.by_name(name)

    def _alias(self, line: ConfigLine, entry: Alias) -> Iterator[Finding]:
        if self.knows(entry.pattern) and entry.module != entry.pattern:
            text = (
                f"the name of the module {entry.pattern} stands for {entry.module} now: modprobe loads that"
            )
            fix = f"remove the line, or use install {entry.pattern} /bin/false if it is to be kept out"
            severity = "note" if entry.module == "off" else "warning"
            yield Finding("diverted", severity, line.source, line.words, text, fix, line.names)
        if entry.module == "off" or self.knows(entry.module):
            return
        if self._installs.first(entry.module) is not None:
            return
        if self._aliases.first(entry.module) is not None:
            text = f"{entry.module} is an alias itself, and aliases are not followed twice"
            fix = "name the module"
            yield Finding("alias-chain", "error", line.source, line.words, text, fix, line.names)
            return
        yield self._unknown(line, entry.module, is_pattern_allowed=False)

    def _softdep(self, line: ConfigLine, entry: Softdep) -> Iterator[Finding]:
        if (other := self._softdeps.first(entry.pattern)) not in (None, entry.source):
            text = f"the first softdep line for a module counts alone: {other} has one"
            fix = "put it into a file whose name sorts before that, with all dependencies in one line"
            yield Finding("shadowed", "error", line.source, line.words, text, fix, line.names)
            return
        text = line.text.partition(entry.pattern)[2] or line.text
        if not entry.pre and not entry.post and not re.fullmatch(r"\S+\s+\S+\s+(pre:|post:)\s*", line.text):
            text = "no dependency is named behind pre: or post:, with one blank before it"
            yield Finding("empty-softdep", "error", line.source, line.words, text,
                          f"softdep {entry.pattern} pre: MODULE", line.names)  # fmt: skip
        for name in (*entry.pre, *entry.post):
            if not self._context.lookup(name):
                text = f"its soft dependency {name} is unknown, and passed over"
                fix = "nothing is to be done, if the name is right"
                yield Finding("softdep-unknown", "note", line.source, line.words, text, fix, line.names)
