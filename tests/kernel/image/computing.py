"""The functions of a kernel image, called on data of a test's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.kernel.twins.twin import Argument, Twin, outcomes

from ukmod.kernel.api import Kernel

MASK = (1 << 64) - 1
GFP_KERNEL = 0xCC0
_JMP = 0xE9


@dataclass
class Image:
    """The image's own functions, whatever Python has under the same names."""

    k: Kernel

    def put(self, content: bytes) -> int:
        """A copy in the machine's memory."""
        address = self.k.core.slab.kmalloc(max(len(content), 8), GFP_KERNEL)
        self.k.core.memory.write(address, content)
        return address

    def room(self, size: int) -> int:
        """Zeroed memory for a function to work in."""
        address: int = self.k.call("vzalloc", size, returns="void *")
        return address

    def get(self, address: int, size: int) -> bytes:
        return self.k.core.memory.read(address, size)

    def struct(self, name: str, **members: int) -> int:
        """A structure with these members set and all others zero."""
        types = self.k.core.types
        address = self.put(bytes(types.sizeof(name)))
        for member, value in members.items():
            where = address + types.offset(name, member)
            self.k.core.memory.set_uint(where, value, types.member(name, member).size)
        return address

    def member(self, address: int, name: str, member: str) -> int:
        """A member of the structure ``name`` that is at an address."""
        types = self.k.core.types
        where = address + types.offset(name, member)
        return self.k.core.memory.uint(where, types.member(name, member).size)

    def has(self, name: str) -> bool:
        """Does the image have a function of its own with this name?"""
        assert self.k.core.image is not None
        return self.k.core.image.get(name) is not None

    def native(self, name: str) -> int:
        """Where the image's own function is, or that of ``module:function``, which is loaded if need be."""
        assert self.k.core.image is not None
        module = name.partition(":")[0]
        if ":" in name and module not in self.k.modules:
            assert self.k.modprobe(module).status == 0
        where = self.k.address(name) if ":" in name else self.k.core.image.address(name)
        assert not self._replaced(where), f"{name} has been replaced"
        return where

    def _replaced(self, where: int) -> bool:
        """Does a function begin with a jump out of the image? One that is another's equal jumps inside it."""
        memory, image = self.k.core.memory, self.k.core.image
        assert image is not None
        return memory.u8(where) == _JMP and not image.contains(where + 5 + memory.s32(where + 1))

    def call(self, name: str, *arguments: int | bytes, returns: str = "unsigned long") -> Any:
        """Call ``function`` of the image, or ``module:function``."""
        values = [self.put(item) if isinstance(item, bytes) else item for item in arguments]
        return self.k.call(self.native(name), *values, returns=returns)

    def both(
        self, name: str, cases: Sequence[tuple[Argument, ...]], *, returns: str, native: str = ""
    ) -> tuple[list[str], list[str]]:
        """What comes of the image's own function and of the one in Python, on the same arguments."""
        core = self.k.core
        assert core.symbols.is_python(name)
        theirs, ours = (
            outcomes(core, function, returns, cases)
            for function in (self.native(native or name), core.symbols.address(name))
        )
        return theirs, ours

    def differences(self, twin: Twin) -> list[Difference]:
        """Those cases on which the two do not agree, with both outcomes."""
        found = self.both(twin.name, twin.cases, returns=twin.returns, native=twin.native)
        return [one for one in zip(map(repr, twin.cases), *found, strict=True) if one[1] != one[2]]

    def kept(self, twin: Twin) -> list[str]:
        """What is recorded: the outcomes of the first cases."""
        function = self.native(twin.native or twin.name)
        return outcomes(self.k.core, function, twin.returns, twin.cases[: twin.kept])


Difference = tuple[str, str, str]
Run = Callable[[Callable[[Image], Any]], Any]
"""Does something in a copy of the machine; what it returns, as JSON can say it."""
