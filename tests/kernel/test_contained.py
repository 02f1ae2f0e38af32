"""A guest that destroys its own data: that is an oops of the task that asked, and never an exception."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests.kernel.conftest import Guest, layouts
from tests.kernel.machine_code import READ_RDI, Code

from ukmod.errors import KernelPanic, PatienceError, UsageError
from ukmod.kernel import mocks
from ukmod.kernel.core import Core
from ukmod.kernel.lib import rbtree, walk
from ukmod.machine.abi import Int
from ukmod.machine.memory import LARGE, PAGE_SIZE, PRESENT, WRITE

VICTIM = 0xFFFF_A000_1234_5000
"""An address whose page tables, of all levels, are its own; the tests destroy them."""
VITAL = 0xFFFF_C900_1234_5000
"""One in vmalloc space, where the stacks are: without its tables no task can be created."""


def title(k: Core) -> str:
    """What the last oops was, in a line of the log."""
    return "\n".join(text for _, text in k.oopses[-1].lines())


def survives(k: Core) -> bool:
    """Tasks still run."""
    return k.run_task("next", lambda: 0).exited


class TestPageTables:
    """The guest writes to its page tables, which Python walks, too."""

    TABLES = (39, 30, 21, 12)

    def destroy(self, k: Core, level: int, entry: int, victim: int = VICTIM) -> None:
        """Make ``entry`` the one of an address at a level: 0 is the highest, 3 the page's own."""
        memory = k.memory
        memory.map(victim, memory.alloc_frames(1), PAGE_SIZE, PRESENT | WRITE)
        table = memory.root
        for shift in self.TABLES[:level]:
            table = memory.view.cast("Q")[(table >> 3) + (victim >> shift & 511)] & 0xF_FFFF_FFFF_F000
        memory.view.cast("Q")[(table >> 3) + (victim >> self.TABLES[level] & 511)] = entry

    ENTRIES = (
        0x0,
        0x8_0000_0003,  # 32 GiB: no RAM
        0xF_FFFF_FFFF_F003,  # reserved bits
        0xFF_FFFF_F003,  # the last physical page
        (1 << 64) - 1,
        LARGE | PRESENT | WRITE,
        LARGE | PRESENT | WRITE | 0xF_FFFF_FFE0_0000,
        1 << 20 | PRESENT | WRITE,  # some frame as a table
    )

    @pytest.mark.parametrize("level", range(4))
    @pytest.mark.parametrize("entry", ENTRIES)
    @pytest.mark.parametrize("victim", [VICTIM, VITAL])
    def test_a_forged_entry_is_at_worst_an_oops_of_the_task_that_uses_it(
        self, kernel: Core, guest: Guest, level: int, entry: int, victim: int
    ) -> None:
        code = Code(kernel)
        page = guest.words(kernel.pages.page(kernel.pages.alloc(1)))
        uses: tuple[Callable[[], object], ...] = (
            lambda: code.run(READ_RDI, victim),
            *(
                lambda name=name, args=args: kernel.run_task(
                    "user", lambda: kernel.cpu.call(kernel.symbols.address(name), *args)
                )
                for name, args in (
                    ("strlen", (victim,)),
                    ("memset", (victim, 0, PAGE_SIZE)),
                    ("memcpy", (victim, page, 8)),
                    ("vmalloc_to_page", (victim,)),
                    ("vmap", (victim, 4, 0, 0)),
                    ("kfree", (victim,)),
                    ("vfree", (victim,)),
                    ("list_sort", (0, victim, 0)),
                    ("__wake_up", (victim, 3, 0, 0)),
                    ("copy_from_kernel_nofault", (page, victim, 8)),
                    ("vzalloc", (PAGE_SIZE,)),
                    ("__kmalloc", (64, 0xCC0)),
                )
            ),
        )
        self.destroy(kernel, level, entry, victim)
        try:
            for use in uses:
                use()
        except KernelPanic:
            assert victim == VITAL
            return
        assert survives(kernel)

    @pytest.mark.parametrize("entry", [0xF_FFFF_FFFF_F003, 0x1F0_0000_0003])
    @pytest.mark.parametrize("level", range(3))
    def test_reserved_bits_are_reported_as_by_the_cpu(self, kernel: Core, level: int, entry: int) -> None:
        self.destroy(kernel, level, entry)
        task = kernel.run_task("user", lambda: kernel.memory.u64(VICTIM))
        assert task.exit_code == 9
        assert "error_code(0x0009) - reserved bit violation" in title(kernel)

    def test_a_large_page_of_the_guests_own_is_memory(self, kernel: Core) -> None:
        self.destroy(kernel, 2, 0x20_0000 | LARGE | PRESENT | WRITE)
        kernel.memory.view[0x20_0000 + (VICTIM & 0x1F_FFFF)] = 0x5A
        assert kernel.memory.u8(VICTIM) == 0x5A

    def test_more_memory_than_ram_where_a_table_maps_itself(self, kernel: Core, guest: Guest) -> None:
        """The same frames again and again, 256 TiB of them: memcpy() would fill the host's memory."""
        frame = kernel.memory.alloc_frames(1)
        for n in range(512):
            kernel.memory.view.cast("Q")[(frame >> 3) + n] = frame | PRESENT | WRITE
        kernel.memory.view.cast("Q")[(kernel.memory.root >> 3) + 300] = frame | PRESENT | WRITE
        start, to = 0xFFFF_0000_0000_0000 | 300 << 39, guest.put(b"", 64)
        copy = kernel.symbols.address("memcpy")
        for work in (
            lambda: kernel.cpu.call(copy, to, start, 1 << 38),
            lambda: len(kernel.memory.read(start, 1 << 38)),
        ):
            assert kernel.run_task("user", work).exit_code == 9
        assert "Out of memory: Killed process" in kernel.log.dmesg()


class TestEndless:
    """A structure of the guest's that is linked to itself."""

    def corrupted(self, k: Core, name: str, *arguments: int) -> str:
        task = k.run_task("walker", lambda: k.cpu.call(k.symbols.address(name), *arguments))
        assert task.exited
        assert task.exit_code
        assert survives(k)
        return title(k)

    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A walk is considered endless after some hundred steps."""
        monkeypatch.setattr(walk.steps, "__defaults__", (500,))
        monkeypatch.setattr(rbtree, "MAX_DEPTH", 500)

    def ring(self, guest: Guest) -> int:
        """The head of a list whose first entry is its own next one."""
        head, entry = guest.put(b"", 512), guest.put(b"", 512)
        for at, value in ((head, entry), (head + 8, entry), (entry, entry), (entry + 8, entry)):
            guest.kernel.memory.set_u64(at, value)
        return head

    @pytest.mark.parametrize("kind", ["blocking", "atomic", "raw"])
    @pytest.mark.parametrize("what", ["register", "unregister", "call"])
    def test_a_notifier_chain(self, guest: Guest, kind: str, what: str) -> None:
        k = guest.kernel
        offset = k.types.offset
        head, block, other = (guest.put(b"", 256) for _ in range(3))
        k.memory.set_u64(head + offset(f"{kind}_notifier_head", "head"), block)
        k.memory.set_u64(block + offset("notifier_block", "next"), block)
        k.memory.set_u64(block + offset("notifier_block", "notifier_call"), guest.python(lambda *_: 0, 3))
        name = f"{kind}_notifier_call_chain" if what == "call" else f"{kind}_notifier_chain_{what}"
        text = self.corrupted(k, name, head, 0 if what == "call" else other, 0)
        assert "kernel BUG at kernel/notifier.c:" in text
        assert "notifier chain corruption. " in k.log.dmesg()

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("list_sort", lambda guest, head: (0, head, guest.python(lambda *_: 0, 3))),
            ("put_pages_list", lambda _, head: (head,)),
            ("__wake_up", lambda guest, head: (head - guest.kernel.waitqueues.queue.head, 3, 0, 0)),
            ("add_wait_queue", lambda guest, head: (
                head - guest.kernel.waitqueues.queue.head, _waiter(guest),
            )),
            ("swake_up_all", lambda guest, head: (head - guest.kernel.swaitqueues.queue.task_list,)),
            ("kthread_flush_worker", lambda guest, head: (
                head - guest.kernel.kthread_workers.worker.work_list,
            )),
        ],
    )  # fmt: skip
    def test_a_list(
        self, guest: Guest, name: str, arguments: Callable[[Guest, int], tuple[int, ...]]
    ) -> None:
        head = self.ring(guest)
        entry = guest.kernel.memory.u64(head)
        # Whatever the entry is, it is a valid one: its task, its function, its flags.
        k = guest.kernel
        priority = k.waitqueues.waiter.flags - k.waitqueues.waiter.entry
        k.memory.set_u32(entry + priority, 0x20)
        k.memory.set_u64(
            entry + k.waitqueues.waiter.func - k.waitqueues.waiter.entry, guest.python(lambda *_: 0, 4)
        )
        if name == "swake_up_all":
            k.memory.set_u64(
                entry + k.swaitqueues.waiter.task - k.swaitqueues.waiter.task_list, k.idle.address
            )
        self.corrupted(guest.kernel, name, *arguments(guest, head))

    @pytest.mark.parametrize(
        "name",
        ["rb_first", "rb_last", "rb_next", "rb_prev", "rb_first_postorder", "rb_next_postorder", "rb_erase",
         "rb_insert_color", "__rb_erase_color"],
    )  # fmt: skip
    def test_a_red_black_tree(self, guest: Guest, name: str) -> None:
        k = guest.kernel
        root, node, other = (guest.put(b"", 32) for _ in range(3))
        k.memory.set_u64(root, node)
        for at, values in ((node, (other, other, other)), (other, (node, node, node))):
            for n, value in enumerate(values):
                k.memory.set_u64(at + 8 * n, value)
        if name == "__rb_erase_color":  # the tree's own nodes are black, and have no children but themselves
            for at, parent in ((node, other), (other, node)):
                k.memory.set_u64(at, parent | 1)
        argument = root if name in ("rb_first", "rb_last", "rb_first_postorder") else node
        call = k.symbols.address(name)
        task = k.run_task("walker", lambda: k.cpu.call(call, argument, root, guest.python(lambda *_: 0, 2)))
        assert task.exited
        assert survives(k)


def _waiter(guest: Guest) -> int:
    return guest.put(b"", 64)


class TestFailures:
    """An exception of Python in a kernel function."""

    def test_a_fault_of_ukmods_own_is_a_bug_at_its_place(self) -> None:
        with Core(layouts()) as kernel:  # the fixture fails for such a fault
            kernel.workqueues.layout = None  # type: ignore[assignment]
            work = Guest(kernel).put(b"", 64)
            call = kernel.symbols.address("cancel_work")
            task = kernel.run_task("victim", lambda: kernel.cpu.call(call, work))
            assert task.exit_code == 11
            assert "kernel BUG at ukmod/kernel/workqueue/work.py:" in title(kernel)
            assert "AttributeError: 'NoneType' object has no attribute 'data'" in kernel.log.dmesg()
            assert survives(kernel)

    def test_an_exception_of_the_callers_function_is_the_callers(self, kernel: Core) -> None:
        def fails(_: object) -> int:
            raise ValueError("my own")

        stub = kernel.cpu.stubs.add_function(fails)
        with pytest.raises(ValueError, match="my own"):
            kernel.run_task("victim", lambda: kernel.cpu.call(stub))

    def test_an_error_that_ukmod_raises_for_the_caller_is_the_callers(self, kernel: Core) -> None:
        def misused(_: object) -> int:
            raise UsageError("do it otherwise")

        stub = kernel.cpu.stubs.add_function(misused)
        with pytest.raises(UsageError):
            kernel.run_task("victim", lambda: kernel.cpu.call(stub))

    def test_in_an_interrupt_it_is_the_end_of_the_machine(self, kernel: Core) -> None:
        kernel.clock.at(kernel.clock.now + 1, lambda: kernel.tasks.at(1))
        with pytest.raises(KernelPanic, match="Fatal exception in interrupt"):
            kernel.run(1)

    def test_a_function_of_the_callers_may_take_its_time(self, kernel: Core) -> None:
        def works() -> Int:
            end = time.process_time() + 1.5
            while time.process_time() < end:
                pass
            done.append(True)
            return 0

        done: list[bool] = []
        kernel.patience = 0.05
        mocks.add(kernel, [mocks.mock(works, new=True)])
        with pytest.raises(PatienceError):
            kernel.run_task("victim", lambda: kernel.cpu.call(kernel.symbols.address("works")))
        assert done
