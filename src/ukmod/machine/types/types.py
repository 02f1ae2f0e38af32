"""All that is known of the C types of one kernel and its modules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import NoReturn

from ukmod.errors import LayoutError
from ukmod.kmod.elf import Elf
from ukmod.machine.types.btf import Btf
from ukmod.machine.types.graph import Later, TypeSource
from ukmod.machine.types.layout import EnumLayout, Kind, Member, Prototype, StructLayout, Type

__all__ = ["HOW_TO_SUPPLY", "Types"]

HOW_TO_SUPPLY = (
    "supply the kernel's types with --btf FILE (its /sys/kernel/btf/vmlinux, or a profile) "
    "or --kernel VMLINUZ, or build the module with debug information"
)
_STEP = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)\Z")


class Types:
    """The layouts that several sources know, in their order: what one lacks, the next may supply.

    The first ones are of the kernel; each module that is loaded adds what its own debug information knows.
    """

    def __init__(self, sources: Iterable[TypeSource] = (), *, kernel: Btf | Later | None = None) -> None:
        """``kernel`` is the BTF that modules' own BTF goes on from; it need not be among the sources."""
        self._sources = list(sources)
        self._kernel = kernel
        self._offsets: dict[tuple[str, str], tuple[int, Member]] = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """The files this knowledge comes from, in the order they are asked."""
        return tuple(source.path for source in self._sources)

    def add(self, elf: Elf) -> None:
        """Take in what a module's debug information knows; a module without any adds nothing.

        Raises FormatError if it is damaged; what is read when it is first asked for raises it then.
        """
        from ukmod.machine.types.dwarf import Dwarf

        if Dwarf.is_in(elf):
            self._sources.append(TypeSource(Dwarf(elf)))
        split = elf.find(b".BTF")
        if split is not None and self._kernel is not None:
            read = partial(_split, split[1], self._kernel, elf.path)
            self._sources.append(TypeSource(Later(elf.path, read)))

    def learn(self, names: Iterable[str]) -> None:
        """Look these up now, so that the answers are there when they are asked for."""
        for name in names:
            for source in self._sources:
                if source.struct(name) is not None:
                    break
            self.has(name)

    # What is asked

    def struct(self, name: str) -> StructLayout:
        """Return a struct or union by its tag, or by a typedef's name; LayoutError if it is not known."""
        for source in self._sources:
            found = source.struct(name)
            if found is not None:
                return found
        return self._unknown(f"struct {name}")

    def member(self, name: str, path: str) -> Member:
        """Return the member that a path such as ``"thread_info.flags"`` or ``"numbers[1].nr"`` leads to.

        Its ``offset`` is from the start of the struct that contains it; see :meth:`offset`.
        """
        return self._walk(name, path)[1]

    def offset(self, name: str, path: str) -> int:
        """Return how many bytes into a struct the member is that a path leads to; LayoutError if none is."""
        return self._walk(name, path)[0]

    def sizeof(self, name: str) -> int:
        """Return the size in bytes of a struct, typedef, enum or base type; LayoutError if not known."""
        for source in self._sources:
            found = source.type(name)
            if found is not None:
                return found.size
        return self._unknown(name)

    def has(self, name: str, path: str = "") -> bool:
        """Tell whether a struct is known and has the member a path leads to.

        This is how the kernel half tells versions apart: by what is there, never by a number.
        """
        try:
            if path:
                self._walk(name, path)
            else:
                self.sizeof(name)
        except LayoutError:
            return False
        return True

    def enum(self, name: str) -> EnumLayout:
        """Return an enum by its tag or a typedef's name; LayoutError if it is not known."""
        for source in self._sources:
            found = source.enum(name)
            if found is not None:
                return found
        return self._unknown(f"enum {name}")

    def prototype(self, function: str) -> Prototype | None:
        """Return a function's prototype, or None if no source knows the function."""
        found = (source.prototype(function) for source in self._sources)
        return next((prototype for prototype in found if prototype is not None), None)

    def _walk(self, name: str, path: str) -> tuple[int, Member]:
        key = name, path
        if key not in self._offsets:
            self._offsets[key] = self._find_member(name, path)
        return self._offsets[key]

    def _find_member(self, name: str, path: str) -> tuple[int, Member]:
        struct, offset = self.struct(name), 0
        steps = path.split(".")
        for number, step in enumerate(steps):
            match = _STEP.match(step)
            member = struct.members.get(match[1]) if match else None
            if match is None or member is None:
                self._unknown(f"{path!r} in struct {name}: {step!r}")
            kind, start = _element(member.type, match[2])
            offset += member.offset + start
            if number == len(steps) - 1:
                return offset, member
            struct = self._inside(kind, f"{path!r} in struct {name}: {step!r}")
        raise AssertionError("a path has at least one step")

    def _inside(self, kind: Type, what: str) -> StructLayout:
        if kind.kind not in (Kind.STRUCT, Kind.UNION):
            raise LayoutError(f"{what} is no struct but {kind}")
        return kind.layout or self.struct(kind.name)

    def _unknown(self, what: str) -> NoReturn:
        known = ", ".join(self.sources) or "nothing"
        raise LayoutError(f"the layout of {what} is not known (asked: {known}): {HOW_TO_SUPPLY}", subject="")


def _split(data: bytes, kernel: Btf | Later, path: str) -> Btf:
    """The BTF of a module."""
    base = kernel.graph if isinstance(kernel, Later) else kernel
    assert isinstance(base, Btf)
    return Btf(data, base=base, path=path)


def _element(kind: Type, indices: str) -> tuple[Type, int]:
    """The type and offset that ``[1][2]`` leads to in an array; LayoutError where it is none."""
    offset = 0
    for index in re.findall(r"\d+", indices):
        if kind.kind is not Kind.ARRAY or kind.target is None:
            raise LayoutError(f"[{index}] of what is no array but {kind}")
        kind = kind.target
        offset += int(index) * kind.size
    return kind, offset
