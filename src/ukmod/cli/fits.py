"""``ukmod fits``: whether module files fit a kernel, with each symbol that they need."""

from __future__ import annotations

import os

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.cli.inspection import exports_beside, exports_listed, vermagic_of
from ukmod.cli.terminal import write_lines
from ukmod.errors import NotFoundError, UkmodError, UsageError
from ukmod.kmod.fits import KernelOffer, fit
from ukmod.kmod.linkage import KERNEL, ExportedSymbol, module_exports
from ukmod.kmod.modfile import ModuleFile
from ukmod.kmod.names import modname_from_path
from ukmod.kmod.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ukmod.kmod.fits import Fit, NeededSymbol
    from ukmod.machine.image.image import KernelImage

    Exports = Mapping[str, ExportedSymbol]

__all__ = ["STATUSES", "main"]

STATUSES = {"fits": 0, "does not fit": 1, "unknown": 2}
"""The exit status for each verdict; that of several files is the greatest, but 1 wins."""


_EXAMPLES = 3
"""Symbols that are named of those with the same doubt; --all lists each."""


def main(argv: Sequence[str]) -> int:
    """Judge each file."""
    options = command_lines.fits().parse_args(argv)
    files = [_opened(path) for path in options.file]
    try:
        offer = _offer(options, files)
        found = [(file.path, fit(file, offer)) for file in files]
    finally:
        for file in files:
            file.close()
    if options.json:
        print_document("fits", {"files": [{"file": path, **_object(one)} for path, one in found]})
    else:
        write_lines(line for path, one in found for line in _lines(path, one, everything=options.all))
    verdicts = {one.verdict for _path, one in found}
    return next(STATUSES[word] for word in ("does not fit", "unknown", "fits") if word in verdicts)


def _opened(path: str) -> ModuleFile:
    try:
        return ModuleFile(path)
    except OSError as error:
        raise NotFoundError(error.strerror or str(error), subject=path) from error


def _offer(options: Namespace, files: Sequence[ModuleFile]) -> KernelOffer:
    """Put together the exports of the kernel, of its modules and of the files themselves."""
    own: dict[str, ExportedSymbol] = {}
    for file in files:
        own |= module_exports(file.elf(), modname_from_path(file.path))
    if not (options.dirname or options.kernel or options.symvers):
        raise UsageError("say which kernel: --kernel IMAGE, --symvers FILE, or -d ROOT")
    kernel: Exports | None = None
    vermagic = options.vermagic or ""
    if options.symvers is not None:
        kernel = exports_listed(options.symvers)
    elif options.kernel is not None:
        kernel, of_image = _image(options.kernel)
        vermagic = vermagic or of_image
    tree = None
    if options.dirname is not None:
        tree = Tree.open(options.dirname, options.set_version, options.moduledir)
        tree.require_indexes()
        vermagic = vermagic or vermagic_of(tree)
        kernel = exports_beside(tree) if kernel is None else kernel
        if kernel is None:
            kernel, of_image = _image_of(tree, os.path.abspath(options.dirname))
            vermagic = vermagic or of_image

    modules = _TreeExports(tree)

    def find(symbol: str) -> ExportedSymbol | None:
        if kernel is not None and symbol in kernel and kernel[symbol].owner == KERNEL:
            return kernel[symbol]
        return own.get(symbol) or modules.find(symbol) or (kernel or {}).get(symbol)

    versions = None if kernel is None else any(one.crc is not None for one in kernel.values())
    gap = ""
    if kernel is None:
        gap = "exported by no module, and the kernel's exports are not known"
    elif tree is None and options.symvers is None:
        gap = "not exported by the image; name the tree of its modules with -d"
    return KernelOffer(find, gap, vermagic, versions)


def _image(name: str) -> tuple[Exports, str]:
    """Return what the kernel image of that name exports, and its vermagic."""
    from ukmod.machine.image.image import KernelImage
    from ukmod.machine.image.installed import image_at

    return _offered(KernelImage(image_at(name)))


def _offered(image: KernelImage) -> tuple[Exports, str]:
    """Return what an image exports, and its vermagic."""
    exports = {
        one.name: ExportedSymbol(one.name, KERNEL, one.crc, one.gpl, one.namespace)
        for one in image.exports.values()
    }
    return exports, image.vermagic


def _image_of(tree: Tree, root: str) -> tuple[Exports | None, str]:
    """Return the exports of the image that lies beside a tree; nothing if there is none that can be read."""
    from ukmod.machine.image.find import image_in

    for place in (f"{root.rstrip('/')}/boot/vmlinuz-{tree.release}", f"{tree.dirname}/vmlinuz"):
        try:
            return _offered(image_in(tree, tree.files.real(place)))
        except UkmodError:
            continue  # none, another architecture's, or a packing that needs an extra
    return None, ""


class _TreeExports:
    """The exports of a tree's modules, of which only those are read that somebody asks for."""

    def __init__(self, tree: Tree | None) -> None:
        self._tree = tree
        self._known: dict[str, Exports] = {}

    def find(self, symbol: str) -> ExportedSymbol | None:
        for owner in self._tree.symbols(f"symbol:{symbol}") if self._tree is not None else ():
            if owner not in self._known:
                self._known[owner] = self._read(owner)
            if symbol in self._known[owner]:
                return self._known[owner][symbol]
        return None

    def _read(self, owner: str) -> Exports:
        assert self._tree is not None
        path = self._tree.module_path(owner)
        try:
            with self._tree.open_module(path) as file:
                return module_exports(file.elf(), owner)
        except (OSError, UkmodError):
            return {}


def _lines(path: str, one: Fit, *, everything: bool) -> Iterator[str]:
    yield f"{path}: {one.verdict}"
    yield from (f"  {text}" for text in (*one.objections, *one.doubts))
    yield from (f"  {_symbol_text(symbol)}" for symbol in one.symbols if everything or symbol.objection)
    if not everything:
        yield from (f"  {text}" for text in _doubts(one.symbols))


def _doubts(symbols: Iterable[NeededSymbol]) -> Iterator[str]:
    """Say each doubt once, with the symbols that it is about."""
    about: dict[str, list[str]] = {}
    for symbol in symbols:
        if symbol.doubt:
            about.setdefault(symbol.doubt, []).append(symbol.binding.symbol)
    for doubt, names in about.items():
        more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
        yield f"{', '.join(names[:_EXAMPLES])}{more}: {doubt}"


def _symbol_text(symbol: NeededSymbol) -> str:
    binding = symbol.binding
    export = binding.export
    owner = "not found" if export is None else export.owner
    words = [f"{binding.symbol} => {owner}"]
    if export is not None:
        words += [f"{export.crc:#010x}"] if export.crc is not None else []
        words += ["GPL only"] if export.gpl_only else []
        words += [f"namespace {export.namespace}"] if export.namespace else []
    words += ["weak"] if binding.weak else []
    verdict = symbol.objection or symbol.doubt
    return ", ".join(words) + (f": {verdict}" if verdict else "")


def _object(one: Fit) -> dict[str, object]:
    return {
        "module": one.module,
        "verdict": one.verdict,
        "vermagic": one.vermagic,
        "objections": list(one.objections),
        "doubts": list(one.doubts),
        "symbols": [
            {
                "symbol": symbol.binding.symbol,
                "weak": symbol.binding.weak,
                "crc": symbol.binding.crc,
                "exporter": None if (export := symbol.binding.export) is None else export.owner,
                "exported_crc": None if export is None else export.crc,
                "gpl_only": export is not None and export.gpl_only,
                "namespace": "" if export is None else export.namespace,
                "objection": symbol.objection,
                "doubt": symbol.doubt,
            }
            for symbol in one.symbols
        ],
    }
