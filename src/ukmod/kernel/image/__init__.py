"""A real kernel image inside the emulated kernel; it runs everything Python does not implement."""

from ukmod.kernel.image.map import MappedImage

__all__ = ["MappedImage"]
