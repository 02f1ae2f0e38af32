"""Reading a real kernel's image: its segments, exports, symbols and types."""

from ukmod.machine.image.image import KernelImage
from ukmod.machine.image.ksymtab import KernelSymbol
from ukmod.machine.image.symbols import ImageSymbol, ImageSymbols
from ukmod.machine.image.vmlinux import Segment

__all__ = ["ImageSymbol", "ImageSymbols", "KernelImage", "KernelSymbol", "Segment"]
