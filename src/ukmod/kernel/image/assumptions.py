"""Assumptions that Python's half makes about an image, and whether they hold there.

Each function of an image that is replaced makes three assumptions: Python reads its arguments as the image
passes them; no code is patched within the jump at its entry; no call of the image bypasses the entry. A
function among them that is not replaced looks for no state that Python keeps. Each variable that is set has
the size that is written. The types of Python's functions, ``interpose.SAME_AS`` and ``hardware.VARIABLES``
say what is assumed, the image's BTF, symbols and tables what there is. Only ``natives.LEFT_NATIVE`` is a list
of reasons, by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

from ukmod.kernel.image import hardware
from ukmod.kernel.image.interpose import Replacement, jump_place, misfit, parts, replacements
from ukmod.kernel.image.natives import LEFT_NATIVE, unclaimed
from ukmod.kernel.image.sites import patched_sites
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.machine.image.image import KernelImage
    from ukmod.machine.types.types import Types

_CALL: Final = re.compile(b"[\xe8\xe9]")
"""The opcodes of call and jmp with a 32-bit offset."""


class Standing(Enum):
    """Whether an assumption is true of an image."""

    HOLDS = "holds"
    UNMET = "does not hold"
    NOT_NEEDED = "not needed"


@record
class Assumption:
    """An assumption about the symbol ``subject``, and what an image makes of it."""

    subject: str
    assumed: str
    """The assumption, in a few words."""
    state: Standing
    detail: str = ""
    """The fact that contradicts it, or the reason why it is not needed."""

    def __str__(self) -> str:
        """One line, for a person."""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.subject}: {self.state.value}: {self.assumed}{detail}"


ARGUMENTS: Final = "Python reads its arguments as they are passed"
ENTRY: Final = "nothing patches the code that the jump at its entry takes"
CALLS: Final = "every call goes through its entry"
STATE: Final = "it looks for no state that Python keeps"
SIZE: Final = "it has the size that is written"


def check(image: KernelImage, types: Types) -> tuple[Assumption, ...]:
    """All assumptions about an image, by subject."""
    found = [*_of_functions(image, types), *_of_natives(image, types), *_of_variables(image)]
    return tuple(sorted(found, key=lambda finding: (finding.subject, finding.assumed)))


def _of_functions(image: KernelImage, types: Types) -> Iterator[Assumption]:
    functions = replacements()
    sites, bypassed = patched_sites(image), _bypassed(image, functions)
    for replacement in functions:
        name = replacement.name
        at = image.address(name)
        if at is None:
            yield Assumption(name, ARGUMENTS, Standing.NOT_NEEDED, "the image has no such function")
            continue
        if replacement.function is not None:
            yield _finding(name, ARGUMENTS, misfit(replacement, types))
        place = jump_place(sites, at, image.symbols.size_at(at))
        yield _finding(name, ENTRY, "" if place is not None else "a static key changes its first instruction")
        yield _finding(name, CALLS, bypassed.get(name, ""))


def _of_natives(image: KernelImage, types: Types) -> Iterator[Assumption]:
    for name, neighbour in unclaimed(image, types, replacements()).items():
        if reason := LEFT_NATIVE.get(name):
            yield Assumption(name, STATE, Standing.NOT_NEEDED, reason)
        else:
            yield _finding(name, STATE, f"{neighbour}(), next to it, is Python's, and it is not")


def _of_variables(image: KernelImage) -> Iterator[Assumption]:
    for name, (_, size) in hardware.VARIABLES.items():
        if (at := image.address(name)) is None:
            yield Assumption(name, SIZE, Standing.NOT_NEEDED, "the image has no such variable")
            continue
        room = image.symbols.size_at(at)
        yield _finding(name, SIZE, f"it has {room} bytes, not {size}" if 0 < room < size else "")


def _finding(name: str, assumed: str, detail: str) -> Assumption:
    return Assumption(name, assumed, Standing.UNMET if detail else Standing.HOLDS, detail)


def _bypassed(image: KernelImage, functions: tuple[Replacement, ...]) -> dict[str, str]:
    """The replaced functions of which code that is not replaced calls a part, and which code that is.

    The compiler moves the larger part of a function out of it (``.part.0``), or copies it for some callers.
    """
    replaced = {function.name for function in functions}
    known = replaced | parts(image.symbols, functions).keys()
    left = {
        symbol.address: symbol.name
        for symbol in image.symbols
        if symbol.name.partition(".")[0] in replaced and symbol.name not in known and _is_part(symbol.name)
    }
    found: dict[str, str] = {}
    for at, target in _calls(image, left):
        caller = image.symbols.at(at)
        if caller is not None and (whole := caller.name.partition(".")[0]) not in replaced:
            found.setdefault(left[target].partition(".")[0], f"{whole}() calls {left[target]}()")
    return found


def _is_part(name: str) -> bool:
    words = name.split(".")
    return words[-1] != "cold" and any(word in ("part", "constprop", "isra") for word in words[1:])


def _calls(image: KernelImage, targets: Mapping[int, str]) -> Iterator[tuple[int, int]]:
    """Each call of, or jump to, one of these addresses in the image's text, and its target."""
    text = image.section(".text")
    if text is None or not targets:
        return
    code = image.read(text.addr, text.size)
    for match in _CALL.finditer(code, 0, max(0, len(code) - 4)):
        end = match.start() + 5
        target = text.addr + end + int.from_bytes(code[end - 4 : end], "little", signed=True)
        if target in targets:
            yield text.addr + match.start(), target
