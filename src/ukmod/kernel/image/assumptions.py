"""Assumptions that Python's half makes about an image, and whether they hold there.

Each function of an image that is replaced makes three assumptions: Python reads its arguments as the image
passes them; no code is patched within the jump at its entry; no call of the image bypasses the entry. A
function among them that is not replaced looks for no state that Python keeps. Each variable that is set has
the size that is written. The types of Python's functions, ``interpose.SAME_AS``, ``hardware.VARIABLES``
and ``per_cpu.TAKEN_FOR`` say what is assumed, the image's BTF, symbols and tables what there is. Only
``natives.LEFT_NATIVE`` is a list of reasons, by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Final

from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.image import hardware
from ukmod.kernel.image.interpose import Replacement, entry_code, misfit, parts, replacements
from ukmod.kernel.image.members import uses
from ukmod.kernel.image.natives import LEFT_NATIVE, unclaimed
from ukmod.kernel.image.per_cpu import TAKEN_FOR, mistaken
from ukmod.kernel.image.sites import patched_sites
from ukmod.machine.image.callers import brings_up, callers, calls
from ukmod.record import record, replace

if TYPE_CHECKING:
    from ukmod.machine.image.image import KernelImage
    from ukmod.machine.types.types import Types


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
    endangers: str = ""
    """The steps of the bring-up, code of the image, or modules that may fail, if it does not hold."""

    def __str__(self) -> str:
        """One line, for a person."""
        words = (self.subject, self.state.value, self.assumed, self.detail, self.endangers)
        return ": ".join(word for word in words if word)


_CALLERS: Final = 3
"""At most this many callers are named."""
ARGUMENTS: Final = "Python reads its arguments as they are passed"
ENTRY: Final = "nothing patches the code that the jump at its entry takes"
CALLS: Final = "every call goes through its entry"
STATE: Final = "it looks for no state that Python keeps"
SIZE: Final = "it has the size that is written"
TYPE: Final = "it has the type that is read and written"


def check(image: KernelImage, types: Types) -> tuple[Assumption, ...]:
    """All assumptions about an image, by subject."""
    found = [
        *_endangering(image, (*_of_functions(image, types), *_of_natives(image, types))),
        *_of_variables(image),
        *_of_per_cpu_variables(image, types),
        *_of_members(types),
    ]
    return tuple(sorted(found, key=lambda finding: (finding.subject, finding.assumed)))


def _of_functions(image: KernelImage, types: Types) -> Iterator[Assumption]:
    functions = replacements(types)
    sites, bypassed = patched_sites(image), _bypassed(image, functions)
    for replacement in functions:
        name = replacement.name
        at = image.address(name)
        if at is None:
            yield Assumption(name, ARGUMENTS, Standing.NOT_NEEDED, "the image has no such function")
            continue
        if replacement.function is not None:
            yield _finding(name, ARGUMENTS, misfit(replacement, types))
        code = entry_code(sites, at, image.symbols.size_at(at), target=at)
        yield _finding(name, ENTRY, "a static key changes its first instruction" if code is None else "")
        yield _finding(name, CALLS, bypassed.get(name, ""))


def _of_natives(image: KernelImage, types: Types) -> Iterator[Assumption]:
    for name, neighbour in unclaimed(image, types, replacements(types)).items():
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
        detail = f"it has {room} bytes, not {size}" if 0 < room < size else ""
        yield _finding(name, SIZE, detail, "the bring-up" if detail else "")


def _of_per_cpu_variables(image: KernelImage, types: Types) -> Iterator[Assumption]:
    """Those whose types are known: the BTF of kernels before v5.12 may have none."""
    for name in TAKEN_FOR:
        if image.address(name) is None:
            yield Assumption(name, TYPE, Standing.NOT_NEEDED, "the image has no such variable")
        elif (detail := mistaken(types, name)) is not None:
            yield _finding(name, TYPE, detail, "the bring-up" if detail else "")


def _of_members(types: Types) -> Iterator[Assumption]:
    """Each member that is read. Where the image's own functions keep a struct, no member of it is."""
    images = _files_of_the_image(types)
    for (struct, member), readers in uses().items():
        subject, assumed = f"struct {struct}", f"it has the member {member}"
        needed = [reader for reader in readers if reader.file not in images]
        if not types.has(struct):
            yield Assumption(subject, assumed, Standing.NOT_NEEDED, "the image has no such struct")
        elif not needed:
            yield Assumption(subject, assumed, Standing.NOT_NEEDED, "the image's own functions read it")
        elif types.has(struct, member):
            yield Assumption(subject, assumed, Standing.HOLDS)
        else:
            functions = ", ".join(f"{reader.function}() of {reader.file}" for reader in needed[:_CALLERS])
            detail = "there is no such member"
            yield _finding(subject, assumed, detail, f"modules that lead to {functions}")


def _files_of_the_image(types: Types) -> set[str]:
    """The files of Python whose functions are all the image's own there: ``Export.unless``."""
    found: dict[str, bool] = {}
    for exported, function in kernel_functions().values():
        file = function.__module__.removeprefix("ukmod.kernel.").replace(".", "/") + ".py"
        found[file] = found.get(file, True) and exported.left_to(types)
    return {file for file, images in found.items() if images}


def _finding(name: str, assumed: str, detail: str, endangers: str = "") -> Assumption:
    return Assumption(name, assumed, Standing.UNMET if detail else Standing.HOLDS, detail, endangers)


def _endangering(image: KernelImage, found: Iterable[Assumption]) -> Iterator[Assumption]:
    """The findings about functions, with the callers that each unmet one endangers."""
    found = tuple(found)
    unmet = {image.address(one.subject) or 0: one.subject for one in found if one.state is Standing.UNMET}
    init, text = brings_up(image, unmet), callers(image, unmet)
    for one in found:
        if one.state is not Standing.UNMET:
            yield one
        elif one.subject in init:
            yield replace(one, endangers=f"the bring-up, in {init[one.subject]}()")
        else:
            code = [f"{name}()" for name in text.get(one.subject, ())[:_CALLERS]]
            modules = [f"modules that call {one.subject}()"] if one.subject in image.exports else []
            yield replace(one, endangers=", ".join((*code, *modules)))


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
    for at, target in calls(image, left):
        caller = image.symbols.at(at)
        if caller is not None and (whole := caller.name.partition(".")[0]) not in replaced:
            found.setdefault(left[target].partition(".")[0], f"{whole}() calls {left[target]}()")
    return found


def _is_part(name: str) -> bool:
    words = name.split(".")
    return words[-1] != "cold" and any(word in ("part", "constprop", "isra") for word in words[1:])
