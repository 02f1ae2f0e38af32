"""Whether a module fits a kernel, symbol by symbol: an ldd for modules.

The rules are those of the module loader: check_modinfo(), check_modstruct_version() and resolve_symbol() in
kernel/module. Facts that are not known of the kernel give a doubt, not an objection.
"""

from __future__ import annotations

from ukmod.kmod.linkage import SymbolFault, bind, vermagic_difference
from ukmod.kmod.modinfo import read_module
from ukmod.kmod.names import modname_from_path
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ukmod.kmod.linkage import Binding, ExportedSymbol
    from ukmod.kmod.modfile import ModuleFile

__all__ = ["Fit", "KernelOffer", "NeededSymbol", "fit"]

LAYOUT = "module_layout"
"""The symbol whose version stands for the layout of struct module."""


@record
class KernelOffer:
    """A kernel and its modules, as far as they are known.

    ``find`` returns the export of a name, None if there is none; ``gap`` says why somebody may export it all
    the same, and is empty if nobody does. ``vermagic`` is empty if it is not known. ``versions`` tells
    whether the kernel has symbol versions (CONFIG_MODVERSIONS), None if that is not known.
    """

    find: Callable[[str], ExportedSymbol | None]
    gap: str = ""
    vermagic: str = ""
    versions: bool | None = None


@record
class NeededSymbol:
    """A symbol that the module needs. ``objection`` is the kernel's, ``doubt`` why it is not known; one of
    them at most is not empty.
    """

    binding: Binding
    objection: str = ""
    doubt: str = ""


@record
class Fit:
    """The answer: ``symbols`` one by one, and what concerns the module as a whole.

    ``objections`` and ``doubts`` are sentences; those of symbols are not repeated in them.
    """

    module: str
    vermagic: str
    symbols: tuple[NeededSymbol, ...]
    objections: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The word ``fits``, ``does not fit`` or ``unknown``."""
        if self.objections or any(one.objection for one in self.symbols):
            return "does not fit"
        return "unknown" if self.doubts or any(one.doubt for one in self.symbols) else "fits"


def fit(file: ModuleFile, kernel: KernelOffer) -> Fit:
    """Return how a module's file fits a kernel. FormatError, and what unpacking it may raise."""
    name = modname_from_path(file.path)
    info, elf = read_module(file, name, signature=False, build_id=False), file.elf()
    versions = elf.versions()
    licenses = info.values("license")
    bindings = bind(elf, kernel.find, module=name, licenses=licenses, imports=info.namespaces)
    symbols = tuple(_judge(one, kernel, has_versions=bool(versions)) for one in bindings)
    objections, doubts = [], []
    if not info.vermagic:
        objections.append("the module has no vermagic")
    elif not kernel.vermagic:
        if kernel.versions is not True or LAYOUT not in versions or kernel.find(LAYOUT) is None:
            doubts.append("the kernel's vermagic is not known")
    else:
        more, less = vermagic_difference(info.vermagic, kernel.vermagic, has_versions=bool(versions))
        words = [f"+{word}" for word in more] + [f"-{word}" for word in less]
        if words:
            objections.append(f"vermagic differs: {' '.join(words)}")
    if (layout := _layout(versions, kernel.find(LAYOUT))) != "":
        objections.append(layout)
    return Fit(info.first("name") or name, info.vermagic, symbols, tuple(objections), tuple(doubts))


def _judge(binding: Binding, kernel: KernelOffer, *, has_versions: bool) -> NeededSymbol:
    export = binding.export
    if binding.fault is SymbolFault.UNKNOWN and kernel.gap:
        return NeededSymbol(binding, doubt=kernel.gap)
    if export is not None and export.crc is not None and binding.crc is None:
        return NeededSymbol(binding, "the module has no version of it" if has_versions else "no versions")
    if binding.fault is SymbolFault.VERSION and export is not None:
        return NeededSymbol(binding, f"{binding.fault}: {export.crc:#010x}, not {binding.crc:#010x}")
    if binding.fault is SymbolFault.NAMESPACE and export is not None:
        return NeededSymbol(binding, f"{binding.fault}: {export.namespace}")
    if binding.fault is not None:
        return NeededSymbol(binding, str(binding.fault))
    if export is not None and export.crc is None and binding.crc is not None and kernel.versions is not False:
        return NeededSymbol(binding, doubt="the kernel's version of it is not known")
    return NeededSymbol(binding)


def _layout(versions: dict[str, int], layout: ExportedSymbol | None) -> str:
    """The objection to the layout of struct module that the module was built for; empty without one."""
    if layout is None or layout.crc is None or versions.get(LAYOUT) == layout.crc:
        return ""
    found = versions.get(LAYOUT)
    if found is None:
        return f"the module has no version of {LAYOUT}: the kernel checks versions"
    return f"struct module differs: {LAYOUT} has version {layout.crc:#010x}, not {found:#010x}"
