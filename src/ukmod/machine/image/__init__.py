"""Reading a real kernel's image: its segments, exports, symbols and types."""

from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.ksymtab import Export
from ukmod.machine.image.symbols import Symbol, SymbolTable
from ukmod.machine.image.vmlinux import Segment

__all__ = ["Export", "KernelImage", "Segment", "Symbol", "SymbolTable"]
