"""The offsets of a struct's members, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ukmod.machine.types import Types


class Layout:
    """The offsets in bytes of a struct's members, as attributes: ``Layout(types, "timer_list").expires``.

    Each is looked up on first use, as a struct that only modules use may be known only once such a module is
    loaded. Raises LayoutError if it is still unknown then.
    """

    def __init__(self, types: Types, struct: str) -> None:
        self._types = types
        self._struct = struct

    def __getattr__(self, member: str) -> int:
        if member.startswith("__"):
            raise AttributeError(member)
        offset = self._types.offset(self._struct, member)
        self.__dict__[member] = offset
        return offset

    def __getitem__(self, path: str) -> int:
        """The offset of a nested member such as ``"entry.pprev"``."""
        return getattr(self, path)  # type: ignore[no-any-return]

    def has(self, member: str) -> bool:
        """True if the struct has this member."""
        return self._types.has(self._struct, member)
