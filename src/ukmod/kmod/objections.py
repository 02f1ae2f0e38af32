"""Notes on a module's file: the kernel's objections, and faults that it ignores."""

from __future__ import annotations

import difflib

from ukmod.errors import UkmodError
from ukmod.kmod.firmware import firmware_files
from ukmod.kmod.linkage import (
    KERNEL,
    Binding,
    ExportedSymbol,
    SymbolFault,
    bind,
    module_exports,
    vermagic_difference,
)
from ukmod.kmod.modinfo import ModuleInfo, read_module
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from cryptography import x509

    from ukmod.kmod.config import Source
    from ukmod.kmod.context import Context
    from ukmod.kmod.elf import Elf
    from ukmod.kmod.modfile import ModuleFile

__all__ = ["Inspector", "KernelFacts", "Note"]


@record
class Note:
    """Something worth knowing about a module.

    ``kind`` is a word for programs; ``fatal`` tells whether loading fails or is prevented by it; ``source``
    is the line that says so, if it is said in a file.
    """

    kind: str
    text: str
    fatal: bool = False
    source: Source | None = None

    def __str__(self) -> str:
        return self.text if self.source is None else f"{self.text} ({self.source})"


@record
class KernelFacts:
    """The known facts about the kernel that the modules are for.

    ``exports`` are the image's own symbols, None if they are unknown (no Module.symvers): then a symbol
    that
    no module exports counts as the image's. ``vermagic`` is empty if it is not known. ``certificates`` are
    those that it trusts, if it enforces signatures; None if it does not.
    """

    exports: Mapping[str, ExportedSymbol] | None = None
    vermagic: str = ""
    firmware_directories: tuple[str, ...] = ()
    certificates: Sequence[x509.Certificate] | None = None


class Inspector:
    """Looks into the files of a tree's modules, for one kernel. Exports are read once a module."""

    def __init__(self, context: Context, kernel: KernelFacts) -> None:
        self._context = context
        self._kernel = kernel
        self._exports: dict[str, dict[str, ExportedSymbol]] = {}

    def notes(self, name: str, path: str, present: Collection[str]) -> Iterator[Note]:
        """Yield what there is to say about the file of a module; ``present`` are those loaded before it."""
        try:
            with self._context.tree.open_module(path) as file:
                yield from self._file(name, file, present)
        except OSError as error:
            yield Note("unreadable", f"{path}: {error.strerror}", fatal=True)
        except UkmodError as error:
            yield Note("unreadable", str(error), fatal=True)

    def _file(self, name: str, file: ModuleFile, present: Collection[str]) -> Iterator[Note]:
        info, elf = read_module(file, name), file.elf()
        yield from self._vermagic(info, elf)
        self._exports.setdefault(name, module_exports(elf, name))
        for binding in bind(elf, self._find, licenses=info.values("license"), imports=info.namespaces):
            yield from self._binding(binding, present)
        yield from self._firmware(info)
        yield self._signature(info, file)

    def _vermagic(self, info: ModuleInfo, elf: Elf) -> Iterator[Note]:
        if not self._kernel.vermagic or not info.vermagic:
            return
        versions = bool(elf.versions())
        extra, lacking = vermagic_difference(info.vermagic, self._kernel.vermagic, has_versions=versions)
        if extra or lacking:
            words = [f"+{word}" for word in extra] + [f"-{word}" for word in lacking]
            text = f"built for another kernel: {' '.join(words)} (its vermagic: {info.vermagic.strip()})"
            yield Note("vermagic", text, fatal=True)

    def _binding(self, binding: Binding, present: Collection[str]) -> Iterator[Note]:
        export = binding.export
        if binding.fault is not None:
            kind = f"symbol-{binding.fault.name.lower().replace('_', '-')}"
            yield Note(kind, self._fault_text(binding, binding.fault), fatal=True)
        elif export is not None and not binding.weak and not self._is_present(export.owner, present):
            text = f"{binding.symbol}: exported by {export.owner}, which would not be loaded before it"
            yield Note("symbol-not-loaded", text, fatal=True)

    def _is_present(self, owner: str, present: Collection[str]) -> bool:
        return owner == KERNEL or owner in present or self._context.tree.is_builtin(owner)

    def _find(self, symbol: str) -> ExportedSymbol | None:
        """Return who exports a symbol: the kernel image, else the module that modules.symbols names."""
        image = self._kernel.exports
        if image is not None and symbol in image and image[symbol].owner == KERNEL:
            return image[symbol]
        for owner in self._context.tree.symbols(f"symbol:{symbol}"):
            export = self._exports_of(owner).get(symbol)
            if export is not None:
                return export
        # Where nobody can tell, a symbol has the benefit of the doubt.
        return ExportedSymbol(symbol, KERNEL) if image is None else image.get(symbol)

    def _exports_of(self, name: str) -> dict[str, ExportedSymbol]:
        if name not in self._exports:
            self._exports[name] = {}
            path = self._context.path_of(self._context.by_name(name))
            if path is not None:
                try:
                    with self._context.tree.open_module(path) as file:
                        self._exports[name] = module_exports(file.elf(), name)
                except (OSError, UkmodError):
                    pass  # the step that loads that module says why
        return self._exports[name]

    def _fault_text(self, binding: Binding, fault: SymbolFault) -> str:
        text = f"{binding.symbol}: {fault}"
        export = binding.export
        if export is None:
            near = difflib.get_close_matches(binding.symbol, self._kernel.exports or {}, n=1, cutoff=0.85)
            return f"{text}; there is {near[0]}" if near else text
        if fault is SymbolFault.VERSION:
            return f"{text} by {export.owner}: {export.crc:#010x}, built against {binding.crc:#010x}"
        if fault is SymbolFault.NAMESPACE:
            return f"{text}: {export.namespace}, of {export.owner}"
        return f"{text} by {export.owner}"

    def _firmware(self, info: ModuleInfo) -> Iterator[Note]:
        directories, files = self._kernel.firmware_directories, self._context.tree.files
        missing = [
            name for name in info.firmware if directories and not firmware_files(name, directories, files)
        ]
        if missing:
            yield Note("firmware-missing", f"firmware it may ask for is not there: {', '.join(missing)}")

    def _signature(self, info: ModuleInfo, file: ModuleFile) -> Note:
        signature = info.signature
        if signature is None:
            text = "not signed: a kernel that enforces signatures refuses it"
            return Note("unsigned", text, fatal=self._kernel.certificates is not None)
        if signature.defect:
            return Note("signature", f"its signature cannot be read: {signature.defect}")
        signer = signature.signer or f"the key {signature.key_id.hex(':').upper()}"
        text = f"signed by {signer} ({signature.hash_algorithm})"
        if self._kernel.certificates is None:
            return Note("signature", text)
        from ukmod.kmod.verify import verify

        judged = verify(file.contents(), self._kernel.certificates)
        return Note("signature", f"{text}: {judged.reason}", fatal=not judged)
