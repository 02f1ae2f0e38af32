"""Function hooks: kernel/trace/ftrace.c, for an image's probes, live patches and tracers.

A function that can be hooked begins with ``call __fentry__``. While an ftrace_ops hooks it, that call is a
breakpoint, at which the callbacks are called with the registers; execution continues where they leave the
instruction pointer. There it also continues in a direct trampoline, as if the function had called that.
Only functions that a filter names can be hooked, not all of the kernel's at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from errno import EINVAL, EOPNOTSUPP
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.x86 import kprobes
from ukmod.machine.abi import Int, Ptr, UInt, ULong
from ukmod.machine.memory import PRESENT
from ukmod.machine.registers import MASK64, Registers
from ukmod.machine.stubs import REGISTERS
from ukmod.record import replace

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

MCOUNT_INSN_SIZE: Final = 5
_ENDBR64: Final = b"\xf3\x0f\x1e\xfa"
_CALL_REL32, _JUMP_REL32, _JUMP_REL8 = 0xE8, 0xE9, 0xEB


class Ftrace:
    """The hooked functions, by the address of their call of __fentry__."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._filters: dict[int, set[int]] = {}
        """The places that each struct ftrace_ops hooks, registered or not."""
        self._registered: list[int] = []
        self._direct: dict[int, int] = {}
        """The trampoline that a place calls directly."""
        self._replaced: dict[int, bytes] = {}
        """The first byte of the instruction below each breakpoint."""
        self._places: dict[int, int] = {}
        """The hooked place of each breakpoint."""
        self._busy = False

    # -- places ---------------------------------------------------------------------------------------

    def location(self, address: int) -> int:
        """ftrace_location(): where a function calls __fentry__, by either address; 0 if nowhere.

        A function that Python replaces is hooked in the image.
        """
        address = self._linked(address)
        found = self._k.kallsyms.lookup(address)
        if found is None:
            return 0
        start = address - found.offset
        place = start + len(_ENDBR64) * (self._code(start, len(_ENDBR64)) == _ENDBR64)
        code = self._code(place, MCOUNT_INSN_SIZE)
        if address not in (start, place) or code[:1] != bytes((_CALL_REL32,)):
            return 0
        target = place + MCOUNT_INSN_SIZE + int.from_bytes(code[1:], "little", signed=True)
        return place if target & MASK64 in self._fentry() else 0

    def _linked(self, address: int) -> int:
        """Where the image has the function that Python replaces by the one at ``address``, if it does."""
        image, known = self._k.image, self._k.symbols.name_at(address)
        if image is None or known is None or known[1]:
            return address
        return image.get(known[0]) or address

    def _fentry(self) -> set[int]:
        """The addresses of __fentry__: the image's, and the one that modules call."""
        image, own = self._k.image, self._k.symbols.find("__fentry__")
        return {own.address if own is not None else 0, (image and image.get("__fentry__")) or 0}

    def _code(self, address: int, size: int) -> bytes:
        """The code at an address as it was linked: the image's is changed where Python's functions begin."""
        image = self._k.image
        if image is not None and image.contains(address):
            return image.image.read(address, size)
        code = self._k.memory.read(address, size)
        return self._replaced.get(address, code[:1]) + code[1:]

    # -- filters --------------------------------------------------------------------------------------

    def set_filter(self, ops: int, places: set[int], *, remove: bool, reset: bool) -> None:
        """ftrace_set_filter_ips(): add places to those that ``ops`` hooks, or remove them."""
        before = set() if reset else self._filters.get(ops, set())
        self._filters[ops] = before - places if remove else before | places
        self._update()

    def register(self, ops: int) -> int:
        """register_ftrace_function(): -EOPNOTSUPP without a filter, which would be every function."""
        if ops in self._registered:
            return -EINVAL
        if not self._filters.get(ops):
            return -EOPNOTSUPP
        self._registered.append(ops)
        self._update()
        return 0

    def unregister(self, ops: int) -> int:
        """unregister_ftrace_function()."""
        if ops not in self._registered:
            return -EINVAL
        self._registered.remove(ops)
        self._update()
        return 0

    def forget(self, ops: int) -> None:
        """ftrace_free_filter()."""
        if ops not in self._registered:
            self._filters.pop(ops, None)

    def filter(self, ops: int) -> frozenset[int]:
        """The places that a struct ftrace_ops hooks, registered or not."""
        return frozenset(self._filters.get(ops, ()))

    def direct(self, place: int) -> int:
        """The trampoline that a place calls directly, or 0."""
        return self._direct.get(place, 0)

    def set_direct(self, places: Iterable[int], trampoline: int) -> None:
        """Have places call ``trampoline`` directly; 0: none."""
        for place in places:
            if trampoline:
                self._direct[place] = trampoline
            else:
                self._direct.pop(place, None)
        self._update()

    def _update(self) -> None:
        """Set and remove breakpoints, so that there is one at each hooked place."""
        wanted = {place for ops in self._registered for place in self._filters.get(ops, ())}
        wanted |= self._direct.keys()
        for place in wanted - set(self._places.values()):
            at = self._breakpoint(place)
            self._places[at] = place
            self._replaced[at] = self._k.memory.read(at, 1)
            self._write(at, kprobes.INT3)
        for at, place in tuple(self._places.items()):
            if place not in wanted:
                del self._places[at]
                self._write(at, self._replaced.pop(at))

    def _breakpoint(self, place: int) -> int:
        """Where to set a place's breakpoint: at the entry, if a jump to Python's function begins there."""
        entry, size, image = place - len(_ENDBR64), len(_ENDBR64), self._k.image
        if image is None or not image.contains(entry) or self._code(entry, size) != _ENDBR64:
            return place
        return place if self._k.memory.read(entry, size) == _ENDBR64 else entry

    def _write(self, place: int, code: bytes) -> None:
        if self._k.memory.prot(place) & PRESENT:  # the module may have gone
            self._k.memory.write(place, code, force=True)
            self._k.cpu.flush_icache(place, len(code))

    # -- hits -----------------------------------------------------------------------------------------

    def hit(self, registers: Registers) -> Registers | None:
        """ftrace_regs_caller(): call the callbacks of a breakpoint; None if it is not ftrace's.

        A function that a callback calls is not traced.
        """
        place = self._places.get(registers.rip - 1)
        if place is None:
            return None
        target, trampoline = self._next(registers.rip - 1), self._direct.get(place)
        behind = replace(registers, rip=place + MCOUNT_INSN_SIZE)
        if not self._busy:
            self._busy = True
            try:
                behind = self._call(place, behind)
            finally:
                self._busy = False
        if behind.rip != place + MCOUNT_INSN_SIZE:
            return behind
        return self._called(behind, trampoline, target) if trampoline else replace(behind, rip=target)

    def _called(self, registers: Registers, function: int, back: int) -> Registers:
        """The registers after a call of ``function`` that returns to ``back``."""
        rsp = registers["rsp"] - 8
        self._k.memory.set_u64(rsp, back)
        gpr = tuple(
            rsp if name == "rsp" else value for name, value in zip(REGISTERS, registers.gpr, strict=True)
        )
        return replace(registers, gpr=gpr, rip=function)

    def _call(self, place: int, registers: Registers) -> Registers:
        k = self._k
        parent = k.memory.u64(registers["rsp"])
        at = kprobes.push(k, registers)
        for ops in tuple(self._registered):
            if place in self._filters[ops]:
                k.cpu.call(k.memory.u64(ops + k.types.offset("ftrace_ops", "func")), place, parent, ops, at)
        return kprobes.load(k, at, registers)

    def _next(self, at: int) -> int:
        """Where the instruction below a breakpoint leads: behind the call, or to Python's function."""
        opcode = self._replaced[at][0]
        if opcode == _JUMP_REL8:
            return at + 2 + self._k.memory.u8(at + 1)
        distance = self._k.memory.s32(at + 1) if opcode == _JUMP_REL32 else 0
        return at + MCOUNT_INSN_SIZE + distance & MASK64


@export("ftrace_location")
def ftrace_location(k: Core, address: ULong) -> ULong:
    """``unsigned long ftrace_location(unsigned long ip)``."""
    return k.ftrace.location(address)


@export("ftrace_location_range")
def ftrace_location_range(k: Core, start: ULong, end: ULong) -> ULong:
    """``unsigned long ftrace_location_range(unsigned long start, unsigned long end)``: of one function."""
    place = k.ftrace.location(start)
    return place if start <= place <= end else 0


@export(gpl=True)
def ftrace_set_filter_ip(k: Core, ops: Ptr, ip: ULong, remove: Int, reset: Int) -> Int:
    """``int ftrace_set_filter_ip(struct ftrace_ops *, unsigned long ip, int remove, int reset)``."""
    if not (place := k.ftrace.location(ip)):
        return -EINVAL
    k.ftrace.set_filter(ops, {place}, remove=bool(remove), reset=bool(reset))
    return 0


@export(gpl=True)
def ftrace_set_filter_ips(k: Core, ops: Ptr, ips: Ptr, count: UInt, remove: Int, reset: Int) -> Int:
    """``int ftrace_set_filter_ips(ops, unsigned long *ips, unsigned int cnt, int remove, int reset)``."""
    places = {k.ftrace.location(k.memory.u64(ips + 8 * n)) for n in range(count)}
    if 0 in places:
        return -EINVAL
    k.ftrace.set_filter(ops, places, remove=bool(remove), reset=bool(reset))
    return 0


@export(gpl=True)
def ftrace_set_filter(k: Core, ops: Ptr, name: Ptr, length: Int, reset: Int) -> Int:
    """``int ftrace_set_filter(ops, unsigned char *buf, int len, int reset)``: one function, by its name.

    A pattern that names several is refused: -EOPNOTSUPP.
    """
    text = k.memory.read(name, length) if name and length > 0 else b""
    if set(text) & set(b"*?[") or k.image is None:
        return -EOPNOTSUPP
    word = text.rstrip(b"\0").decode("latin-1")
    address = k.image.get(word)
    place = k.ftrace.location(address) if address else 0
    if word and not place:
        return -EINVAL
    k.ftrace.set_filter(ops, {place} if word else set(), remove=False, reset=bool(reset))
    return 0


@export(gpl=True)
def ftrace_free_filter(k: Core, ops: Ptr) -> None:
    """void ftrace_free_filter(struct ftrace_ops *)."""
    k.ftrace.forget(ops)


@export(gpl=True)
def register_ftrace_function(k: Core, ops: Ptr) -> Int:
    """``int register_ftrace_function(struct ftrace_ops *)``."""
    return k.ftrace.register(ops)


@export(gpl=True)
def unregister_ftrace_function(k: Core, ops: Ptr) -> Int:
    """``int unregister_ftrace_function(struct ftrace_ops *)``."""
    return k.ftrace.unregister(ops)
