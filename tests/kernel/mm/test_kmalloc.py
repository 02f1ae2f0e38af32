"""kmalloc() and its kin as modules call them: Documentation/core-api/memory-allocation.rst, mm/slab_common.c.

tests/kernel/mm/test_slab.py has the misuse that the fence finds.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kernel.conftest import Guest, layouts
from tests.machine.btfwriter import FUNC, BtfWriter

from ukmod.kernel.core import Core
from ukmod.kernel.mm.gfp import GFP_ATOMIC, GFP_DMA32, GFP_HIGHMEM, GFP_KERNEL, GFP_NOWARN
from ukmod.kernel.mm.slab import KMALLOC_MAX_CACHE_SIZE, KMALLOC_MAX_SIZE, ZERO_SIZE_PTR
from ukmod.machine.memory import PAGE_SIZE
from ukmod.machine.types import Btf, Types, TypeSource

SIZE, GFP, NODE, NONE = "size", "gfp", -1, 0
SMALL: dict[str, tuple[int | str, ...]] = {
    "__kmalloc": (SIZE, GFP),
    "__kmalloc_noprof": (SIZE, GFP),
    "__kmalloc_node": (SIZE, GFP, NODE),
    "__kmalloc_node_noprof": (SIZE, GFP, NODE),
    "__kmalloc_track_caller": (SIZE, GFP, NONE),
    "__kmalloc_node_track_caller": (SIZE, GFP, NODE, NONE),
    "__kmalloc_node_track_caller_noprof": (SIZE, GFP, NODE, NONE),
    "kmalloc_trace": (NONE, GFP, SIZE),
    "kmem_cache_alloc_trace": (NONE, GFP, SIZE),
    "__kmalloc_cache_noprof": (NONE, GFP, SIZE),
    "kmalloc_node_trace": (NONE, GFP, NODE, SIZE),
    "kmem_cache_alloc_node_trace": (NONE, GFP, NODE, SIZE),
    "__kmalloc_cache_node_noprof": (NONE, GFP, NODE, SIZE),
    "__kmalloc_flags_noprof": (SIZE, GFP, NONE, NODE),
    "_kmalloc_nolock_noprof": (SIZE, GFP, NODE),
    "kvmalloc_node": (SIZE, GFP, NODE),
    "__kvmalloc_node_noprof": (SIZE, GFP, NODE),
}
LARGE: dict[str, tuple[int | str, ...]] = {
    "kmalloc_large": (SIZE, GFP),
    "__kmalloc_large_noprof": (SIZE, GFP),
    "kmalloc_order": (SIZE, GFP, NONE),
    "kmalloc_order_trace": (SIZE, GFP, NONE),
    "kmalloc_large_node": (SIZE, GFP, NODE),
    "__kmalloc_large_node_noprof": (SIZE, GFP, NODE),
}
"""The parameters of each function of many names that inlined kmalloc(), kzalloc() and kvmalloc() call."""
KVMALLOCS = [name for name in SMALL if "kvmalloc" in name]
KMALLOCS = [name for name in (*SMALL, *LARGE) if name not in KVMALLOCS]
PRINTED = {GFP_HIGHMEM: "0x2(__GFP_HIGHMEM)", GFP_DMA32: "0x4(GFP_DMA32)"}


def alloc(guest: Guest, function: str, size: int, gfp: int = GFP_KERNEL) -> int:
    values = {SIZE: size, GFP: gfp}
    parameters = {**SMALL, **LARGE}[function]
    return guest.pointer(function, *(values[p] if isinstance(p, str) else p for p in parameters))


class TestAllocation:
    @pytest.mark.parametrize("function", [*SMALL, *LARGE])
    @pytest.mark.parametrize("size", [1, 100, 4096, 100_000])
    def test_an_object_is_zeroed_aligned_and_ends_where_it_ends(
        self, kernel: Core, guest: Guest, function: str, size: int
    ) -> None:
        address = alloc(guest, function, size)
        assert kernel.memory.read(address, size) == bytes(size)
        assert address % 8 == 0
        if size & size - 1 == 0:
            assert address % size == 0, "a power of two is aligned to itself"
        found = kernel.slab.object_at(address)
        assert found is not None
        assert found.size == size
        guest.call("kfree", address)
        assert not kernel.reports

    @pytest.mark.parametrize("function", SMALL)
    def test_no_bytes_are_a_pointer_of_their_own(self, kernel: Core, guest: Guest, function: str) -> None:
        """ZERO_SIZE_PTR is no error, may not be followed, and may be freed by each kind of kfree()."""
        assert alloc(guest, function, 0) == ZERO_SIZE_PTR
        for free in ("kfree", "kfree_nolock", "kfree_const", "kfree_sensitive", "kvfree"):
            guest.call(free, ZERO_SIZE_PTR)
        guest.call("kvfree_sensitive", ZERO_SIZE_PTR, 0)
        assert not kernel.reports

    @pytest.mark.parametrize("function", KMALLOCS)
    def test_more_than_the_largest_pages_are_warned_of_once(
        self, kernel: Core, guest: Guest, function: str
    ) -> None:
        assert alloc(guest, function, KMALLOC_MAX_SIZE + 1, GFP_KERNEL | GFP_NOWARN) == 0
        assert not kernel.warnings
        for size in (KMALLOC_MAX_SIZE + 1, -1):
            assert alloc(guest, function, size) == 0
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/page_alloc.c", 5634)]

    @pytest.mark.parametrize("function", LARGE)
    def test_pages_for_no_bytes_are_the_largest_order_there_is(
        self, kernel: Core, guest: Guest, function: str
    ) -> None:
        assert alloc(guest, function, 0) == 0
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/page_alloc.c", 5634)]

    def test_memory_that_is_used_up_is_reported_for_whole_pages(self, kernel: Core, guest: Guest) -> None:
        kernel.memory.alloc_frames(kernel.memory.frames_left() - 1000)
        assert alloc(guest, "__kmalloc", KMALLOC_MAX_SIZE) == 0
        assert kernel.log.lines[0].startswith(
            "test: page allocation failure: order:10, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask="
        )

    @pytest.mark.parametrize("function", LARGE)
    @pytest.mark.parametrize("zone", PRINTED)
    def test_memory_without_an_address_cannot_be_asked_for(
        self, kernel: Core, guest: Guest, function: str, zone: int
    ) -> None:
        assert alloc(guest, function, 9000, GFP_KERNEL | zone)
        assert kernel.log.lines[0] == (
            f"Unexpected gfp: {PRINTED[zone]}. Fixing up to gfp: 0xcc0(GFP_KERNEL). Fix your code!"
        )
        assert kernel.log.lines[1].startswith("CPU: 0 PID: "), "dump_stack()"


class TestKvmalloc:
    EACH = pytest.mark.parametrize("function", KVMALLOCS)

    @EACH
    def test_too_large_for_kmalloc_is_vmallocs(self, kernel: Core, guest: Guest, function: str) -> None:
        address = alloc(guest, function, KMALLOC_MAX_SIZE + 1)
        assert guest.call("is_vmalloc_addr", address) == 1
        assert not kernel.warnings
        guest.call("kvfree", address)
        assert not kernel.vmalloc.live()

    @EACH
    def test_an_atomic_caller_cannot_have_it(self, kernel: Core, guest: Guest, function: str) -> None:
        assert alloc(guest, function, KMALLOC_MAX_SIZE + 1, GFP_ATOMIC) == 0
        assert kernel.slab.object_at(alloc(guest, function, PAGE_SIZE + 1, GFP_ATOMIC))

    @EACH
    def test_a_size_beyond_an_int_is_warned_of_once(self, kernel: Core, guest: Guest, function: str) -> None:
        """Such a size is a calculation gone wrong."""
        assert alloc(guest, function, 1 << 31, GFP_KERNEL | GFP_NOWARN) == 0
        assert not kernel.warnings
        for size in (1 << 31, -1):
            assert alloc(guest, function, size) == 0
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/util.c", 596)]

    @EACH
    def test_an_int_that_memory_does_not_have_is_vmallocs_error(
        self, kernel: Core, guest: Guest, function: str
    ) -> None:
        assert alloc(guest, function, (1 << 31) - 1) == 0
        assert kernel.log.lines[0].startswith("test: vmalloc error: size 2147483647, exceeds total pages")


class TestSizes:
    @pytest.mark.parametrize(
        ("size", "rounded"),
        [
            (0, 0),
            (1, 8),
            (65, 96),
            (97, 128),
            (129, 192),
            (193, 256),
            (4097, 8192),
            (KMALLOC_MAX_CACHE_SIZE, KMALLOC_MAX_CACHE_SIZE),
            (KMALLOC_MAX_CACHE_SIZE + 1, 16384),  # whole pages, of an order
            (100_000, 131_072),
            (-1, -1),
        ],
    )
    def test_a_size_is_rounded_up_to_that_of_a_cache_or_of_pages(
        self, guest: Guest, size: int, rounded: int
    ) -> None:
        assert guest.call("kmalloc_size_roundup", size) == rounded

    @pytest.mark.parametrize("size", [1, 65, 4097, KMALLOC_MAX_CACHE_SIZE + 1, 100_000])
    def test_ksize_makes_all_of_it_usable(self, kernel: Core, guest: Guest, size: int) -> None:
        address = alloc(guest, "__kmalloc", size)
        kernel.memory.write(address, b"x" * size)
        whole = guest.call("ksize", address)
        assert whole == guest.call("kmalloc_size_roundup", size)
        assert kernel.memory.read(address, whole) == b"x" * size + bytes(whole - size)
        kernel.memory.write(address, b"y" * whole)
        guest.call("kfree", address)
        assert not kernel.reports

    def test_a_large_object_is_fenced_again_when_its_pages_are_reused(
        self, kernel: Core, guest: Guest
    ) -> None:
        kernel.slab.fence.quarantine = 0
        address = alloc(guest, "__kmalloc", 9000)
        guest.call("ksize", address)
        guest.call("kfree", address)
        again = alloc(guest, "__kmalloc", 9000)
        assert not kernel.memory.prot(again + 9000)

    def test_pages_of_kmalloc_large_are_an_order(self, guest: Guest) -> None:
        assert guest.call("ksize", alloc(guest, "kmalloc_large", 100)) == PAGE_SIZE

    @pytest.mark.parametrize("address", [0, ZERO_SIZE_PTR])
    def test_nothing_has_no_size(self, guest: Guest, address: int) -> None:
        assert guest.call("ksize", address) == 0


class TestKrealloc:
    EACH = pytest.mark.parametrize("function", ["krealloc", "krealloc_noprof", "kvrealloc_noprof"])

    @EACH
    @pytest.mark.parametrize("size", [100, 101, 128, 20])
    def test_what_fits_its_cache_stays_where_it_is(
        self, kernel: Core, guest: Guest, function: str, size: int
    ) -> None:
        """With init_on_alloc=1 the spare memory is zeroed, when it shrinks and when it grows."""
        address = alloc(guest, "__kmalloc", 100)
        kernel.memory.write(address, b"x" * 100)
        assert guest.pointer(function, address, size, GFP_KERNEL) == address
        kept = min(size, 100)
        assert kernel.memory.read(address, max(size, 100)) == b"x" * kept + bytes(max(size, 100) - kept)
        guest.call("kfree", address)
        assert not kernel.reports

    @EACH
    @pytest.mark.parametrize("slots", [100, 0], ids=["fenced", "packed"])
    def test_an_object_that_grows_byte_by_byte_keeps_its_contents(
        self, kernel: Core, guest: Guest, function: str, slots: int
    ) -> None:
        kernel.slab.fence.limit = slots
        address = alloc(guest, "__kmalloc", 1)
        for size in range(1, 300):
            address = guest.pointer(function, address, size, GFP_KERNEL)
            assert kernel.memory.read(address, size) == b"x" * (size - 1) + b"\0"
            kernel.memory.set_u8(address + size - 1, ord("x"))
        guest.call("kfree", address)
        assert not kernel.reports

    @EACH
    def test_what_does_not_fit_moves_and_its_old_memory_is_freed(
        self, kernel: Core, guest: Guest, function: str
    ) -> None:
        address = alloc(guest, "__kmalloc", 100)
        kernel.memory.write(address, b"x" * 100)
        new = guest.pointer(function, address, 129, GFP_KERNEL)
        assert new != address
        assert kernel.memory.read(new, 129) == b"x" * 100 + bytes(29)
        assert kernel.slab.object_at(address) is None

    @EACH
    @pytest.mark.parametrize("address", [0, ZERO_SIZE_PTR])
    def test_nothing_grows_into_a_new_object(
        self, kernel: Core, guest: Guest, function: str, address: int
    ) -> None:
        new = guest.pointer(function, address, 100, GFP_KERNEL)
        assert kernel.memory.read(new, 100) == bytes(100)

    @EACH
    def test_no_bytes_free_the_object(self, kernel: Core, guest: Guest, function: str) -> None:
        address = alloc(guest, "__kmalloc", 100)
        assert guest.pointer(function, address, 0, GFP_KERNEL) == ZERO_SIZE_PTR
        assert kernel.slab.object_at(address) is None

    @pytest.mark.parametrize("function", ["krealloc", "krealloc_noprof"])
    def test_a_failure_leaves_the_object_alone(self, kernel: Core, guest: Guest, function: str) -> None:
        address = alloc(guest, "__kmalloc", 100)
        assert guest.pointer(function, address, KMALLOC_MAX_SIZE + 1, GFP_KERNEL) == 0
        assert len(kernel.warnings) == 1
        assert kernel.slab.object_at(address) is not None

    @EACH
    def test_a_freed_object_is_reported_and_not_returned(
        self, kernel: Core, guest: Guest, function: str
    ) -> None:
        address = alloc(guest, "__kmalloc", 100)
        guest.call("kfree", address)
        assert guest.pointer("krealloc", address, 120, GFP_KERNEL) == 0
        assert guest.call("ksize", address) == 0
        assert [report.kind for report in kernel.reports] == ["use-after-free", "use-after-free"]


class TestKvrealloc:
    """kvrealloc(): up to v6.11 the caller knows the old size, since then the allocator does."""

    def test_an_object_moves_when_it_grows_beyond_its_old_size(self, kernel: Core, guest: Guest) -> None:
        address = alloc(guest, "kvmalloc_node", 100)
        kernel.memory.write(address, b"x" * 100)
        assert guest.pointer("kvrealloc", address, 100, 100, GFP_KERNEL) == address
        assert guest.pointer("kvrealloc", address, 100, 20, GFP_KERNEL) == address
        new = guest.pointer("kvrealloc", address, 100, KMALLOC_MAX_SIZE + 1, GFP_KERNEL)
        assert guest.call("is_vmalloc_addr", new) == 1
        assert kernel.memory.read(new, 101) == b"x" * 100 + b"\0"
        assert kernel.slab.object_at(address) is None
        assert guest.pointer("kvrealloc", new, KMALLOC_MAX_SIZE + 1, 1 << 31, GFP_KERNEL) == 0
        assert [address for address, _, _ in kernel.vmalloc.live()] == [new]

    def test_nothing_grows(self, kernel: Core, guest: Guest) -> None:
        new = guest.pointer("kvrealloc", 0, 0, 100, GFP_KERNEL)
        assert kernel.memory.read(new, 100) == bytes(100)

    def test_kmallocs_object_becomes_vmallocs(self, kernel: Core, guest: Guest) -> None:
        address = alloc(guest, "__kmalloc", 100)
        kernel.memory.write(address, b"x" * 100)
        new = guest.pointer("kvrealloc_noprof", address, KMALLOC_MAX_SIZE + 1, GFP_KERNEL)
        assert guest.call("is_vmalloc_addr", new) == 1
        assert kernel.memory.read(new, 101) == b"x" * 100 + b"\0"
        assert kernel.slab.object_at(address) is None
        assert not kernel.warnings

    def test_an_area_that_grows_moves_and_keeps_its_contents(self, kernel: Core, guest: Guest) -> None:
        area = guest.pointer("vmalloc", PAGE_SIZE)
        kernel.memory.write(area, b"x" * PAGE_SIZE)
        more = (2 * PAGE_SIZE, 1, GFP_KERNEL, NODE)
        larger = guest.pointer("vrealloc_node_align_noprof", area, *more)
        assert kernel.memory.read(larger, 2 * PAGE_SIZE) == b"x" * PAGE_SIZE + bytes(PAGE_SIZE)
        assert [(address, size) for address, size, _ in kernel.vmalloc.live()] == [(larger, 2 * PAGE_SIZE)]

    def test_vmallocs_area(self, kernel: Core, guest: Guest) -> None:
        """It stays while its pages suffice; a new one has the old one's content; 0 frees it."""
        area = guest.pointer("vmalloc", PAGE_SIZE)
        kernel.memory.write(area, b"x" * PAGE_SIZE)
        assert guest.pointer("kvrealloc_noprof", area, PAGE_SIZE - 96, GFP_KERNEL) == area
        assert kernel.memory.read(area, PAGE_SIZE) == b"x" * (PAGE_SIZE - 96) + bytes(96)
        new = guest.pointer("kvrealloc_noprof", area, PAGE_SIZE + 1, GFP_KERNEL)
        assert kernel.memory.read(new, PAGE_SIZE - 96) == b"x" * (PAGE_SIZE - 96)
        assert [(address, size) for address, size, _ in kernel.vmalloc.live()] == [(new, 2 * PAGE_SIZE)]
        assert guest.pointer("kvrealloc_noprof", new, 0, GFP_KERNEL) == 0
        assert not kernel.vmalloc.live()


class TestFreeing:
    @pytest.mark.parametrize(
        "function", ["kfree", "kfree_nolock", "kfree_const", "kfree_sensitive", "kvfree", "kvfree_sensitive"]
    )
    def test_a_second_time_is_reported(self, kernel: Core, guest: Guest, function: str) -> None:
        first, last = alloc(guest, "__kmalloc", 64), alloc(guest, "__kmalloc", 64)
        size = (64,) if function == "kvfree_sensitive" else ()
        guest.call(function, first, *size)
        guest.call("kfree", last)
        assert not kernel.reports
        if function in ("kfree_sensitive", "kvfree_sensitive"):
            guest.call(function, first, *size)
            assert kernel.reports[0].kind == "use-after-free", "it is cleared first"
        else:
            guest.call(function, first)
            assert [report.kind for report in kernel.reports] == ["double-free"]

    @pytest.mark.parametrize(
        ("free", "rest"), [("kfree_sensitive", ()), ("kvfree_sensitive", (100,)), ("kfree", None)]
    )
    def test_a_sensitive_object_leaves_nothing_in_memory(
        self, kernel: Core, guest: Guest, free: str, rest: tuple[int, ...] | None
    ) -> None:
        address = alloc(guest, "__kmalloc", 100)
        frame = kernel.memory.translate(address)
        kernel.memory.write(address, b"s" * 100)
        guest.call(free, address, *(rest or ()))
        assert bytes(kernel.memory.view[frame : frame + 100]) == (b"s" if rest is None else b"\0") * 100
        assert not kernel.reports

    def test_an_area_of_secrets_is_cleared_before_it_is_freed(self, kernel: Core, guest: Guest) -> None:
        area = guest.pointer("vmalloc", PAGE_SIZE)
        frame = kernel.memory.translate(area)
        kernel.memory.write(area, b"s" * PAGE_SIZE)
        guest.call("kvfree_sensitive", area, PAGE_SIZE)
        assert not any(kernel.memory.view[frame : frame + PAGE_SIZE])
        assert not kernel.vmalloc.live()


@pytest.fixture
def bucketed() -> Iterator[Guest]:
    """A kernel with CONFIG_SLAB_BUCKETS: its functions take a kmem_buckets * behind the size."""
    btf = BtfWriter()
    number = btf.integer("unsigned int", 4)
    names = ("size", "b", "flags", "node")
    for function in ("__kmalloc_node_noprof", "__kvmalloc_node_noprof"):
        btf.add(FUNC, function, btf.prototype(number, *((name, number) for name in names)))
    with Core(Types([*layouts()._sources, TypeSource(Btf(btf.data()))])) as k:
        yield Guest(k)


class TestBuckets:
    @pytest.mark.parametrize(
        "function",
        ["__kmalloc_node_noprof", "__kmalloc_node_track_caller_noprof", "__kvmalloc_node_noprof"],
    )
    def test_the_flags_are_behind_the_buckets(self, bucketed: Guest, function: str) -> None:
        buckets = bucketed.pointer("kmem_buckets_create", b"msg_msg", 0, 0, 100, 0)
        assert buckets
        found = bucketed.kernel.slab.object_at(bucketed.pointer(function, 100, buckets, GFP_KERNEL, NODE))
        assert found is not None
        assert found.size == 100
        large = 1 << 31
        assert bucketed.pointer(function, large, buckets, GFP_KERNEL | GFP_NOWARN, NODE) == 0
        assert not bucketed.kernel.warnings
        assert bucketed.pointer(function, large, GFP_NOWARN, GFP_KERNEL, NODE) == 0
        assert len(bucketed.kernel.warnings) == 1
