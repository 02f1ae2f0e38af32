"""All known C types of one kernel and its modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
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
    """The layouts from several sources, in order: what one lacks, the next may supply.

    The first sources describe the kernel; each loaded module adds its own debugging information, which
    replaces that of the module's previous load.
    """

    def __init__(self, sources: Iterable[TypeSource] = (), *, kernel: Btf | Later | None = None) -> None:
        """``kernel`` is the BTF that modules' own BTF extends; it need not be among the sources."""
        self._of_kernel = tuple(sources)
        self._of_modules: dict[str, list[TypeSource]] = {}
        self._sources = self._of_kernel
        self._kernel = kernel
        self._offsets: dict[tuple[str, str], tuple[int, Member]] = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """The files the types come from, in the order in which they are searched."""
        return tuple(source.path for source in self._sources)

    def add(self, elf: Elf, name: str = "") -> None:
        """Add a module's type information, if it has any: its BTF, then its DWARF, for what BTF lacks.

        Both are read when a look-up first reaches them, which then raises FormatError if they are damaged.
        They replace what an earlier call added for a module of that ``name``, by default the one in its
        modinfo: the module may have been built anew, and loading it often must not take ever more memory.
        """
        name = name or dict(elf.modinfo()).get("name") or elf.path
        if self._of_modules.get(name):
            self._offsets = {key: found for key, found in self._offsets.items() if self._in_kernel(key[0])}
        self._of_modules[name] = list(self._in_module(elf))
        self._sources = (*self._of_kernel, *chain.from_iterable(self._of_modules.values()))

    def _in_module(self, elf: Elf) -> Iterator[TypeSource]:
        split = elf.find(b".BTF")
        if split is not None and self._kernel is not None:
            yield TypeSource(Later(elf.path, partial(_split, split[1], self._kernel, elf.path)))
        if elf.section(".debug_info") is not None:
            from ukmod.machine.types.dwarf import Dwarf

            if Dwarf.is_in(elf):
                yield TypeSource(Dwarf(elf))

    def _in_kernel(self, struct: str) -> bool:
        return any(source.struct(struct) is not None for source in self._of_kernel)

    def learn(self, names: Iterable[str]) -> None:
        """Look these types up now, so that later look-ups are fast."""
        for name in names:
            for source in self._sources:
                if source.struct(name) is not None:
                    break
            self.has(name)

    # Look-ups

    def struct(self, name: str) -> StructLayout:
        """Return a struct or union by its tag or a typedef's name; LayoutError if it is unknown."""
        for source in self._sources:
            found = source.struct(name)
            if found is not None:
                return found
        return self._unknown(f"struct {name}")

    def member(self, name: str, path: str) -> Member:
        """Return the member at a path such as ``"thread_info.flags"`` or ``"numbers[1].nr"``.

        Its ``offset`` is relative to the struct that contains it directly; see :meth:`offset`.
        """
        return self._walk(name, path)[1]

    def offset(self, name: str, path: str) -> int:
        """Return the offset in bytes of the member at a path into a struct; LayoutError if there is none."""
        return self._walk(name, path)[0]

    def sizeof(self, name: str) -> int:
        """Return the size in bytes of a struct, typedef, enum or base type; LayoutError if not known."""
        found = self.find(name)
        return found.size if found is not None else self._unknown(name)

    def find(self, name: str) -> Type | None:
        """Return a type by tag, typedef or base type's name, or None if no source knows it."""
        found = (source.type(name) for source in self._sources)
        return next((kind for kind in found if kind is not None), None)

    def has(self, name: str, path: str = "") -> bool:
        """True if a struct is known and has a member at the path.

        This is how the kernel half distinguishes versions: by what exists, never by a version number.
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
        """Return an enum by its tag or a typedef's name; LayoutError if it is unknown."""
        for source in self._sources:
            found = source.enum(name)
            if found is not None:
                return found
        return self._unknown(f"enum {name}")

    def prototype(self, function: str) -> Prototype | None:
        """Return a function's prototype, or None if no source knows the function."""
        found = (source.prototype(function) for source in self._sources)
        return next((prototype for prototype in found if prototype is not None), None)

    def variable(self, name: str) -> Type | None:
        """Return the type of a per-CPU variable, or None if no source knows it."""
        found = (source.variable(name) for source in self._sources)
        return next((kind for kind in found if kind is not None), None)

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
            raise LayoutError(f"{what} is not a struct but {kind}")
        return kind.layout or self.struct(kind.name)

    def _unknown(self, what: str) -> NoReturn:
        known = ", ".join(self.sources) or "nothing"
        raise LayoutError(
            f"the layout of {what} is not known (searched: {known}): {HOW_TO_SUPPLY}", subject=""
        )


def _split(data: bytes, kernel: Btf | Later, path: str) -> Btf:
    """Read the BTF of a module."""
    base = kernel.graph if isinstance(kernel, Later) else kernel
    assert isinstance(base, Btf)
    return Btf(data, base=base, path=path)


def _element(kind: Type, indices: str) -> tuple[Type, int]:
    """The type and offset of the element ``[1][2]`` of an array; LayoutError if it is not an array."""
    offset = 0
    for index in re.findall(r"\d+", indices):
        if kind.kind is not Kind.ARRAY or kind.target is None:
            raise LayoutError(f"cannot take element [{index}] of {kind}, which is not an array")
        kind = kind.target
        offset += int(index) * kind.size
    return kind, offset
