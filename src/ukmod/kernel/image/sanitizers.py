"""Checkers that an image was built with, and that need memory which this machine does not have.

KMSAN keeps a shadow of all memory, which the code of each function reads. Without it the first function to
run would fault, in a place that says nothing of the reason. KASAN's shadow is in mm/shadow.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ukmod.errors import MachineError

if TYPE_CHECKING:
    from ukmod.machine.image.image import KernelImage

SHADOWED: Final[dict[str, str]] = {
    "__msan_metadata_ptr_for_load_8": "KMSAN (CONFIG_KMSAN)",
}
"""The checkers with a shadow, by a function that every kernel with it has: compiled code calls it."""


def refuse(image: KernelImage) -> None:
    """Raise MachineError for an image with a checker that cannot work here."""
    for function, checker in SHADOWED.items():
        if image.address(function) is not None:
            text = (
                f"was built with {checker}, whose shadow memory this machine does not have: name an image "
                "without it; ukmod itself reports the misuse of memory"
            )
            raise MachineError(text, subject=image.path)
