"""A real kernel image under the emulated kernel: everything that Python does not implement runs from it."""

from ukmod.kernel.image.map import MappedImage

__all__ = ["MappedImage"]
