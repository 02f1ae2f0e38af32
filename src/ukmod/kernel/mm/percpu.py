"""The per-CPU area of the only CPU, addressed through GS: the part of mm/percpu.c that one CPU needs."""

from __future__ import annotations

from collections.abc import Iterator
from errno import ENOMEM
from typing import TYPE_CHECKING, Final

from ukmod.errors import LimitError
from ukmod.kernel.bug import Site, warn
from ukmod.kernel.export import export
from ukmod.kernel.mm import kasan
from ukmod.kernel.mm.gfp import GFP_KERNEL, GFP_NOWARN, may_sleep
from ukmod.kernel.preempt_count import layout_of
from ukmod.machine.abi import Bool, GfpT, Ptr, SizeT
from ukmod.machine.memory import PAGE_SIZE, page_align
from ukmod.machine.registers import MASK64
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

AREA_SIZE: Final = 1 << 20
PERCPU_DYNAMIC: Final = 8 << 20
"""Additional bytes for the code of a kernel image, which uses many per-CPU counters."""
STACK_CANARY: Final = 0x28
"""The offset from GS of the stack protector's canary, if no symbol says where compilers expect it."""
CANARY: Final = 0x5AFE_C0DE_CA7A_2100
_FIRST = 0x1000
MIN_UNIT_SIZE: Final = 32 << 10
"""PCPU_MIN_UNIT_SIZE in bytes: the largest allocation."""
_MIN_ALLOC_SIZE: Final = 4
"""PCPU_MIN_ALLOC_SIZE in bytes."""
_ILLEGAL: Final = Site("mm/percpu.c", 1758, "pcpu_alloc", nth=0, of=2)


@record
class PerCpuSection:
    """The image's per-CPU variables as it was linked: .data..percpu."""

    address: int
    """The value of the first per-CPU symbol: 0, or the section's place in the image."""
    content: bytes


class PerCpu:
    """The per-CPU area and its allocations.

    The value of a per-CPU symbol is its offset from GS. The first one is 0, or (since v6.15) the address of
    .data..percpu in the image. Then ``base`` is negative, as an area in the direct map lies below the image.

    An image for one processor (without CONFIG_SMP) has no such section: its per-CPU variables are ordinary
    ones, which no instruction addresses through GS. Then ``base`` is 0, and an offset is an address.
    """

    def __init__(self, kernel: Core) -> None:
        memory = kernel.memory
        self._kernel = kernel
        self._memory = memory
        self._warnings_left = 10
        self._size = AREA_SIZE
        self._next = _FIRST
        image = kernel.image
        section = image.percpu_section() if image is not None else PerCpuSection(0, b"")
        self._start = section.address
        """The offset of the area's first byte."""
        if image is not None:
            self._size += PERCPU_DYNAMIC
            self._next = max(_FIRST, page_align(len(section.content)))
        self._static = self._next
        """The size of the part with the image's own variables, in bytes."""
        area = memory.map_direct(memory.alloc_frames(self._size >> 12), self._size)
        memory.write(area, section.content)
        self.base = area - self._start
        self.gs = self.base
        """The base address of the segment GS."""
        self.prefix = b"\x65"
        """The prefix of an instruction with a per-CPU operand: GS."""
        if image is not None and not section.content:
            self._start, self.base, self.prefix = area, 0, b""
            self.gs = image.get("fixed_percpu_data") or 0  # the stack protector's canary stays there
        self._sizes: dict[int, int] = {}
        """Reserved ranges: size in bytes by offset."""
        self._names: dict[int, str] = {}
        """The names of reserved variables that have one, by offset."""
        self._image = image
        self._free: list[tuple[int, int]] = []
        """Released ranges: offset and size in bytes."""
        guard = image.get("__stack_chk_guard") if image is not None else None
        memory.set_u64(self.gs + STACK_CANARY if guard is None else self.base + guard, CANARY)
        kernel.cpu.set_gs(self.gs & MASK64)
        types = kernel.types
        # Since v6.2 (commit 64701838bf05) the hottest variables share one struct.
        if types.has("pcpu_hot", "current_task"):
            hot = self._place(kernel, "pcpu_hot", types.sizeof("pcpu_hot"), 64)
            self._offsets = {"pcpu_hot": hot, "const_pcpu_hot": hot}
            self._current = self.base + hot + types.offset("pcpu_hot", "current_task")
            self._preempt = self.base + hot + types.offset("pcpu_hot", "preempt_count")
        else:
            self._offsets = {
                "current_task": self._place(kernel, "current_task", 8),
                "__preempt_count": self._place(kernel, "__preempt_count", 4),
            }
            self._current = self.base + self._offsets["current_task"]
            self._preempt = self.base + self._offsets["__preempt_count"]
        self.count = layout_of(kernel)
        """The fields of the preempt count."""
        self._need_resched = self.count.need_resched & 0xFFFF_FFFF
        """PREEMPT_NEED_RESCHED, if it is in the lower half."""
        self._offsets["cpu_number"] = self._place(kernel, "cpu_number", 4)
        self._offsets["this_cpu_off"] = this_cpu_off = self._place(kernel, "this_cpu_off", 8)
        memory.set_u64(self.base + this_cpu_off, self.base)
        size = 4 if self._need_resched else 8
        memory.write(self._preempt, self.count.need_resched.to_bytes(size, "little"))

    def _place(self, kernel: Core, name: str, size: int, align: int = 0) -> int:
        """The offset of one of the kernel's variables: the image's, if it has it, or a newly reserved one."""
        found = kernel.image.get(name) if kernel.image is not None else None
        return self.reserve(size, align or size, name) if found is None else found

    def name_at(self, address: int) -> str:
        """The name of the per-CPU variable of the kernel at an address; empty if it has none."""
        offset = address - self.base
        if name := self._names.get(offset):
            return name
        if (
            self._image is None
            or not 0 <= offset - self._start < self._static
            or not (found := self._image.symbols.at(offset))
        ):
            return ""
        return found.name

    def reserve(self, size: int, align: int, name: str = "") -> int:
        """Reserve a zeroed per-CPU variable; returns its offset. Raises LimitError if the area is full."""
        offset = self._unused(size, align)
        self._sizes[offset] = size
        if name:
            self._names[offset] = name
        return offset

    def _unused(self, size: int, align: int) -> int:
        """The offset of unused zero bytes, released ones first."""
        for n, (offset, room) in enumerate(self._free):
            if room == size and not offset % align:
                del self._free[n]
                self._memory.write(self.base + offset, bytes(size))
                return offset
        place = -(-self._next // align) * align
        if place + size > self._size:
            raise LimitError("the per-CPU area is exhausted", errno=ENOMEM)
        self._next = place + size
        return self._start + place

    def release(self, offset: int) -> bool:
        """Release the result of ``reserve``; False for any other offset."""
        if (size := self._sizes.pop(offset, None)) is None:
            return False
        self._free.append((offset, size))
        return True

    def warn_full(self, size: int, align: int) -> None:
        """Report an allocation that failed, the first ten times."""
        k = self._kernel
        if not self._warnings_left:
            return
        reason = "failed to allocate new chunk"
        k.printk(f"percpu: allocation failed, size={size} align={align} atomic=0, {reason}\n")
        k.crash.dump_stack()
        self._warnings_left -= 1
        if not self._warnings_left:
            k.printk("percpu: limit reached, disable warning\n", 6)

    def areas(self) -> Iterator[tuple[int, int]]:
        """All per-CPU variables in use: address and size in bytes."""
        yield self.base + self._start, self._static
        for offset, size in self._sizes.items():
            yield self.base + offset, size

    @property
    def current_offset(self) -> int:
        """The offset of ``current``."""
        return self._current - self.base

    @property
    def preempt_offset(self) -> int:
        """The offset of the preempt count."""
        return self._preempt - self.base

    def symbols(self) -> dict[str, int]:
        """The kernel's own per-CPU variables: offsets by name."""
        return dict(self._offsets)

    def set_current(self, task: int) -> None:
        """Store the address of the current task_struct."""
        self._memory.set_u64(self._current, task)

    def preempt_count(self) -> int:
        """preempt_count()."""
        return self._memory.u32(self._preempt) & ~self._need_resched

    def add_preempt(self, value: int) -> None:
        """preempt_count_add()."""
        self._memory.set_u32(self._preempt, self._memory.u32(self._preempt) + value)

    def set_preempt(self, value: int) -> None:
        """preempt_count_set()."""
        self._memory.set_u32(self._preempt, value | self._need_resched)


def _alloc(k: Core, size: int, align: int, gfp: int = GFP_KERNEL) -> int:
    """pcpu_alloc(): 0 for a size larger than a chunk's unit, or an alignment larger than a page."""
    align = max(align, _MIN_ALLOC_SIZE)
    size = size + _MIN_ALLOC_SIZE - 1 & -_MIN_ALLOC_SIZE & MASK64
    if not 0 < size <= MIN_UNIT_SIZE or align > PAGE_SIZE or align & (align - 1):
        if not gfp & GFP_NOWARN:
            warn(k, _ILLEGAL, f"illegal size ({size}) or align ({align}) for percpu allocation\n")
        return 0
    try:
        return k.percpu.reserve(size, max(align, 8))
    except LimitError:
        if may_sleep(gfp) and not gfp & GFP_NOWARN:
            k.percpu.warn_full(size, align)
        return 0


@export("__alloc_percpu", gpl=True)
def alloc_percpu(k: Core, size: SizeT, align: SizeT) -> Ptr:
    """void __percpu *__alloc_percpu(size_t size, size_t align)."""
    return _alloc(k, size, align)


@export("__alloc_percpu_gfp", gpl=True)
def alloc_percpu_gfp(k: Core, size: SizeT, align: SizeT, gfp: GfpT) -> Ptr:
    """void __percpu *__alloc_percpu_gfp(size_t size, size_t align, gfp_t gfp)."""
    return _alloc(k, size, align, gfp)


@export("pcpu_alloc_noprof", gpl=True)
def pcpu_alloc(k: Core, size: SizeT, align: SizeT, reserved: Bool, gfp: GfpT) -> Ptr:
    """void __percpu *pcpu_alloc_noprof(size_t size, size_t align, bool reserved, gfp_t gfp)."""
    del reserved
    return _alloc(k, size, align, gfp)


@export(gpl=True)
def free_percpu(k: Core, pointer: Ptr) -> None:
    """void free_percpu(void __percpu *ptr)."""
    if pointer and not k.percpu.release(pointer):
        kasan.report_bad_free(k, k.percpu.base + pointer)
