"""Names for addresses: kernel/kallsyms.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.machine.abi import Int, Ptr, ULong
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@record
class Located:
    """The symbol that contains an address, the offset into it, its size in bytes, its module or ``""``."""

    name: str
    offset: int
    size: int
    module: str = ""


class Kallsyms:
    """Looks addresses up in the symbols of the kernel and the loaded modules."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel

    def lookup(self, address: int) -> Located | None:
        """kallsyms_lookup(): the symbol that contains ``address``, or None."""
        modules = getattr(self._k, "modules", None)
        if modules is not None and (found := modules.symbol_at(address)) is not None:
            name, offset, size, module = found
            return Located(name, offset, size, module)
        if (image := self._k.image) is not None and (inside := image.lookup(address)) is not None:
            return Located(inside[0].name, address - inside[0].address, inside[1])
        if (known := self._k.symbols.name_at(address)) is not None:
            name, offset = known
            if image is not None and (own := image.get(name)) is not None:
                return Located(name, offset, image.symbols.size_at(own))  # the one that it stands for
            return Located(name, offset, self._k.symbols.size_at(address - offset))
        return None

    def sprint(self, address: int, *, offset: bool = True, back: int = 0) -> str:
        """``name+0x4/0x20 [module]``, or the address in hexadecimal: sprint_symbol().

        ``offset=False`` gives only the name. ``back=1`` is for return addresses: it looks up the call
        instruction, which may be the last one of its function.
        """
        found = self.lookup(address - back)
        if found is None:
            return f"{address:#x}"
        place = f"+{found.offset + back:#x}/{found.size:#x}" if offset else ""
        module = f" [{found.module}]" if found.module else ""
        return f"{found.name}{place}{module}"


def _store(k: Core, buffer: int, text: str) -> int:
    encoded = text.encode("utf-8", "surrogateescape")
    k.memory.write(buffer, encoded + b"\0")
    return len(encoded)


@export(gpl=True)
def sprint_symbol(k: Core, buffer: Ptr, address: ULong) -> Int:
    """``int sprint_symbol(char *buffer, unsigned long address)``."""
    return _store(k, buffer, k.kallsyms.sprint(address))


@export(gpl=True)
def sprint_symbol_build_id(k: Core, buffer: Ptr, address: ULong) -> Int:
    """``int sprint_symbol_build_id(char *buffer, unsigned long address)``; build ids are not configured."""
    return _store(k, buffer, k.kallsyms.sprint(address))


@export(gpl=True)
def sprint_symbol_no_offset(k: Core, buffer: Ptr, address: ULong) -> Int:
    """``int sprint_symbol_no_offset(char *buffer, unsigned long address)``."""
    return _store(k, buffer, k.kallsyms.sprint(address, offset=False))
