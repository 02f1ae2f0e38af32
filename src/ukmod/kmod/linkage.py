"""An ldd for modules: who exports each symbol a module needs, and whether the kernel would let it have it.

The rules are those of resolve_symbol() in kernel/module/main.c: a symbol must be exported, for the module's
licence, with the CRC the module was built against, and in a namespace it imports.
"""

from __future__ import annotations

import enum

from ukmod.errors import FormatError
from ukmod.kmod.elf import Elf
from ukmod.kmod.symbols import exported_symbols, namespaces, needed_names
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "GPL_COMPATIBLE",
    "KERNEL",
    "Binding",
    "ExportedSymbol",
    "SymbolFault",
    "bind",
    "licence",
    "module_exports",
    "parse_symvers",
    "vermagic_difference",
]

KERNEL = "vmlinux"
"""The owner of the kernel image's own symbols, as Module.symvers has it."""

GPL_COMPATIBLE = frozenset(
    ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")
)
"""Licences that may use what EXPORT_SYMBOL_GPL() exports: include/linux/license.h."""

KFLAGSTAB = "__kflagstab"
"""A byte for each symbol of __ksymtab: since v7.1, in place of a table of the symbols that are GPL only."""
KSYM_FLAG_GPL_ONLY = 1
_KSYMTAB = "__ksymtab_"
_FLAGS = "__flags_"


class SymbolFault(enum.StrEnum):
    """An objection of the kernel's. Loading fails with ENOENT for the first two, else with EINVAL."""

    UNKNOWN = "nobody exports it"
    GPL_ONLY = "exported to GPL-compatible modules only"
    VERSION = "exported with another version"
    NAMESPACE = "exported in a namespace the module does not import"


@record
class ExportedSymbol:
    """An exported symbol. ``crc`` is None where it is not known, as in a kernel without symbol versions."""

    name: str
    owner: str
    crc: int | None = None
    gpl_only: bool = False
    namespace: str = ""


@record
class Binding:
    """A needed symbol, the export that answers it if there is one, and what the kernel would object to."""

    symbol: str
    weak: bool
    crc: int | None
    export: ExportedSymbol | None
    fault: SymbolFault | None


def module_exports(elf: Elf, owner: str) -> dict[str, ExportedSymbol]:
    """Return what the module ``owner`` exports, by name; nothing for one without a symbol table.

    EXPORT_SYMBOL_GPL() shows in the section its ``__ksymtab_NAME`` is in, or in the byte at ``__flags_NAME``.
    """
    if not _may_export(elf):
        return {}
    gpl_only: set[str] = set()
    names: set[str] = set()
    for symbol in elf.symbols.starting(_KSYMTAB):
        if 0 < symbol.shndx < len(elf.sections):
            name = symbol.name.removeprefix(_KSYMTAB)
            names.add(name)
            if "_gpl" in elf.sections[symbol.shndx].name:
                gpl_only.add(name)
    for symbol in elf.symbols.starting(_FLAGS):
        if 0 < symbol.shndx < len(elf.sections):
            section = elf.sections[symbol.shndx]
            flags = elf.section_data(section)[symbol.value : symbol.value + 1]
            if section.name == KFLAGSTAB and flags and flags[0] & KSYM_FLAG_GPL_ONLY:
                gpl_only.add(symbol.name.removeprefix(_FLAGS))
    crcs = _crcs(elf)
    spaces = namespaces(elf)
    return {
        name: ExportedSymbol(name, owner, crcs.get(name) or None, name in gpl_only, spaces.get(name, ""))
        for name in sorted(names or crcs)
    }


def _may_export(elf: Elf) -> bool:
    """Tell whether names are exported, by a glance at the strings: few modules export any."""
    strings = elf.find(b".strtab")
    marks = (_KSYMTAB.encode(), b"__crc_")
    return (
        strings is None
        or any(mark in strings[1] for mark in marks)
        or elf.find(b"__ksymtab_strings") is not None
    )


def _crcs(elf: Elf) -> dict[str, int]:
    try:
        return dict(exported_symbols(elf))
    except FormatError:
        return {}


def parse_symvers(text: str) -> dict[str, ExportedSymbol]:
    """Return the exports that a Module.symvers lists, by name; bad lines are passed over.

    Its columns are CRC, symbol, module, kind of export and, since 5.4, a namespace: the third until 5.6.
    """
    found: dict[str, ExportedSymbol] = {}
    for line in text.splitlines():
        columns = line.split("\t")
        if len(columns) < 4:
            continue
        crc, name, *rest = columns
        if len(rest) > 2 and rest[2].startswith("EXPORT_"):
            rest = [rest[1], rest[2], rest[0]]
        try:
            number = int(crc, 16)
        except ValueError:
            continue
        namespace = rest[2].strip() if len(rest) > 2 else ""
        found[name] = ExportedSymbol(
            name, rest[0].rpartition("/")[2], number or None, "_GPL" in rest[1], namespace
        )
    return found


def licence(fields: Iterable[str]) -> str:
    """Return the licence that counts among a module's ``license`` fields: the first; set_license()."""
    return next(iter(fields), "unspecified")


_FOR_MODULES = "module:"


def is_for(namespace: str, module: str) -> bool:
    """True if a namespace names the modules that may use its symbols, and this is one of them (v6.16).

    "module:kvm-*,vhost" is such a namespace: names separated by commas, each perhaps the beginning of a name.
    """
    if not namespace.startswith(_FOR_MODULES):
        return False
    name = module.replace("-", "_")
    patterns = namespace.removeprefix(_FOR_MODULES).replace("-", "_").split(",")
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns
    )


def bind(
    elf: Elf,
    find: Callable[[str], ExportedSymbol | None],
    *,
    module: str,
    licenses: Iterable[str],
    imports: Iterable[str],
) -> list[Binding]:
    """Return how each symbol that ``elf`` needs is answered; ``find`` looks an export up by its name.

    ``module`` is its name, ``licenses`` and ``imports`` are its ``license`` and ``import_ns`` fields.
    FormatError if the file has no symbol table.
    """
    is_gpl = licence(licenses) in GPL_COMPATIBLE
    imported = frozenset(imports)

    def may_use(namespace: str) -> bool:
        return not namespace or namespace in imported or is_for(namespace, module)

    crcs: Mapping[str, int] = elf.versions()
    bindings = []
    names, weaks = needed_names(elf)
    for name in names:
        if name == "module_layout":
            continue  # a version without a symbol: it stands for the layout of struct module
        export = find(name)
        crc = crcs.get(name)
        fault = _fault(export, crc, may_use, is_gpl=is_gpl)
        weak = name in weaks
        if weak and fault in (SymbolFault.UNKNOWN, SymbolFault.GPL_ONLY):
            fault = None  # a weak symbol that is not there is 0
        bindings.append(Binding(name, weak, crc, export, fault))
    return bindings


def _fault(
    export: ExportedSymbol | None, crc: int | None, may_use: Callable[[str], bool], *, is_gpl: bool
) -> SymbolFault | None:
    if export is None:
        return SymbolFault.UNKNOWN
    if export.gpl_only and not is_gpl:
        return SymbolFault.GPL_ONLY
    if None not in (crc, export.crc) and crc != export.crc:
        return SymbolFault.VERSION
    if not may_use(export.namespace):
        return SymbolFault.NAMESPACE
    return None


def vermagic_difference(module: str, kernel: str, *, has_versions: bool) -> tuple[list[str], list[str]]:
    """Return the words of a module's vermagic that the kernel's lacks, and those it has more.

    With symbol versions the kernel passes over the first word, its release: same_magic() in
    kernel/module/version.c.
    """
    ours, theirs = module.split(), kernel.split()
    if has_versions:
        ours, theirs = ours[1:], theirs[1:]
    return [word for word in ours if word not in theirs], [word for word in theirs if word not in ours]
