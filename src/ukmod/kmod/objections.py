"""Facts about a module's file, read once: the kernel's objections, and faults that it ignores."""

from __future__ import annotations

import difflib

from ukmod.errors import LimitError, MissingExtraError, UkmodError
from ukmod.kmod.compression import FollowedError
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
from ukmod.kmod.packing import kernel_faults
from ukmod.kmod.parameters import init_function, module_parameters
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cryptography import x509

    from ukmod.kmod.config import Source
    from ukmod.kmod.elf import Elf
    from ukmod.kmod.modfile import ModuleFile
    from ukmod.kmod.tree import Tree

__all__ = ["Inspector", "KernelFacts", "ModuleFacts", "Note"]


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
    that no module exports counts as the image's. ``vermagic`` is empty if it is not known. ``unpacks``
    is the compression that it unpacks itself, empty if it does not, None if that is not known.
    ``certificates`` are those that it trusts, if it enforces signatures; None if it does not.
    """

    exports: Mapping[str, ExportedSymbol] | None = None
    vermagic: str = ""
    firmware_directories: tuple[str, ...] = ()
    unpacks: str | None = None
    certificates: Sequence[x509.Certificate] | None = None


@record
class ModuleFacts:
    """Everything about a module's file that decides whether a kernel takes it.

    ``name`` is the kernel's name for it, ``notes`` is all that holds whatever else is loaded, ``needs`` are
    (symbol, module) pairs of what must be there before, ``parameters`` types by name (None where a type is
    not known), ``init`` the name of its init function, if it has one. ``doubt`` says why it is not known
    whether the kernel takes it: ukmod cannot read it, or the kernel cannot unpack it.
    """

    name: str
    notes: tuple[Note, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()
    parameters: Mapping[str, str | None] | None = None
    init: str = ""
    signed: bool = False
    doubt: str = ""


class Inspector:
    """Looks into the files of a tree's modules, for one kernel; into each once."""

    def __init__(self, tree: Tree, kernel: KernelFacts) -> None:
        self._tree = tree
        self._kernel = kernel
        self._facts: dict[str, ModuleFacts] = {}
        self._exports: dict[str, dict[str, ExportedSymbol] | None] = {}
        self._exporters: dict[str, ExportedSymbol | None] = {}

    @property
    def kernel(self) -> KernelFacts:
        """The facts about the kernel that the modules are for."""
        return self._kernel

    def facts(self, name: str, path: str) -> ModuleFacts:
        """Return the facts about a module's file."""
        if path not in self._facts:
            self._facts[path] = self._read(name, path)
        return self._facts[path]

    def notes(self, facts: ModuleFacts, present: Callable[[str], bool]) -> list[Note]:
        """Return all that is to be said of a module; ``present`` tells whether another is loaded by then."""
        absent = {owner for owner in {owner for _, owner in facts.needs} if not present(owner)}
        missing = [
            Note(
                "symbol-not-loaded",
                f"{symbol}: exported by {owner}, which would not be loaded before it",
                fatal=True,
            )
            for symbol, owner in (facts.needs if absent else ())
            if owner in absent
        ]
        return [*facts.notes, *missing]

    def _read(self, name: str, path: str) -> ModuleFacts:
        try:
            with self._tree.open_module(path) as file:
                return self._file(name, file)
        except (LimitError, MissingExtraError) as error:  # kmod and the kernel may read it all the same
            return ModuleFacts(name, (Note("unread", str(error)),), doubt=str(error))
        except FollowedError as error:
            if self._kernel.unpacks not in {None, error.kind}:  # kmod unpacks it
                return ModuleFacts(name, (Note("unreadable", str(error), fatal=True),))
            doubt = f"whether the kernel or kmod unpacks {name}: {error}"
            return ModuleFacts(name, (Note("unread", str(error)),), doubt=doubt)
        except OSError as error:
            return ModuleFacts(name, (Note("unreadable", f"{path}: {error.strerror}", fatal=True),))
        except UkmodError as error:
            return ModuleFacts(name, (Note("unreadable", str(error), fatal=True),))

    def _file(self, name: str, file: ModuleFile) -> ModuleFacts:
        info, elf = read_module(file, name), file.elf()
        self._exports.setdefault(name, module_exports(elf, name))
        bindings = bind(
            elf, self._find, module=name, licenses=info.values("license"), imports=info.namespaces
        )
        faults = [self._fault(one, one.fault) for one in bindings if one.fault is not None]
        packing = [
            Note("packing", f"the kernel cannot unpack it itself: {text}") for text in kernel_faults(file)
        ]
        notes = [*self._vermagic(info, elf), *faults, *packing]
        notes += [*self._firmware(info), self._signature(info, file)]
        asked = self._kernel.unpacks in {None, file.compression}
        return ModuleFacts(
            info.first("name") or name,
            tuple(notes),
            tuple([need for one in bindings if (need := self._need(one)) is not None]),
            module_parameters(elf, info),
            init_function(elf),
            signed=info.signature is not None,
            doubt=f"whether the kernel or kmod unpacks {name}: {packing[0].text}"
            if packing and asked
            else "",
        )

    def _vermagic(self, info: ModuleInfo, elf: Elf) -> Iterator[Note]:
        if not self._kernel.vermagic or not info.vermagic or info.vermagic == self._kernel.vermagic:
            return
        versions = bool(elf.versions())
        extra, lacking = vermagic_difference(info.vermagic, self._kernel.vermagic, has_versions=versions)
        if extra or lacking:
            words = [f"+{word}" for word in extra] + [f"-{word}" for word in lacking]
            text = f"built for another kernel: {' '.join(words)} (its vermagic: {info.vermagic.strip()})"
            yield Note("vermagic", text, fatal=True)

    def _need(self, binding: Binding) -> tuple[str, str] | None:
        export = binding.export
        if binding.fault is not None or export is None or binding.weak or export.owner == KERNEL:
            return None
        return None if self._tree.is_builtin(export.owner) else (binding.symbol, export.owner)

    def _fault(self, binding: Binding, fault: SymbolFault) -> Note:
        kind = f"symbol-{fault.name.lower().replace('_', '-')}"
        return Note(kind, self._fault_text(binding, fault), fatal=True)

    def _find(self, symbol: str) -> ExportedSymbol | None:
        """Return who exports a symbol: the kernel image, else the module that modules.symbols names."""
        if symbol not in self._exporters:
            self._exporters[symbol] = self._look_up(symbol)
        return self._exporters[symbol]

    def _look_up(self, symbol: str) -> ExportedSymbol | None:
        image = self._kernel.exports
        if image is not None and symbol in image and image[symbol].owner == KERNEL:
            return image[symbol]
        for owner in self._tree.symbols(f"symbol:{symbol}"):
            exports = self._exports_of(owner)
            if exports is None:
                return ExportedSymbol(symbol, owner)  # by what depmod saw
            if symbol in exports:
                return exports[symbol]
        # Where nobody can tell, a symbol has the benefit of the doubt.
        return ExportedSymbol(symbol, KERNEL) if image is None else image.get(symbol)

    def _exports_of(self, name: str) -> dict[str, ExportedSymbol] | None:
        """Return what a module exports; None if its file cannot be read."""
        if name not in self._exports:
            self._exports[name] = {}
            path = self._tree.module_path(name)
            if path:
                try:
                    with self._tree.open_module(path) as file:
                        self._exports[name] = module_exports(file.elf(), name)
                except (OSError, UkmodError):
                    self._exports[name] = None  # the step that loads that module says why
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
        directories, files = self._kernel.firmware_directories, self._tree.files
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
