"""Whole pages: mm/page_alloc.c, Documentation/core-api/mm-api.rst."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.kernel.conftest import Guest

from ukmod.kernel.core import Core
from ukmod.kernel.mm.gfp import GFP_COMP, GFP_HIGHMEM, GFP_KERNEL, GFP_NOWARN
from ukmod.kernel.mm.page_alloc import MAX_ORDER
from ukmod.machine.memory import PAGE_OFFSET, PAGE_SIZE

PG_HEAD = 1 << 16
"""enum pageflags of v6.1."""
STRUCT_PAGES = {"alloc_pages": (), "__alloc_pages": (0, 0)}
FOLIOS = {"folio_alloc": (), "__folio_alloc": (0, 0)}
OLDER = {"alloc_pages_current": (), "__alloc_pages_nodemask": (0, 0)}
"""What each takes behind the flags and the order. The last ones are names of kernels before v5.14."""


def with_noprof(*names: str) -> list[str]:
    return [f"{name}{suffix}" for name in names for suffix in ("", "_noprof")]


class Memory:
    """The page allocator as a module uses it, and what its struct pages hold."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.kernel = guest, guest.kernel
        self.memory = guest.kernel.memory

    def alloc(self, function: str, order: int = 0, gfp: int = GFP_KERNEL) -> int:
        """The struct page that a function allocates, or 0."""
        rest = {**STRUCT_PAGES, **FOLIOS, **OLDER}[function.removesuffix("_noprof")]
        return self.guest.pointer(function, gfp, order, *rest)

    def address(self, page: int) -> int:
        """page_address()."""
        return PAGE_OFFSET + self.kernel.pages.frame_of(page)

    def page(self, address: int) -> int:
        """virt_to_page()."""
        return self.kernel.pages.page(address - PAGE_OFFSET)

    def is_mapped(self, page: int) -> bool:
        return bool(self.memory.prot(self.address(page)))

    def member(self, page: int, name: str) -> int:
        where = page + self.kernel.types.offset("page", name)
        return self.memory.uint(where, self.kernel.types.member("page", name).size)

    def set_count(self, page: int, count: int) -> None:
        """set_page_count(), which get_page() and split_page() are made of."""
        self.memory.set_u32(page + self.kernel.types.offset("page", "_refcount"), count)

    def tails(self, page: int, order: int) -> list[int]:
        size = self.kernel.pages.size
        return list(range(page + size, page + (size << order), size))


@pytest.fixture
def mm(guest: Guest) -> Memory:
    return Memory(guest)


class TestAllocation:
    @pytest.mark.parametrize("function", [*with_noprof(*STRUCT_PAGES, *FOLIOS), *OLDER])
    @pytest.mark.parametrize("order", [0, 1, 3, MAX_ORDER - 1])
    def test_pages_are_zeroed_contiguous_and_aligned_to_their_order(
        self, kernel: Core, mm: Memory, function: str, order: int
    ) -> None:
        page = mm.alloc(function, order)
        size = PAGE_SIZE << order
        assert mm.address(page) % size == 0
        assert kernel.memory.read(mm.address(page), size) == bytes(size)
        kernel.memory.write(mm.address(page), b"x" * size)
        assert mm.member(page, "_refcount") == 1
        assert [mm.member(tail, "_refcount") for tail in mm.tails(page, order)] == [0] * ((1 << order) - 1)
        assert [(at, length) for at, length, _ in kernel.pages.live()] == [(mm.address(page), size)]

    @pytest.mark.parametrize("function", with_noprof("__get_free_pages", "get_zeroed_page"))
    def test_addresses_of_zeroed_pages(self, kernel: Core, guest: Guest, function: str) -> None:
        name = function.removeprefix("__") if "noprof" in function else function
        if "get_free_pages" in function:
            address, order = guest.pointer(name, GFP_KERNEL, 2), 2
        else:
            address, order = guest.pointer(name, GFP_KERNEL), 0
        assert kernel.memory.read(address, PAGE_SIZE << order) == bytes(PAGE_SIZE << order)
        guest.call("free_pages", address, order)
        assert not kernel.pages.live()

    @pytest.mark.parametrize("function", with_noprof(*STRUCT_PAGES, *FOLIOS))
    @pytest.mark.parametrize("order", [MAX_ORDER, 63, 64, 0xFFFF_FFFF])
    def test_an_order_too_large_is_warned_of_once(
        self, kernel: Core, mm: Memory, function: str, order: int
    ) -> None:
        assert mm.alloc(function, order, GFP_KERNEL | GFP_NOWARN) == 0
        assert not kernel.warnings
        for _ in range(2):
            assert mm.alloc(function, order) == 0
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/page_alloc.c", 5634)]

    def test_memory_that_is_used_up_is_reported(self, kernel: Core, guest: Guest) -> None:
        kernel.memory.alloc_frames(kernel.memory.frames_left() - 1000)
        assert guest.pointer("__get_free_pages", GFP_KERNEL | GFP_NOWARN, MAX_ORDER - 1) == 0
        assert not kernel.log.lines
        assert guest.pointer("__get_free_pages", GFP_KERNEL, MAX_ORDER - 1) == 0
        assert kernel.log.lines[0] == (
            "test: page allocation failure: order:10, mode:0xcc0(GFP_KERNEL),"
            " nodemask=(null),cpuset=/,mems_allowed=0"
        )

    def test_highmem_is_the_same_memory(self, mm: Memory) -> None:
        """A 64-bit machine has no other: every page has an address."""
        assert mm.is_mapped(mm.alloc("alloc_pages", 0, GFP_KERNEL | GFP_HIGHMEM))


class TestCompoundPages:
    """__GFP_COMP makes one page of several, so that each of them leads to the first; folios always are."""

    ORDER = 3

    @pytest.fixture(params=["alloc_pages", *with_noprof(*FOLIOS)])
    def page(self, mm: Memory, request: pytest.FixtureRequest) -> int:
        gfp = GFP_COMP if request.param == "alloc_pages" else 0
        return mm.alloc(request.param, self.ORDER, GFP_KERNEL | gfp)

    def test_tails_lead_to_the_head_which_knows_the_order(self, mm: Memory, page: int) -> None:
        tails = mm.tails(page, self.ORDER)
        assert mm.member(page, "flags") & PG_HEAD
        assert [mm.member(tail, "compound_head") for tail in tails] == [page + 1] * 7
        assert not any(mm.member(tail, "flags") & PG_HEAD for tail in tails)
        assert mm.member(tails[0], "compound_order") == self.ORDER
        assert mm.member(tails[0], "compound_nr") == 8
        assert mm.member(tails[0], "compound_dtor") == 1, "COMPOUND_PAGE_DTOR"

    def test_a_reference_keeps_all_of_it(self, kernel: Core, guest: Guest, mm: Memory, page: int) -> None:
        mm.set_count(page, 2)
        guest.call("__free_pages", page, self.ORDER)
        assert all(map(mm.is_mapped, (page, *mm.tails(page, self.ORDER))))
        guest.call("__free_pages", page, self.ORDER)
        assert not any(map(mm.is_mapped, (page, *mm.tails(page, self.ORDER))))
        assert not kernel.pages.live()

    @pytest.mark.parametrize("function", ["__folio_put", "__put_page"])
    def test_the_last_reference_frees_all_of_it(
        self, kernel: Core, guest: Guest, mm: Memory, page: int, function: str
    ) -> None:
        """folio_put() is inlined code up to there."""
        mm.set_count(page, 0)
        guest.call(function, page)
        assert not kernel.pages.live()

    def test_pages_of_a_freed_block_are_ordinary_ones(self, guest: Guest, mm: Memory, page: int) -> None:
        guest.call("__free_pages", page, self.ORDER)
        again = mm.alloc("alloc_pages", self.ORDER)
        assert again == page
        for at in (page, *mm.tails(page, self.ORDER)):
            assert not mm.member(at, "flags") & PG_HEAD
            assert not mm.member(at, "compound_head") & 1
            assert mm.member(at, "compound_nr") == 0

    def test_a_single_page_is_never_one(self, mm: Memory) -> None:
        assert not mm.member(mm.alloc("folio_alloc", 0), "flags") & PG_HEAD


class TestFreeing:
    def test_a_freed_page_cannot_be_touched(self, kernel: Core, guest: Guest, mm: Memory) -> None:
        page = mm.alloc("alloc_pages", 2)
        address = mm.address(page)
        guest.call("__free_pages", page, 2)
        assert not any(kernel.memory.prot(address + n * PAGE_SIZE) for n in range(4))
        assert mm.member(page, "_refcount") == 0

    @pytest.mark.parametrize("free", ["__free_pages", "___free_pages", "free_pages_nolock"])
    @pytest.mark.parametrize("arguments", [(GFP_KERNEL, -1, 2), (-1, 2)])
    def test_pages_that_were_taken_without_locks_are_ordinary_ones(
        self,
        kernel: Core,
        guest: Guest,
        mm: Memory,
        monkeypatch: pytest.MonkeyPatch,
        arguments: tuple[int, ...],
        free: str,
    ) -> None:
        """The flags are the first parameter since v6.18."""
        prototype = SimpleNamespace(parameters=arguments)
        monkeypatch.setattr(kernel.types, "prototype", lambda _: prototype)
        page = guest.pointer("alloc_pages_nolock_noprof", *arguments)
        assert kernel.memory.read(mm.address(page), PAGE_SIZE << 2) == bytes(PAGE_SIZE << 2)
        guest.call(free, page, 2)
        assert not kernel.pages.live()
        assert not kernel.reports

    def test_no_address_is_freed_in_silence(self, kernel: Core, guest: Guest) -> None:
        guest.call("free_pages", 0, 0)
        guest.call("free_pages_exact", 0, 0)
        assert not kernel.reports
        assert not kernel.oopses

    def test_another_reference_keeps_the_first_page_alone(
        self, kernel: Core, guest: Guest, mm: Memory
    ) -> None:
        """Without __GFP_COMP nobody else could free the others: see __free_pages()."""
        page = mm.alloc("alloc_pages", 2)
        mm.set_count(page, 2)
        guest.call("__free_pages", page, 2)
        assert mm.is_mapped(page)
        assert not any(map(mm.is_mapped, mm.tails(page, 2)))
        guest.call("__free_pages", page, 0)
        assert not kernel.pages.live()
        assert not kernel.reports

    def test_the_pages_of_a_split_block_are_freed_one_by_one(
        self, kernel: Core, guest: Guest, mm: Memory
    ) -> None:
        page = mm.alloc("alloc_pages", 2)
        for tail in mm.tails(page, 2):
            mm.set_count(tail, 1)
        for n, tail in enumerate(mm.tails(page, 2)):
            guest.call("__free_pages", tail, 0)
            assert not mm.is_mapped(tail)
            assert [size for _, size, _ in kernel.pages.live()] == [(3 - n) * PAGE_SIZE]
        assert mm.is_mapped(page)
        guest.call("__free_pages", page, 0)
        assert not kernel.pages.live()

    def test_a_double_free_is_reported_and_frees_nothing(
        self, kernel: Core, guest: Guest, mm: Memory
    ) -> None:
        page = mm.alloc("alloc_pages")
        address = mm.address(page)
        guest.call("free_pages", address, 0)
        guest.call("free_pages", address, 0)
        assert [(report.kind, report.address) for report in kernel.reports] == [("invalid-free", address)]
        first, second = mm.alloc("alloc_pages"), mm.alloc("alloc_pages")
        assert first != second

    def test_a_page_in_the_middle_of_a_block_is_nobodys_to_free(
        self, kernel: Core, guest: Guest, mm: Memory
    ) -> None:
        page = mm.alloc("alloc_pages", 1)
        guest.call("free_pages", mm.address(page) + PAGE_SIZE, 0)
        assert [report.kind for report in kernel.reports] == ["invalid-free"]
        assert all(map(mm.is_mapped, (page, *mm.tails(page, 1))))

    def test_what_is_no_struct_page_is_an_oops(self, kernel: Core, guest: Guest, mm: Memory) -> None:
        with pytest.raises(ValueError, match="not enough values"):
            guest.call("__free_pages", mm.alloc("alloc_pages") + 8, 0)
        assert kernel.oopses[0].kind == "page fault"

    def test_a_list_of_pages_loses_a_reference_each(self, kernel: Core, guest: Guest, mm: Memory) -> None:
        """put_pages_list(): a page that has another reference stays, and the list is empty."""
        one, kept, head = (mm.alloc(name, 1) for name in ("alloc_pages", "alloc_pages", "folio_alloc"))
        mm.set_count(kept, 2)
        pages, lru = guest.put(b"", 16), kernel.types.offset("page", "lru")
        chain = [pages, *(page + lru for page in (one, kept, head))]
        for at, following in zip(chain, chain[1:] + chain[:1], strict=True):
            kernel.memory.set_u64(at, following)
            kernel.memory.set_u64(following + 8, at)
        guest.call("put_pages_list", pages)
        assert [mm.is_mapped(page) for page in (one, kept, head)] == [False, True, False]
        assert not any(map(mm.is_mapped, mm.tails(head, 1)))
        assert [kernel.memory.u64(pages + n) for n in (0, 8)] == [pages, pages]


class TestExactSizes:
    """alloc_pages_exact(): as many pages as the size needs, not a power of two of them."""

    EACH = pytest.mark.parametrize("function", with_noprof("alloc_pages_exact"))

    @EACH
    @pytest.mark.parametrize(("size", "pages"), [(1, 1), (PAGE_SIZE, 1), (PAGE_SIZE + 1, 2), (20000, 5)])
    def test_pages_behind_the_size_are_not_taken(
        self, kernel: Core, guest: Guest, mm: Memory, function: str, size: int, pages: int
    ) -> None:
        address = guest.pointer(function, size, GFP_KERNEL)
        assert kernel.memory.read(address, pages * PAGE_SIZE) == bytes(pages * PAGE_SIZE)
        assert [length for _, length, _ in kernel.pages.live()] == [pages * PAGE_SIZE]
        assert [mm.member(mm.page(address + n * PAGE_SIZE), "_refcount") for n in range(pages)] == [1] * pages
        guest.call("free_pages_exact", address, size)
        assert not kernel.pages.live()
        assert not kernel.memory.prot(address)
        assert not kernel.reports

    @EACH
    @pytest.mark.parametrize("size", [0, (PAGE_SIZE << MAX_ORDER - 1) + 1, -1])
    def test_nothing_and_too_much_are_warned_of(
        self, kernel: Core, guest: Guest, function: str, size: int
    ) -> None:
        """get_order(0) is the largest order there is."""
        assert guest.pointer(function, size, GFP_KERNEL) == 0
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/page_alloc.c", 5634)]

    @pytest.mark.parametrize("flag", [GFP_COMP, GFP_HIGHMEM])
    def test_a_compound_page_has_no_exact_size(
        self, kernel: Core, guest: Guest, mm: Memory, flag: int
    ) -> None:
        address = guest.pointer("alloc_pages_exact", 20000, GFP_KERNEL | flag)
        assert [(w.file, w.line) for w in kernel.warnings] == [("mm/page_alloc.c", 5930)]
        assert not mm.member(mm.page(address), "flags") & PG_HEAD

    def test_a_part_may_be_freed_first(self, kernel: Core, guest: Guest) -> None:
        address = guest.pointer("alloc_pages_exact", 5 * PAGE_SIZE, GFP_KERNEL)
        guest.call("free_pages_exact", address + PAGE_SIZE, 2 * PAGE_SIZE)
        mapped = [bool(kernel.memory.prot(address + n * PAGE_SIZE)) for n in range(5)]
        assert mapped == [True, False, False, True, True]
        assert [size for _, size, _ in kernel.pages.live()] == [3 * PAGE_SIZE]

    def test_a_thousand_rounds_cost_no_more_than_one(self, kernel: Core) -> None:
        def round_() -> int:
            frame = kernel.pages.alloc_exact(5 * PAGE_SIZE, GFP_KERNEL)
            for n in reversed(range(5)):
                kernel.pages.free_pages(kernel.pages.page(frame + n * PAGE_SIZE), 0)
            return kernel.memory.frames_left()

        assert {round_() for _ in range(1000)} == {round_()}
