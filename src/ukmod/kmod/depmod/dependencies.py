"""Who owns which symbol, and so which module needs which."""

from __future__ import annotations

from ukmod.kmod.depmod.log import silent
from ukmod.kmod.host import LOG_ERR, LOG_WARNING
from ukmod.kmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ukmod.kmod.depmod.facts import Facts
    from ukmod.kmod.depmod.log import Log
    from ukmod.kmod.depmod.scan import Candidate

    Kernel = Mapping[str, int]
    """The kernel image's symbols and their CRCs (0 where unknown)."""

__all__ = [
    "FAKE_SYMBOLS",
    "KERNEL",
    "Checks",
    "module_dependencies",
    "parse_symvers",
    "parse_system_map",
    "symbol_owners",
]

KERNEL = -1
"""The owner of a symbol that no module exports."""

FAKE_SYMBOLS = ("__this_module", "_GLOBAL_OFFSET_TABLE_", "TOC.")
"""What the kernel's loader makes up, so that modules may need it though nobody exports it."""


@record
class Checks:
    """What is reported about symbols: unknown ones (``-e``), and CRCs that differ (``-E``).

    ``prefix`` is the letter that some architectures put before each symbol's name, or empty.
    """

    report: bool = False
    versions: bool = False
    prefix: str = ""


def symbol_owners(modules: Sequence[Facts], kernel: Kernel, prefix: str = "") -> dict[str, tuple[int, int]]:
    """Return (index of the owner, or KERNEL; CRC) of each symbol; the last of several owners has it."""
    owners = {name: (KERNEL, crc) for name, crc in kernel.items()}
    for index, module in enumerate(modules):
        for name, crc in module.exports:
            owners[name.removeprefix(prefix) if prefix else name] = (index, crc)
    return owners


def module_dependencies(
    modules: Sequence[Candidate],
    facts: Sequence[Facts],
    owners: Mapping[str, tuple[int, int]],
    checks: Checks,
    log: Log = silent,
    show: Callable[[str], object] | None = None,
) -> list[list[int]]:
    """Return the modules each one needs itself, in the order of first use; ``show`` is told about each."""
    # On 64-bit PowerPC a function's entry is `.name`, its descriptor, which is exported, `name`.
    special = (".", checks.prefix)
    result = []
    for index, module in enumerate(facts):
        direct: dict[int, None] = {}
        for name, weak, crc in module.needs:
            plain = name
            if name[:1] in special:
                plain = name.removeprefix(".").removeprefix(checks.prefix)
            owner = owners.get(plain)
            if owner is None:
                if checks.report and not weak:
                    log(LOG_WARNING, f"{modules[index].path} needs unknown symbol {name}")
                continue
            if checks.versions and checks.report and owner[1] != crc and not weak:
                log(LOG_WARNING, f"{modules[index].path} disagrees about version of symbol {name}")
            if owner[0] != KERNEL and owner[0] not in direct:
                direct[owner[0]] = None
                if show is not None:
                    show(f'{modules[index].path} needs "{plain}": {modules[owner[0]].path}\n')
        result.append(list(direct))
    return result


def parse_symvers(text: str, path: str, prefix: str = "", log: Log = silent) -> dict[str, int]:
    """Return what the kernel image exports, with CRCs, from Module.symvers: ``CRC SYMBOL vmlinux ...``."""
    kernel: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.replace("\t", " ").split()
        if len(words) < 3 or words[2] != "vmlinux":
            continue
        try:
            crc = int(words[0], 16)
        except ValueError:
            log(LOG_ERR, f"{path}:{number} Invalid symbol version {words[0]}: Success")
            continue
        kernel[words[1].removeprefix(prefix)] = crc
    return kernel | dict.fromkeys(FAKE_SYMBOLS, 0)


def parse_system_map(text: str, path: str, prefix: str = "", log: Log = silent) -> dict[str, int]:
    """Return what the kernel image exports from System.map: its ``__ksymtab_`` symbols, without CRCs."""
    kernel: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        _address, first, rest = line.partition(" ")
        _kind, second, name = rest.partition(" ")
        if not first or not second:
            log(LOG_ERR, f"{path}:{number}: invalid line: {line}\n")
            continue
        name = name.removeprefix(prefix)
        if name.startswith("__ksymtab_"):
            kernel[name.removeprefix("__ksymtab_")] = 0
    return kernel | dict.fromkeys(FAKE_SYMBOLS, 0)
