"""A real kernel's image: where its code and data go, what it exports, its symbols and its types."""

from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.ksymtab import Export
from ukmod.machine.image.symbols import Symbol, SymbolTable
from ukmod.machine.image.vmlinux import Segment

__all__ = ["Export", "KernelImage", "Segment", "Symbol", "SymbolTable"]
