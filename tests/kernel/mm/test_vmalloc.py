"""Virtually contiguous memory: mm/vmalloc.c, Documentation/core-api/memory-allocation.rst."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.conftest import Guest, layouts

from ukmod.kernel.core import Core
from ukmod.kernel.image.internal.vmalloc import execmem_alloc, module_alloc, module_memfree
from ukmod.kernel.mm.gfp import GFP_KERNEL, GFP_NOWARN
from ukmod.machine.area import MODULES_END, MODULES_VADDR
from ukmod.machine.memory import PAGE_OFFSET, PAGE_SIZE, READ_ONLY, READ_WRITE

ALLOCATORS = {
    "vmalloc": ((), "0xcc0(GFP_KERNEL)"),
    "vzalloc": ((), "0xdc0(GFP_KERNEL|__GFP_ZERO)"),
    "vmalloc_user": ((), "0xdc0(GFP_KERNEL|__GFP_ZERO)"),
    "vmalloc_32": ((), "0xcc4(GFP_KERNEL|GFP_DMA32)"),
    "vmalloc_32_user": ((), "0xdc4(GFP_KERNEL|GFP_DMA32|__GFP_ZERO)"),
    "vmalloc_node": ((-1,), "0xcc0(GFP_KERNEL)"),
    "vzalloc_node": ((-1,), "0xdc0(GFP_KERNEL|__GFP_ZERO)"),
    "__vmalloc": ((GFP_KERNEL,), "0xcc0(GFP_KERNEL)"),
    "vmalloc_huge": ((GFP_KERNEL,), "0xcc0(GFP_KERNEL)"),
}
"""What each takes behind the size, and the gfp_t that it allocates with, in %pGg's words."""
ALL = {f"{name}{suffix}": spec for name, spec in ALLOCATORS.items() for suffix in ("", "_noprof")}
ALL["vmalloc_huge_node_noprof"] = ((GFP_KERNEL, -1), "0xcc0(GFP_KERNEL)")
EACH = pytest.mark.parametrize(("function", "rest"), [(name, rest) for name, (rest, _) in ALL.items()])
VM_MAP, VM_MAP_PUT_PAGES, VM_NO_GUARD = 0x4, 0x200, 0x40
TOO_LARGE = 1 << 40


class TestAllocation:
    @EACH
    def test_an_area_is_zeroed_whole_pages_and_ends_with_a_hole(
        self, kernel: Core, guest: Guest, function: str, rest: tuple[int, ...]
    ) -> None:
        """Zeroed with init_on_alloc=1, which distributions set, even where nothing promises it."""
        area = guest.pointer(function, 5000, *rest)
        assert area % PAGE_SIZE == 0
        assert guest.call("is_vmalloc_addr", area) == 1
        assert kernel.memory.read(area, 8192) == bytes(8192)
        kernel.memory.write(area, b"x" * 8192)
        assert not kernel.memory.prot(area + 8192)
        assert not kernel.memory.prot(area - 1)

    @EACH
    def test_a_freed_area_is_gone(
        self, kernel: Core, guest: Guest, function: str, rest: tuple[int, ...]
    ) -> None:
        area = guest.pointer(function, 1, *rest)
        assert [(address, size) for address, size, _ in kernel.vmalloc.live()] == [(area, PAGE_SIZE)]
        guest.call("vfree", area)
        assert not kernel.memory.prot(area)
        assert not kernel.vmalloc.live()

    @EACH
    def test_no_bytes_are_an_error_that_is_warned_of_once(
        self, kernel: Core, guest: Guest, function: str, rest: tuple[int, ...]
    ) -> None:
        for _ in range(2):
            assert guest.pointer(function, 0, *rest) == 0
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/vmalloc.c", 3227)]

    @pytest.mark.parametrize("function", ALL)
    def test_more_than_there_is_names_its_size_and_its_flags(
        self, kernel: Core, guest: Guest, function: str
    ) -> None:
        rest, mode = ALL[function]
        assert guest.pointer(function, TOO_LARGE, *rest) == 0
        assert kernel.log.lines[0] == (
            f"test: vmalloc error: size {TOO_LARGE}, exceeds total pages, mode:{mode},"
            " nodemask=(null),cpuset=/,mems_allowed=0"
        )
        assert kernel.log.lines[1].startswith("CPU: 0 PID: "), "dump_stack()"

    def test_failures_are_reported_once_in_ten_seconds(self, kernel: Core, guest: Guest) -> None:
        def reported() -> int:
            guest.call("vmalloc", TOO_LARGE)
            return kernel.log.dmesg().count("vmalloc error")

        assert [reported(), reported()] == [1, 1]
        kernel.run(11)
        assert reported() == 2
        assert "warn_alloc: 1 callbacks suppressed\n" in kernel.log.dmesg()

    def test_a_caller_may_ask_for_silence(self, kernel: Core, guest: Guest) -> None:
        assert guest.pointer("__vmalloc", TOO_LARGE, GFP_KERNEL | GFP_NOWARN) == 0
        assert kernel.log.lines == []

    @pytest.mark.parametrize("size", [-1, 1 << 63, (1 << 64) - PAGE_SIZE + 1])
    def test_a_size_that_wraps_when_it_is_rounded_up_is_too_large(self, guest: Guest, size: int) -> None:
        assert guest.pointer("vmalloc", size) == 0

    def test_memory_that_is_used_up_is_reported_and_nothing_is_lost(self, kernel: Core, guest: Guest) -> None:
        assert guest.pointer("vmalloc", kernel.memory.size) == 0
        assert f"size {kernel.memory.size}, page order 0, failed to allocate pages" in kernel.log.lines[0]
        assert guest.pointer("vmalloc", PAGE_SIZE)


class TestCode:
    """What holds code: module_alloc() until v6.9, execmem_alloc() since."""

    @staticmethod
    def allocated(kernel: Core, size: int, allocate: Callable[[Core, int], int] = module_alloc) -> int:
        found: list[int] = []

        def work() -> int:
            found.append(allocate(kernel, size))
            return 0

        kernel.run_task("test", work)
        return found[0]

    def test_more_than_the_area_is_null_in_silence(self, kernel: Core) -> None:
        assert self.allocated(kernel, MODULES_END - MODULES_VADDR + 1) == 0
        assert kernel.log.lines == []

    @pytest.mark.parametrize(
        ("size", "error"),
        [
            ((1 << 64) - 1, f"size {(1 << 64) - 1}, exceeds total pages"),  # it wraps when it is rounded up
            (130 << 20, f"size {130 << 20}, exceeds total pages"),
            (127 << 20, f"size {127 << 20}, page order 0, failed to allocate pages"),
        ],
    )
    def test_more_than_the_memory_is_null(self, size: int, error: str) -> None:
        with Core(layouts(), memory=128 << 20) as kernel:
            assert self.allocated(kernel, size) == 0
            assert kernel.log.lines[0].startswith(f"test: vmalloc error: {error}, mode:0xcc0(GFP_KERNEL),")
            assert self.allocated(kernel, PAGE_SIZE)

    def test_an_area_that_is_full_has_no_addresses_left(self, kernel: Core) -> None:
        size = PAGE_SIZE
        while kernel.module_area.has_room(2 * size):
            size *= 2
        kernel.module_area.reserve(size)
        while kernel.module_area.has_room(PAGE_SIZE):
            kernel.module_area.reserve(PAGE_SIZE)
        assert self.allocated(kernel, PAGE_SIZE) == 0
        assert "vmalloc error: size 4096, vm_struct allocation failed, mode:0xcc0" in kernel.log.lines[0]

    def test_nothing_is_warned_of(self, kernel: Core) -> None:
        assert self.allocated(kernel, 0) == 0
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/vmalloc.c", 3227)]

    def test_execmem_alloc_reports_each_failure_in_one_line(self, kernel: Core) -> None:
        def allocate(k: Core, size: int) -> int:
            return execmem_alloc(k, 0, size)

        for _ in range(20):
            assert self.allocated(kernel, TOO_LARGE, allocate) == 0
        assert kernel.log.lines == ["execmem: unable to allocate memory"] * 10  # printk_ratelimited()
        assert kernel.memory.frames_left() > 0


class TestFreeing:
    @pytest.mark.parametrize("function", ["vfree", "vfree_atomic", "vunmap", "kvfree"])
    def test_null_is_freed_in_silence(self, kernel: Core, guest: Guest, function: str) -> None:
        guest.call(function, 0)
        assert not kernel.warnings

    @pytest.mark.parametrize("function", ["vfree", "vfree_atomic", "vunmap"])
    def test_an_area_that_does_not_exist_is_warned_of(
        self, kernel: Core, guest: Guest, function: str
    ) -> None:
        """Freed twice, and no multiple of a page's size."""
        area = guest.pointer("vmalloc", PAGE_SIZE)
        guest.call("vfree", area)
        guest.call(function, area)
        guest.call(function, area + 8)
        first, second = kernel.warnings
        assert first.message.startswith("Trying to vfree() nonexistent vm area (")
        assert second.message.startswith("Trying to vfree() bad address (")

    def test_vfree_atomic_frees(self, kernel: Core, guest: Guest) -> None:
        guest.call("vfree_atomic", guest.pointer("vmalloc", PAGE_SIZE))
        kernel.run(1)
        assert not kernel.vmalloc.live()

    def test_vunmap_does_not_free_what_vmalloc_allocated(self, kernel: Core, guest: Guest) -> None:
        """The area is gone, and its memory is lost."""
        area = guest.pointer("vmalloc", PAGE_SIZE)
        guest.call("vunmap", area)
        assert not kernel.memory.prot(area)
        assert [leak.kind for leak in kernel.slab.leaks() if area in leak.addresses] == ["vmalloc"]
        assert not kernel.warnings
        guest.call("vfree", area)
        assert kernel.warnings[0].message.startswith("Trying to vfree() nonexistent vm area (")
        assert guest.pointer("vmalloc", PAGE_SIZE) != area

    def test_module_memfree_reports_what_is_no_allocation(self, kernel: Core) -> None:
        code = kernel.module_area.alloc(PAGE_SIZE)

        def free() -> int:
            for address in (0, code, code):
                module_memfree(kernel, address)
            return 0

        kernel.run_task("free", free)
        (warning,) = kernel.warnings
        assert warning.message.startswith("Trying to vfree() nonexistent vm area (")


class TestAddresses:
    def test_which_addresses_are_vmallocs(self, guest: Guest) -> None:
        area, module = guest.pointer("vmalloc", PAGE_SIZE), 0xFFFF_FFFF_C000_0000
        for address, vmalloc, or_module in [
            (area, 1, 1), (area + PAGE_SIZE - 1, 1, 1), (module, 0, 1), (PAGE_OFFSET, 0, 0), (0, 0, 0),
        ]:  # fmt: skip
            assert guest.call("is_vmalloc_addr", address) == vmalloc
            assert guest.call_int("is_vmalloc_or_module_addr", address) == or_module

    def test_pages_of_an_area_are_ram(self, kernel: Core, guest: Guest) -> None:
        area = guest.pointer("vmalloc", 3 * PAGE_SIZE)
        kernel.memory.write(area + 2 * PAGE_SIZE, b"third")
        at = area + 2 * PAGE_SIZE + 100
        page = guest.pointer("vmalloc_to_page", at)
        frame = kernel.pages.frame_of(page)
        assert bytes(kernel.memory.view[frame : frame + 5]) == b"third"
        mapcount = kernel.memory.u32(page + kernel.types.offset("page", "_mapcount"))
        assert mapcount == 0xFFFF_FFFF  # -1: no process has mapped it
        assert guest.call("vmalloc_to_pfn", at) == frame // PAGE_SIZE

    def test_an_address_that_is_not_mapped_has_no_page(self, kernel: Core, guest: Guest) -> None:
        area = guest.pointer("vmalloc", PAGE_SIZE)
        assert guest.pointer("vmalloc_to_page", area + PAGE_SIZE) == 0
        assert guest.pointer("vmalloc_to_pfn", area + PAGE_SIZE) == kernel.pages.pfn(0)
        assert not kernel.oopses


class Pages:
    """Some pages, and the array of their struct pages that vmap() takes."""

    def __init__(self, guest: Guest, count: int) -> None:
        self.guest, self.memory = guest, guest.kernel.memory
        self.all = [guest.pointer("alloc_pages", GFP_KERNEL, 0) for _ in range(count)]
        for page in self.all:
            self.memory.write(self.address(page), bytes([0x61 + self.all.index(page)]) * PAGE_SIZE)
        self.array = guest.pointer("__kmalloc", 8 * count, GFP_KERNEL)
        for n, page in enumerate(self.all):
            self.memory.set_u64(self.array + 8 * n, page)

    def address(self, page: int) -> int:
        """page_address()."""
        return PAGE_OFFSET + self.guest.kernel.pages.frame_of(page)

    def map(self, flags: int = VM_MAP, prot: int = READ_WRITE) -> int:
        """vmap() of them all."""
        return self.guest.pointer("vmap", self.array, len(self.all), flags, prot)


@pytest.fixture
def pages(guest: Guest) -> Pages:
    return Pages(guest, 3)


class TestVmap:
    def test_pages_are_mapped_in_the_arrays_order(self, kernel: Core, pages: Pages) -> None:
        pages.all.reverse()
        for n, page in enumerate(pages.all):
            kernel.memory.set_u64(pages.array + 8 * n, page)
        area = pages.map()
        assert kernel.memory.read(area, 3 * PAGE_SIZE) == b"".join(c * PAGE_SIZE for c in (b"c", b"b", b"a"))
        kernel.memory.write(area, b"written")
        assert kernel.memory.read(pages.address(pages.all[0]), 7) == b"written"
        assert not kernel.memory.prot(area + 3 * PAGE_SIZE)

    def test_the_mapping_has_the_protection_asked_for(self, kernel: Core, pages: Pages) -> None:
        assert kernel.memory.prot(pages.map(prot=READ_ONLY)) == READ_ONLY
        assert kernel.memory.prot(pages.map(prot=0x163)) == READ_WRITE, "never executable"

    @pytest.mark.parametrize("function", ["vunmap", "vfree"])
    def test_unmapping_leaves_the_pages_to_their_owner(
        self, kernel: Core, guest: Guest, pages: Pages, function: str
    ) -> None:
        area = pages.map()
        guest.call(function, area)
        assert not kernel.memory.prot(area)
        assert kernel.memory.u8(pages.address(pages.all[0])) == ord("a")
        assert len(kernel.pages.live()) == 3
        assert not kernel.warnings
        guest.call("vunmap", area)
        assert kernel.warnings[0].message.startswith("Trying to vfree() nonexistent vm area (")

    def test_pages_that_were_given_away_are_freed_with_their_array(
        self, kernel: Core, guest: Guest, pages: Pages
    ) -> None:
        guest.call("vfree", pages.map(VM_MAP | VM_MAP_PUT_PAGES))
        assert not kernel.pages.live()
        assert kernel.slab.object_at(pages.array) is None

    def test_vunmap_never_frees_them(self, kernel: Core, guest: Guest, pages: Pages) -> None:
        guest.call("vunmap", pages.map(VM_MAP | VM_MAP_PUT_PAGES))
        assert len(kernel.pages.live()) == 3
        assert kernel.slab.object_at(pages.array) is not None

    @pytest.mark.parametrize("count", [0, 0xFFFF_FFFF])
    def test_no_pages_and_too_many_are_null(self, guest: Guest, pages: Pages, count: int) -> None:
        assert guest.pointer("vmap", pages.array, count, VM_MAP, READ_WRITE) == 0

    def test_a_hole_in_the_array_is_warned_of_and_nothing_is_mapped(
        self, kernel: Core, guest: Guest, pages: Pages
    ) -> None:
        kernel.memory.set_u64(pages.array + 8, 0)
        assert pages.map() == 0
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/vmalloc.c", 545)]
        kernel.memory.set_u64(pages.array + 8, pages.all[1])
        assert pages.map()

    def test_without_memory_for_page_tables_nothing_is_mapped(self, kernel: Core, pages: Pages) -> None:
        kernel.memory.alloc_frames(kernel.memory.frames_left())
        assert kernel.vmalloc.map_pages(pages.array, 3, VM_MAP, READ_WRITE) == 0

    def test_each_mapping_has_its_guard_page(self, kernel: Core, pages: Pages) -> None:
        assert pages.map(VM_MAP | VM_NO_GUARD)
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/vmalloc.c", 2913)]

    def test_a_thousand_mappings_cost_no_more_than_one(
        self, kernel: Core, guest: Guest, pages: Pages
    ) -> None:
        guest.call("vunmap", pages.map())
        left = kernel.memory.frames_left()
        for _ in range(1000):
            kernel.vmalloc.unmap_pages(kernel.vmalloc.map_pages(pages.array, 3, VM_MAP, READ_WRITE))
        assert kernel.memory.frames_left() == left
