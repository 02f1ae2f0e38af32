"""The owner of each symbol, and from that the modules that each one needs."""

from __future__ import annotations

from io import StringIO

from ukmod.kmod.depmod.log import silent
from ukmod.kmod.host import LOG_ERR, LOG_WARNING
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ukmod.kmod.depmod.facts import Facts
    from ukmod.kmod.depmod.log import DepmodLog
    from ukmod.kmod.depmod.scan import Candidate

    KernelSymbols = Mapping[str, int]
    """The kernel image's symbols and their CRCs (0 where unknown)."""

__all__ = [
    "FAKE_SYMBOLS",
    "KERNEL",
    "Checks",
    "module_dependencies",
    "parse_symvers",
    "parse_system_map",
    "report_symbols",
    "show_dependencies",
    "symbol_owners",
]

KERNEL = -1
"""The owner of a symbol that no module exports."""

FAKE_SYMBOLS = ("__this_module", "_GLOBAL_OFFSET_TABLE_", "TOC.")
"""Symbols that the kernel's loader makes up: modules may need them although nothing exports them."""


@record
class Checks:
    """The known symbols of the kernel, and the checks to make on those of modules.

    ``report`` is ``-e``: unknown symbols, and with ``versions`` (``-E``) CRCs that differ. ``prefix`` is the
    letter that some architectures put before each symbol's name, or empty.
    """

    report: bool = False
    versions: bool = False
    prefix: str = ""


def symbol_owners(modules: Sequence[Facts], kernel: KernelSymbols, prefix: str = "") -> dict[str, int]:
    """Return the index of the module that exports each symbol, or KERNEL; the last of several has it."""
    owners = dict.fromkeys(kernel, KERNEL)
    for index, module in enumerate(modules):
        for name in module.exports:
            owners[name.removeprefix(prefix) if prefix else name] = index
    return owners


def module_dependencies(
    modules: Sequence[Facts], owners: Mapping[str, int], prefix: str = ""
) -> list[list[int]]:
    """Return the modules each one needs itself, in the order of first use."""
    # On 64-bit PowerPC a function's entry is `.name`, its descriptor, which is exported, `name`.
    spelled = {name: owner for name, owner in owners.items() if owner != KERNEL}
    spelled |= {"." + name: owner for name, owner in spelled.items()}
    if prefix:
        spelled |= {prefix + name: owner for name, owner in owners.items() if owner != KERNEL}
        spelled |= {"." + prefix + name: owner for name, owner in owners.items() if owner != KERNEL}
    find = spelled.get
    result = []
    for module in modules:
        found: dict[int | None, None] = dict.fromkeys(map(find, module.needs))
        found.pop(None, None)
        result.append([index for index in found if index is not None])
    return result


def report_symbols(
    modules: Sequence[Candidate],
    facts: Sequence[Facts],
    owners: Mapping[str, int],
    kernel: KernelSymbols,
    checks: Checks,
    log: DepmodLog,
) -> None:
    """Log the symbols that are unknown, or of another version than the module was built against."""
    crc_of = dict(kernel)
    for module in facts:
        crc_of.update(
            zip([name.removeprefix(checks.prefix) for name in module.exports], module.crcs, strict=False)
        )
    for candidate, module in zip(modules, facts, strict=True):
        weak = set(module.weak)
        crcs = module.crcs[len(module.exports) :] or (0,) * len(module.needs)
        for name, crc in zip(module.needs, crcs, strict=True):
            plain = _plain(name, checks.prefix)
            if name in weak:
                continue
            if plain not in owners:
                log(LOG_WARNING, f"{candidate.path} needs unknown symbol {name}")
            elif checks.versions and crc_of.get(plain, 0) != crc:
                log(LOG_WARNING, f"{candidate.path} disagrees about version of symbol {name}")


def show_dependencies(
    modules: Sequence[Candidate], facts: Sequence[Facts], owners: Mapping[str, int], prefix: str = ""
) -> Iterator[str]:
    """Yield a line for each module that another needs, with the first symbol that makes it so."""
    for candidate, module in zip(modules, facts, strict=True):
        seen = {KERNEL}
        for name in module.needs:
            plain = _plain(name, prefix)
            owner = owners.get(plain, KERNEL)
            if owner not in seen:
                seen.add(owner)
                yield f'{candidate.path} needs "{plain}": {modules[owner].path}\n'


def _plain(name: str, prefix: str) -> str:
    return name.removeprefix(".").removeprefix(prefix)


def parse_symvers(text: str, path: str, prefix: str = "", log: DepmodLog = silent) -> dict[str, int]:
    """Return what the kernel image exports, with CRCs, from Module.symvers: ``CRC SYMBOL vmlinux TYPE``.

    As in kmod a newline ends no word, so that lines without a type, of before Linux 2.6.18, do not count.
    """
    kernel: dict[str, int] = {}
    for number, line in enumerate(_lines(text), 1):
        words = [word for word in line.replace("\t", " ").split(" ") if word]
        if len(words) < 3 or words[2] != "vmlinux":
            continue
        try:
            crc = int(words[0], 16)
        except ValueError:
            log(LOG_ERR, f"{path}:{number} Invalid symbol version {words[0]}: Success")
            continue
        kernel[words[1].removeprefix(prefix)] = crc
    return kernel | dict.fromkeys(FAKE_SYMBOLS, 0)


def parse_system_map(text: str, path: str, prefix: str = "", log: DepmodLog = silent) -> dict[str, int]:
    """Return what the kernel image exports from System.map: its ``__ksymtab_`` symbols, without CRCs."""
    kernel: dict[str, int] = {}
    for number, line in enumerate(_lines(text), 1):
        _address, first, rest = line.partition(" ")
        _kind, second, name = rest.partition(" ")
        if not first or not second:
            log(LOG_ERR, f"{path}:{number}: invalid line: {line}")
            continue
        name = name.removesuffix("\n").removeprefix(prefix)
        if name.startswith("__ksymtab_"):
            kernel[name.removeprefix("__ksymtab_")] = 0
    return kernel | dict.fromkeys(FAKE_SYMBOLS, 0)


def _lines(text: str) -> Iterator[str]:
    """Yield lines as fgets(3) does, with the newline that ends each."""
    return StringIO(text, newline="\n")
