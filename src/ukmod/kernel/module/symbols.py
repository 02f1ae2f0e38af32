"""The kernel's symbol table: exported symbols and their addresses.

The lookup order is: Python functions, the exports of loaded modules (see main.py), the exports of a kernel
image. A Python function is given an address and a stub when it is first looked up.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ukmod.errors import LayoutError, UsageError
from ukmod.kernel.export import Export
from ukmod.machine.abi import bind
from ukmod.machine.memory import PAGE_SIZE, READ_WRITE
from ukmod.machine.stub_area import Handler
from ukmod.machine.stubs import NATIVE, STUB_BASE
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

DATA_BASE: Final = STUB_BASE - (1 << 24)
"""The address of the kernel's exported variables."""


@record
class FoundSymbol:
    """A resolved exported symbol: struct find_symbol_arg."""

    name: str
    address: int
    gpl: bool = False
    namespace: str = ""
    crc: int | None = None
    """Its modversions CRC; None if it has none, as for a symbol implemented in Python."""
    owner: str = ""
    """The module that exports it; empty for the kernel itself."""


class SymbolTable:
    """The kernel's own exports; those of modules are kept with the modules."""

    def __init__(self, kernel: Core, functions: Mapping[str, tuple[Export, Callable[..., Any]]]) -> None:
        self._k = kernel
        self._functions = functions
        self._bound: dict[int, tuple[Callable[..., Any], bool]] = {}
        """By address: the bound Python functions, and whether their first parameter is the kernel."""
        self._symbols: dict[str, FoundSymbol] = {}
        self._added: set[str] = set()
        """Functions added by the user of this kernel."""
        self._crcs: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._starts: list[int] = []
        self._data = self._data_end = DATA_BASE

    def find(self, name: str) -> FoundSymbol | None:
        """The kernel's export with this name, or None.

        With an image, the kernel exports what the image does and what the user added: a function that Python
        implements may belong to a module of that kernel.
        """
        image = self._k.image
        if image is None or name in self._added:
            return self._own(name)
        if (exported := image.find(name)) is None or self._image_first(name):
            return exported
        return self._own(name) or exported

    def _image_first(self, name: str) -> bool:
        """True if the image's own symbol must be used: static calls, which the image patches; jiffies."""
        if name.startswith("__SCT__") or name in ("jiffies", "jiffies_64"):
            return True
        found = self._functions.get(name)
        return found is not None and self.is_images(found[0])

    def is_images(self, exported: Export) -> bool:
        """True if an image's own function serves modules and the image, not Python's."""
        return exported.image_first or exported.left_to(self._k.types)

    def _own(self, name: str) -> FoundSymbol | None:
        """The symbol that Python implements under this name, exported or not."""
        if (symbol := self._symbols.get(name)) is not None:
            return symbol
        if (found := self._functions.get(name)) is not None:
            return self.add_function(found[0], found[1])
        if (code := NATIVE.get(name)) is not None:
            return self._add(Export(name), self._k.cpu.stubs.add_native(code))
        return self._k.image.find(name) if self._k.image is not None else None

    def address(self, name: str) -> int:
        """The address of a kernel function that is known to exist."""
        symbol = self._own(name)
        assert symbol is not None, name
        return symbol.address

    def is_function(self, address: int, name: str) -> bool:
        """True if this is the function's address: Python's, or the image's, whose entry jumps to it."""
        image = self._k.image
        return address == self.address(name) or (image is not None and address == image.get(name))

    def add_function(
        self, exported: Export, function: Callable[..., Any], *, kernel: bool = True
    ) -> FoundSymbol:
        """Export a Python function, replacing any other of that name.

        ``kernel``: its first parameter is the kernel, not an argument of the C function.
        """
        if not kernel:
            self._added.add(exported.name)
        address = self._k.cpu.stubs.add_function(self._bind(function, kernel=kernel))
        self._bound[address] = function, kernel
        return self._add(exported, address)

    def _bind(self, function: Callable[..., Any], *, kernel: bool) -> Handler:
        if kernel:
            return bind(function, self._k.memory, (self._k,))
        handler = bind(function, self._k.memory)

        def checked(frame: memoryview) -> int:
            with self._k.cpu.watchdog.host_code():
                result = handler(frame)
            if not isinstance(result, int):
                text = f"returned {result!r}, which is not an integer"
                raise UsageError(text, subject=function.__name__)
            return result

        return checked

    def bind_again(self) -> None:
        """Bind the functions to their stubs again, on a CPU that was restored without them.

        There are hundreds, of which a run calls some dozens: each is bound when it is first called.
        """
        for address, (function, kernel) in self._bound.items():
            self._k.cpu.stubs.set_function(address, partial(self._first_call, address, function, kernel))

    def _first_call(
        self,
        address: int,
        function: Callable[..., Any],
        kernel: bool,  # noqa: FBT001 - as it is stored
        frame: memoryview,
    ) -> int:
        handler = self._bind(function, kernel=kernel)
        self._k.cpu.stubs.set_function(address, handler)
        return handler(frame)

    def add_native(self, name: str, code: bytes, *, gpl: bool = False) -> FoundSymbol:
        """Export a function in machine code."""
        return self._add(Export(name, gpl), self._k.cpu.stubs.add_native(code))

    def add_data(self, name: str, address: int, *, gpl: bool = False) -> FoundSymbol:
        """Export a variable at ``address`` (for a per-CPU variable, its offset)."""
        return self._add(Export(name, gpl), address)

    def add_variable(self, name: str, size: int, *, gpl: bool = False, align: int = 8) -> int:
        """Export a new variable of ``size`` zero bytes within reach of modules; returns its address."""
        memory, image = self._k.memory, self._k.image
        if image is not None and (address := image.get(name)) is not None:
            if (inside := image.lookup(address)) is not None and inside[1] < size:
                raise LayoutError(f"its {name} has {inside[1]} bytes, not {size}", subject=image.image.path)
            self._add(Export(name, gpl), address)
            return address
        start = -(-self._data // align) * align
        end = self._data = start + size
        while self._data_end < end:
            memory.map(self._data_end, memory.alloc_frames(1), PAGE_SIZE, READ_WRITE)
            self._data_end += PAGE_SIZE
        self._add(Export(name, gpl), start)
        return start

    def variables(self) -> Iterator[tuple[int, int]]:
        """The pages of the exported variables that are not in an image: address and size in bytes."""
        return ((page, PAGE_SIZE) for page in range(DATA_BASE, self._data_end, PAGE_SIZE))

    def set_crcs(self, crcs: Mapping[str, int]) -> None:
        """Set the CRCs of exported symbols, as from Module.symvers, for modversions checks."""
        self._crcs = dict(crcs)
        self._symbols = {
            name: FoundSymbol(s.name, s.address, s.gpl, s.namespace, crcs.get(name), s.owner)
            for name, s in self._symbols.items()
        }

    def _add(self, exported: Export, address: int) -> FoundSymbol:
        crc = self._crc(exported.name)
        symbol = FoundSymbol(exported.name, address, exported.gpl, exported.namespace, crc)
        self._symbols[exported.name] = symbol
        if address not in self._names:
            bisect.insort(self._starts, address)
        self._names[address] = exported.name
        return symbol

    def _crc(self, name: str) -> int | None:
        """The CRC with which modules were built: that of set_crcs(), or else of the image's export."""
        image = self._k.image
        if name in self._crcs or image is None:
            return self._crcs.get(name)
        return None if (found := image.find(name)) is None else found.crc

    def functions(self) -> Mapping[str, tuple[Export, Callable[..., Any]]]:
        """All functions implemented in Python, by name, with their Export."""
        return self._functions

    def name_at(self, address: int) -> tuple[str, int] | None:
        """The kernel symbol that contains ``address``, and the offset into it in bytes, or None."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0 or not address >> 63:  # a per-CPU variable's "address" is an offset
            return None
        start = self._starts[index]
        return (self._names[start], address - start) if address - start < self.size_at(start) else None

    def size_at(self, start: int) -> int:
        """The size in bytes of the symbol at ``start``: up to the next one, but at most a page."""
        index = bisect.bisect_right(self._starts, start)
        end = self._starts[index] if index < len(self._starts) else start + 16
        return min(end - start, 4096)

    def is_python(self, name: str) -> bool:
        """True if Python implements this symbol."""
        return name in self._functions or name in self._symbols
