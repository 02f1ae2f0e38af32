"""depmod's files, as bytes.

The text files are for people, the indexes of the same names with ``.bin`` for libkmod: aliases are as the
modules have them in the one, and normalized in the other.
"""

from __future__ import annotations

from io import BytesIO

from ukmod.errors import UsageError
from ukmod.kmod.depmod.log import silent
from ukmod.kmod.depmod.order import read_input, read_lines
from ukmod.kmod.forks import Fork
from ukmod.kmod.host import LOG_ERR, LOG_WARNING
from ukmod.kmod.index_write import check_position, write_index, write_trie
from ukmod.kmod.names import modname_from_path, normalize_alias
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence

    from ukmod.kmod.depmod.analysis import Analysis
    from ukmod.kmod.depmod.log import DepmodLog
    from ukmod.kmod.depmod.scan import Candidate
    from ukmod.kmod.index import Entry
    from ukmod.kmod.index_write import Trie

    Messages = list[tuple[int, str]]
    Made = tuple[bytes | str, Messages, bytes]
    """A file's content, or the text that cannot be in it; what is to be logged; an index's marks, if they are
    wanted."""

__all__ = ["ALIAS_HEADER", "OF_ALL", "OF_EACH", "SYMBOLS_HEADER", "Output", "dependency_lines"]


@record
class Output:
    """The content of depmod's files: an analysis, the directory with kbuild's own lists, and options.

    ``warn_duplicates`` is ``-w``, ``preorder`` the layout of indexes since kmod 34.
    ``marks`` asks for what is needed to edit an index; it is for the other layout.
    """

    analysis: Analysis
    dirname: str
    warn_duplicates: bool = False
    preorder: bool = False
    log: DepmodLog = silent
    marks: bool = False

    def texts(self) -> list[tuple[str, bytes]]:
        """Return the text files, (name, content): what ``-n`` prints."""
        return self.finish(_make(self, [name for name in _FILES if not name.endswith(".bin")]))

    def files(self, *, fork: bool = False) -> list[tuple[str, bytes]]:
        """Return all files, (name, content). UsageError where an index cannot hold what a module says."""
        return self.finish(self.make(fork=fork))

    def make(self, names: Container[str] | None = None, *, fork: bool = False) -> dict[str, Made]:
        """Return some or all files, and what is to be logged. With ``fork``, a child makes half of them."""
        wanted = [name for name in _FILES if names is None or name in names]
        theirs = [name for name in wanted if name in OF_EACH]
        ours = [name for name in wanted if name not in OF_EACH]
        if not (fork and theirs and ours):
            return _make(self, wanted)

        def make_theirs() -> Generator[dict[str, Made], None, None]:
            yield _make(self, theirs)

        child = Fork(make_theirs)
        made = _make(self, ours)
        made |= child.receive()
        child.close()
        return made

    def finish(
        self, made: Mapping[str, Made], kept: Mapping[str, Messages] | None = None
    ) -> list[tuple[str, bytes]]:
        """Log what making the files had to say, in kmod's order, and return them.

        ``kept`` are the messages of files that were made by an earlier run. UsageError as :meth:`files`.
        """
        kept = kept or {}
        finished: list[tuple[str, bytes]] = []
        for name in _FILES:
            content, messages, _marks = made.get(name, (None, kept.get(name, []), b""))
            for priority, text in messages:
                self.log(priority, text)
            if isinstance(content, str):
                raise UsageError("only 7-bit ASCII is supported", subject=content)
            if content is not None:
                finished.append((name, content))
        return finished


def _make(output: Output, names: Iterable[str]) -> dict[str, Made]:
    """Make some files, and keep what is to be logged."""
    made: dict[str, Made] = {}
    for name in names:
        messages: list[tuple[int, str]] = []
        log = _collect(messages)
        quiet = Output(
            output.analysis, output.dirname, output.warn_duplicates, output.preorder, log, output.marks
        )
        try:
            result = _FILES[name](quiet)
        except UsageError as error:
            made[name] = error.subject, messages, b""
        else:
            made[name] = (
                (result, messages, b"") if isinstance(result, bytes) else (result[0], messages, result[1])
            )
    return made


def _collect(messages: list[tuple[int, str]]) -> DepmodLog:
    return lambda priority, text: messages.append((priority, text))


def dependency_lines(modules: Sequence[Candidate], needs: Sequence[Sequence[int]]) -> Iterator[str]:
    """Yield the lines of modules.dep; ``needs`` are the places of all modules that each one needs.

    All of them together are as long as the square of the longest chain of modules.
    """
    shown = [module.shown for module in modules]
    for own, needed in zip(shown, needs, strict=True):
        yield f"{own}: {' '.join([shown[index] for index in needed])}" if needed else f"{own}:"


def _dep(output: Output) -> bytes:
    content = BytesIO()
    for line in dependency_lines(output.analysis.modules, output.analysis.needs):
        content.write(f"{line}\n".encode("utf-8", "surrogateescape"))
    return content.getvalue()


def _dep_entries(output: Output) -> Iterator[Entry]:
    size = 0
    lines = dependency_lines(output.analysis.modules, output.analysis.needs)
    for index, (module, line) in enumerate(zip(output.analysis.modules, lines, strict=True)):
        size += len(line)
        check_position(size)  # before there are gigabytes of them
        yield module.name, index, line


def _alias(output: Output) -> bytes:
    return ALIAS_HEADER + _encode([*_values(output, "alias", swapped=True)])


def _values(output: Output, word: str, *, swapped: bool = False) -> Iterator[str]:
    """Yield a line for each value of a kind that a module has in its modinfo."""
    for module, facts in zip(output.analysis.modules, output.analysis.facts, strict=True):
        name = module.name
        if swapped:
            yield from [f"alias {value} {name}" for value in facts.aliases]
        else:
            values = facts.softdeps if word == "softdep" else facts.weakdeps
            yield from [f"{word} {name} {value}" for value in values]


def _alias_entries(output: Output) -> list[Entry]:
    entries: list[Entry] = []
    for index, (module, facts) in enumerate(zip(output.analysis.modules, output.analysis.facts, strict=True)):
        for value in facts.aliases:
            alias = normalize_alias(value)
            if alias is None:
                output.log(LOG_WARNING, f"Unmatched bracket in {value}")
            else:
                entries.append((alias, index, module.name))
    return entries


def _softdep(output: Output) -> bytes:
    return _encode(["# Soft dependencies extracted from modules themselves.", *_values(output, "softdep")])


def _weakdep(output: Output) -> bytes:
    return _encode(["# Weak dependencies extracted from modules themselves.", *_values(output, "weakdep")])


def _symbols(output: Output) -> bytes:
    names = [module.name for module in output.analysis.modules]
    lines = [f"alias symbol:{symbol} {names[owner]}" for symbol, owner in output.analysis.symbols]
    return SYMBOLS_HEADER + _encode(lines)


def _symbol_entries(output: Output) -> list[Entry]:
    names = [module.name for module in output.analysis.modules]
    return [(f"symbol:{symbol}", owner, names[owner]) for symbol, owner in output.analysis.symbols]


def _builtin_entries(output: Output) -> list[Entry] | None:
    lines = read_lines(output.dirname, "modules.builtin", output.log)
    if lines is None:
        return None
    entries: list[Entry] = []
    for line in lines:
        if line[0].isascii() and line[0].isalpha():
            # kmod cuts at the first dot, and so leaves a line without one its newline.
            entries.append((modname_from_path(line), 0, ""))
        else:
            output.log(LOG_ERR, f"Invalid modules.builtin line: {line}")
    return entries


def _builtin_alias_entries(output: Output) -> list[Entry] | None:
    data = read_input(output.dirname, "modules.builtin.modinfo", output.log)
    if data is None:
        return None
    entries: list[Entry] = []
    for module, value in _builtin_aliases(data.decode("utf-8", "surrogateescape")):
        alias = normalize_alias(value)
        if alias is None:
            output.log(LOG_WARNING, f"Unmatched bracket in {value}")
        else:
            entries.append((alias, 0, module))
    return entries


def _builtin_aliases(text: str) -> Iterator[tuple[str, str]]:
    """Yield (module, alias) from ``module.key=value`` records, each ended by a NUL."""
    for line in text.split("\0")[:-1]:
        module, dot, rest = line.partition(".")
        key, equals, value = rest.partition("=")
        if module and dot and equals and key == "alias" and value:
            yield module, value


def _devname(output: Output) -> bytes:
    lines = []
    for module, facts in zip(output.analysis.modules, output.analysis.facts, strict=True):
        devname, device = None, ""
        for value in facts.aliases:
            if value.startswith("devname:"):
                devname = value.removeprefix("devname:")
            elif value.startswith("char-major-"):
                device = _numbers(value.removeprefix("char-major-"), "c") or device
            elif value.startswith("block-major-"):
                device = _numbers(value.removeprefix("block-major-"), "b") or device
            if devname is not None and device:
                break
        if devname is None:
            continue
        if device:
            lines.append(f"{module.name} {devname} {device}")
        else:
            problem = f"Module '{module.name}' has devname ({devname}) but lacks major and minor information."
            output.log(LOG_ERR, f"{problem} Ignoring.")
    return _encode(["# Device nodes to trigger on-demand module loading.", *lines]) if lines else b""


def _numbers(text: str, kind: str) -> str:
    """Return ``c10:229`` for ``10-229``, and nothing if there are no two numbers, as for ``10-*``."""
    major, dash, rest = text.partition("-")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if not (dash and minor and major.isascii() and major.isdigit()):
        return ""
    return f"{kind}{int(major) & 0xFFFFFFFF}:{int(minor) & 0xFFFFFFFF}"


def _encode(lines: list[str]) -> bytes:
    lines.append("")
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _index(
    entries: Callable[[Output], Iterable[Entry] | None], what: str = ""
) -> Callable[[Output], bytes | Trie]:
    """Return what makes an index of entries: no bytes at all if their source is missing.

    ``what`` names them where duplicates are warned of.
    """

    def make(output: Output) -> bytes | Trie:
        made = entries(output)
        if made is None:
            return b""
        if what and output.warn_duplicates:
            made = list(made)
            _warn_duplicates(made, what, output.log)
        return write_trie(made) if output.marks else write_index(made, preorder=output.preorder)

    return make


def _warn_duplicates(entries: list[Entry], what: str, log: DepmodLog) -> None:
    """Warn of what is said of one module twice; that several have an alias is as it should be."""
    seen: set[tuple[str, str]] = set()
    for key, _priority, value in entries:
        if (key, value) in seen:
            log(LOG_WARNING, f"duplicate module {what}:\n{value if what == 'deps' else f'{key} {value}'}")
        seen.add((key, value))


_FILES: dict[str, Callable[[Output], bytes | Trie]] = {
    "modules.dep": _dep,
    "modules.dep.bin": _index(_dep_entries, "deps"),
    "modules.alias": _alias,
    "modules.alias.bin": _index(_alias_entries, "alias"),
    "modules.softdep": _softdep,
    "modules.weakdep": _weakdep,
    "modules.symbols": _symbols,
    "modules.symbols.bin": _index(_symbol_entries, "syms"),
    "modules.builtin.bin": _index(_builtin_entries),
    "modules.builtin.alias.bin": _index(_builtin_alias_entries),
    "modules.devname": _devname,
}
"""In the order kmod writes them, which is that of its warnings."""

ALIAS_HEADER = b"# Aliases extracted from modules themselves.\n"
SYMBOLS_HEADER = b"# Aliases for symbols, used by symbol_request().\n"

OF_EACH = ("modules.alias", "modules.alias.bin", "modules.softdep", "modules.weakdep", "modules.devname")
"""Those that need nothing but what each module says of itself."""

OF_ALL = tuple([name for name in _FILES if name not in OF_EACH])
"""The files that depend on all modules, and those made from kbuild's lists."""
