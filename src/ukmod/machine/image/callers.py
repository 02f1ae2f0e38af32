"""The callers of an image's functions: direct calls and jumps in its text, found without a disassembler."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ukmod.machine.image.image import KernelImage

TEXT: Final = ".text"
INIT_TEXT: Final = ".init.text"
"""The code that runs only while the kernel comes up."""
_CALL: Final = re.compile(b"[\xe8\xe9]")
"""The opcodes of call and jmp with a 32-bit offset."""


def calls(image: KernelImage, targets: Collection[int], section: str = TEXT) -> Iterator[tuple[int, int]]:
    """Each call of, or jump to, one of these addresses in a section of code, and its target."""
    text = image.section(section)
    if text is None or not targets:
        return
    code = image.read(text.addr, text.size)
    for match in _CALL.finditer(code, 0, max(0, len(code) - 4)):
        end = match.start() + 5
        target = text.addr + end + int.from_bytes(code[end - 4 : end], "little", signed=True)
        if target in targets:
            yield text.addr + match.start(), target


def callers(image: KernelImage, functions: Mapping[int, str], section: str = TEXT) -> dict[str, list[str]]:
    """The functions of a section that call each of these, which are given by address; none more than once."""
    found: dict[str, list[str]] = {}
    for at, target in calls(image, functions, section):
        symbol = image.symbols.at(at)
        names = found.setdefault(functions[target], [])
        if symbol is not None and symbol.name not in names:
            names.append(symbol.name)
    return found


def brings_up(image: KernelImage, functions: Mapping[int, str]) -> dict[str, str]:
    """Find the functions that init code calls, each with one of its callers. The bring-up needs them."""
    return {name: found[0] for name, found in callers(image, functions, INIT_TEXT).items() if found}
