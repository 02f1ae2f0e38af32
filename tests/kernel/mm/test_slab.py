"""The allocator, and the misuse that its fence finds."""

from __future__ import annotations

import pytest
from tests.kernel import machine_code
from tests.kernel.machine_code import CODE, Code

from ukmod.kernel.core import Core
from ukmod.kernel.mm.gfp import GFP_KERNEL, GFP_NOWARN
from ukmod.kernel.mm.slab import KMALLOC_MAX_SIZE, ZERO_SIZE_PTR


@pytest.fixture
def code(kernel: Core) -> Code:
    return Code(kernel)


@pytest.mark.parametrize("size", [1, 7, 8, 100, 128, 192, 4095, 4096, 4097, 8192, 100_000])
def test_objects_are_zeroed_aligned_and_writable_to_their_end(kernel: Core, size: int) -> None:
    address = kernel.slab.kmalloc(size)
    assert kernel.memory.read(address, size) == bytes(size)
    kernel.memory.write(address, b"\xff" * size)
    assert address % 8 == 0
    if size & size - 1 == 0:
        assert address % size == 0
    kernel.slab.kfree(address)
    assert not kernel.reports


def test_nothing_too_large_and_too_little(kernel: Core) -> None:
    slab = kernel.slab
    assert slab.kmalloc(0) == ZERO_SIZE_PTR
    slab.kfree(ZERO_SIZE_PTR)
    slab.kfree(0)
    assert slab.kmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL | GFP_NOWARN) == 0
    assert not kernel.warnings
    assert slab.kmalloc(KMALLOC_MAX_SIZE + 1) == 0
    assert [(w.file, w.line) for w in kernel.warnings] == [("mm/page_alloc.c", 5634)]


def test_ksize_gives_the_whole_size_class(kernel: Core) -> None:
    address = kernel.slab.kmalloc(100)
    assert kernel.slab.ksize(address) == 128
    kernel.memory.write(address, b"\xff" * 128)
    kernel.slab.kfree(address)
    assert not kernel.reports


def test_a_read_past_the_end_is_reported_and_goes_on(kernel: Core, code: Code) -> None:
    address = kernel.slab.kmalloc(128)
    assert code.run(machine_code.READ_RDI, address + 128)[0] == 0
    (report,) = kernel.reports
    assert (report.kind, report.write, report.size, report.address) == (
        "slab-out-of-bounds", False, 8, address + 128,
    )  # fmt: skip
    assert report.rip.address == CODE
    assert "is located 0 bytes to the right of" in report.text()


def test_a_write_after_free_is_reported_with_both_stacks(kernel: Core, code: Code) -> None:
    address = kernel.slab.kmalloc(64)
    kernel.memory.write(address, b"kept")
    kernel.slab.kfree(address)
    assert code.run(machine_code.WRITE_RDI, address + 8, 1)[0] == 0
    (report,) = kernel.reports
    assert (report.kind, report.write, report.object_address) == ("use-after-free", True, address)
    assert report.allocated is not None
    assert report.freed is not None
    assert kernel.memory.read(address, 4) == b"kept"


def test_reports_go_to_the_log_only_if_asked(kernel: Core, code: Code) -> None:
    address = kernel.slab.kmalloc(64)
    kernel.slab.kfree(address)
    kernel.slab.kasan = True
    code.run(machine_code.READ_RDI, address)
    lines = list(kernel.log.lines)
    assert lines[1].startswith("BUG: KASAN: use-after-free in ")


@pytest.mark.parametrize("offset", [-1, 100])
def test_a_stray_byte_beside_an_object_is_found_when_it_is_freed(kernel: Core, offset: int) -> None:
    address = kernel.slab.kmalloc(100)
    kernel.memory.set_u8(address + offset, 0x41)
    kernel.slab.kfree(address)
    (report,) = kernel.reports
    assert (report.kind, report.address) == ("slab-out-of-bounds", address + offset)


def test_freeing_what_is_no_object_changes_nothing(kernel: Core) -> None:
    address = kernel.slab.kmalloc(64)
    kernel.slab.kfree(address + 8)
    assert [report.kind for report in kernel.reports] == ["invalid-free"]
    assert kernel.slab.object_at(address) is not None


def test_a_double_free_is_found(kernel: Core) -> None:
    slab = kernel.slab
    first, second = slab.kmalloc(64), slab.kmalloc(64)
    slab.kfree(first)
    slab.kfree(second)
    slab.kfree(first)
    assert [report.kind for report in kernel.reports] == ["double-free"]

    # What was freed last is what CONFIG_SLAB_FREELIST_HARDENED sees too: a BUG.
    def free_again() -> int:
        slab.kfree(second)
        return 0

    assert kernel.run_task("victim", free_again).exit_code == 11
    assert kernel.oopses[0].kind == "BUG"


def test_without_fences_objects_are_packed_and_poisoned(kernel: Core) -> None:
    slab = kernel.slab
    slab.fence.limit = 0
    first, second = slab.kmalloc(100), slab.kmalloc(100)
    assert second - first == 128
    kernel.memory.set_u8(first + 100, 0)
    slab.kfree(first)
    assert [report.kind for report in kernel.reports] == ["slab-out-of-bounds"]
    assert kernel.memory.u8(first) == 0x6B
    assert kernel.memory.read(slab.kmalloc(100), 100) == bytes(100)


def test_leaks_are_grouped_by_place(kernel: Core) -> None:
    before = len(kernel.slab.leaks())
    kept = [kernel.slab.kmalloc(24) for _ in range(3)]
    area = kernel.vmalloc.alloc(5000)
    leaks = {leak.kind: leak for leak in kernel.slab.leaks()}
    assert leaks["kmalloc-32"].addresses[-3:] == tuple(kept)
    assert (leaks["vmalloc"].addresses, leaks["vmalloc"].size) == ((area,), 8192)
    assert "vmalloc" not in {leak.kind for leak in kernel.slab.leaks(known={area})}
    for address in kept:
        kernel.slab.kfree(address)
    kernel.vmalloc.free(area)
    assert len(kernel.slab.leaks()) == before


def test_what_a_task_makes_for_the_kernel_is_no_leak_unlike_what_others_make_meanwhile(kernel: Core) -> None:
    made: list[int] = []

    def entry() -> int:
        with kernel.slab.as_kernel():
            kernel.slab.kmalloc(24)
            other = kernel.start("other", lambda: made.append(kernel.slab.kmalloc(24)) or 0)
            while not other.exited:
                kernel.sched.schedule()
        made.append(kernel.slab.kmalloc(24))
        return 0

    before = kernel.slab.in_use()
    kernel.run_task("maker", entry)
    assert [leak.addresses for leak in kernel.slab.leaks(known=before)] == [tuple(made)]


def test_the_same_run_gives_the_same_addresses() -> None:
    from tests.kernel.conftest import layouts

    def addresses() -> list[int]:
        with Core(layouts()) as k:
            return [k.slab.kmalloc(size) for size in (8, 100, 5000, 64)]

    assert addresses() == addresses()
