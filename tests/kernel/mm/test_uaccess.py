"""Copies to and from user memory, through the functions that modules call."""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOMEM, ERANGE

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.machine_code import Code

from ukmod.kernel.core import Core
from ukmod.kernel.mm.slab import KMALLOC_MAX_SIZE, ZERO_SIZE_PTR
from ukmod.machine.memory import PAGE_SIZE, READ_ONLY

NOWHERE = 0x7000_0000
"""A user address that is not mapped."""
DIRECT_MAP = 0xFFFF_8880_0000_0000


@pytest.fixture
def user(kernel: Core) -> int:
    """A page of user memory, full of "u"; the pages around it are not mapped."""
    return kernel.user.alloc(b"u" * PAGE_SIZE)


class TestCopies:
    """What raw_copy_from_user() and its kin promise: they return the number of bytes not copied."""

    @pytest.mark.parametrize(("before", "size", "left"), [(16, 16, 0), (16, 0, 0), (6, 16, 10), (0, 16, 16)])
    def test_the_bytes_before_a_bad_page_are_copied(
        self, kernel: Core, guest: Guest, user: int, before: int, size: int, left: int
    ) -> None:
        """The user's memory ends ``before`` bytes behind the copy's begin."""
        end, to, source = user + PAGE_SIZE, guest.put(b"k" * 16), guest.put(b"s" * 16)
        assert guest.call("_copy_from_user", to, end - before, size) == left
        assert kernel.memory.read(to, 16) == (b"u" * (size - left) + bytes(left)).ljust(16, b"k")
        assert guest.call("_copy_to_user", end - before, source, size) == left
        assert kernel.memory.read(end - 16, 16).endswith(b"s" * (size - left))

    def test_memory_that_is_read_only_is_not_written_to(self, kernel: Core, guest: Guest, user: int) -> None:
        kernel.memory.protect(user, PAGE_SIZE, READ_ONLY)
        buffer = guest.put(b"k" * 8)
        assert guest.call("_copy_from_user", buffer, user, 8) == 0
        assert guest.call("_copy_to_user", user, buffer, 8) == 8
        assert guest.call("clear_user", user, 8) == 8
        assert kernel.memory.read(user, 8) == b"u" * 8

    @pytest.mark.parametrize("address", [DIRECT_MAP, 0x7FFF_FFFF_EFF9, (1 << 64) - 4])
    def test_a_range_that_is_not_all_user_space_is_refused_whole(
        self, kernel: Core, guest: Guest, address: int
    ) -> None:
        """access_ok(): the kernel half, the end of the user half, an address that wraps."""
        to = guest.put(b"k" * 8)
        assert guest.call("_copy_from_user", to, address, 8) == 8
        assert kernel.memory.read(to, 8) == bytes(8)
        assert guest.call("_copy_to_user", address, to, 8) == 8

    def test_a_bad_kernel_address_is_an_oops(self, kernel: Core, guest: Guest, user: int) -> None:
        with pytest.raises(ValueError, match="not enough values"):
            guest.call("_copy_from_user", 0, user, 8)
        assert kernel.oopses[0].kind == "page fault"

    @pytest.mark.parametrize(
        "function",
        [
            "copy_user_generic_unrolled",
            "copy_user_generic_string",
            "copy_user_enhanced_fast_string",
            "__copy_user_nocache",
        ],
    )
    def test_the_generic_copy_lets_either_side_fault(
        self, kernel: Core, guest: Guest, user: int, function: str
    ) -> None:
        """It serves both directions, and zeroes nothing; its size is an unsigned int."""
        buffer = guest.put(b"k" * 16)
        assert guest.call(function, buffer, user, 1 << 32 | 4) == 0
        assert kernel.memory.read(buffer, 16) == b"uuuu" + b"k" * 12
        assert guest.call(function, buffer, user + PAGE_SIZE - 6, 16) == 10
        assert kernel.memory.read(buffer, 16) == b"uuuuuu" + b"k" * 10
        assert guest.call(function, user + PAGE_SIZE - 2, buffer + 8, 8) == 6
        assert kernel.memory.read(user + PAGE_SIZE - 3, 3) == b"ukk"
        assert guest.call(function, buffer, NOWHERE, 16) == 16

    @pytest.mark.parametrize("function", ["clear_user", "__clear_user"])
    def test_clearing_stops_at_a_bad_page(self, kernel: Core, guest: Guest, user: int, function: str) -> None:
        assert guest.call(function, user, 0) == 0
        assert guest.call(function, user, 8) == 0
        assert guest.call(function, user + PAGE_SIZE - 6, 16) == 10
        assert guest.call(function, NOWHERE, 16) == 16
        assert kernel.memory.read(user, PAGE_SIZE) == bytes(8) + b"u" * (PAGE_SIZE - 14) + bytes(6)


class TestCopiesWithoutFaults:
    """The _nofault functions, for code that must not sleep: all or -EFAULT (mm/maccess.c)."""

    def test_user_memory(self, kernel: Core, guest: Guest, user: int) -> None:
        buffer = guest.put(b"k" * 8)
        assert guest.call("copy_from_user_nofault", buffer, user, 8) == 0
        assert kernel.memory.read(buffer, 8) == b"u" * 8
        assert guest.call("copy_to_user_nofault", user, guest.put(b"s" * 8), 8) == 0
        assert kernel.memory.read(user, 9) == b"ssssssssu"

    @pytest.mark.parametrize("offset", [PAGE_SIZE, PAGE_SIZE - 4, -PAGE_SIZE])
    def test_user_memory_that_is_not_all_there(self, guest: Guest, user: int, offset: int) -> None:
        buffer = guest.put(b"k" * 8)
        assert guest.call("copy_from_user_nofault", buffer, user + offset, 8) == -EFAULT
        assert guest.call("copy_to_user_nofault", user + offset, buffer, 8) == -EFAULT

    def test_the_kernels_memory_is_not_a_users(self, guest: Guest) -> None:
        one, other = guest.put(b"k" * 8), guest.put(b"s" * 8)
        assert guest.call("copy_from_user_nofault", one, other, 8) == -EFAULT
        assert guest.call("copy_to_user_nofault", one, other, 8) == -EFAULT

    def test_kernel_memory(self, kernel: Core, guest: Guest) -> None:
        to = guest.put(b"k" * 8)
        area = kernel.vmalloc.alloc(PAGE_SIZE)
        kernel.memory.write(area + PAGE_SIZE - 8, b"source!!")
        assert guest.call("copy_from_kernel_nofault", to, area + PAGE_SIZE - 8, 8) == 0
        assert guest.string(to) == b"source!!"
        assert guest.call("copy_from_kernel_nofault", to, area + PAGE_SIZE - 4, 8) == -EFAULT
        assert guest.call("copy_from_kernel_nofault", to, area + PAGE_SIZE, 8) == -EFAULT
        assert guest.call("copy_from_kernel_nofault", to, area + PAGE_SIZE, 0) == 0
        assert not kernel.oopses

    @pytest.mark.parametrize(
        "address",
        [0, NOWHERE, 0x7FFF_FFFF_F000, 0x8000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF, 0xFFFF_FFFF_FF60_0800],
    )
    def test_addresses_that_are_no_kernels_are_out_of_range(self, guest: Guest, address: int) -> None:
        """User space, its guard page, what is not canonical, and the vsyscall page."""
        assert guest.call("copy_from_kernel_nofault", guest.put(b""), address, 1) == -ERANGE

    def test_a_page_that_is_not_mapped_is_a_fault_at_most(self, guest: Guest) -> None:
        assert guest.call("copy_from_kernel_nofault", guest.put(b""), 0xFFFF_8000_0000_0000, 1) == -EFAULT


class TestDuplicates:
    """memdup_user() and its kin: a copy in memory of its own, or an ERR_PTR()."""

    NAMES = ("memdup_user", "memdup_user_noprof", "vmemdup_user", "vmemdup_user_noprof", "memdup_user_nul")
    EACH = pytest.mark.parametrize("function", NAMES)

    @EACH
    def test_the_copy_is_apart_from_its_source(
        self, kernel: Core, guest: Guest, user: int, function: str
    ) -> None:
        copy = guest.pointer(function, user, 100)
        kernel.memory.write(user, b"x" * 100)
        assert kernel.memory.read(copy, 100) == b"u" * 100
        guest.call("kvfree", copy)
        assert not kernel.reports

    @EACH
    @pytest.mark.parametrize(("offset", "size"), [(PAGE_SIZE, 1), (PAGE_SIZE - 4, 8), (0, 5000)])
    def test_a_source_that_is_not_all_there_leaves_nothing_behind(
        self, kernel: Core, guest: Guest, user: int, function: str, offset: int, size: int
    ) -> None:
        before = kernel.slab.in_use()
        assert guest.call(function, user + offset, size) == -EFAULT
        assert kernel.slab.in_use() == before

    @EACH
    def test_nothing_is_an_empty_copy(self, kernel: Core, guest: Guest, function: str) -> None:
        """Its source is not looked at."""
        copy = guest.pointer(function, NOWHERE, 0)
        if function == "memdup_user_nul":
            assert kernel.memory.u8(copy) == 0
        else:
            assert copy == ZERO_SIZE_PTR

    def test_a_nul_is_put_behind_the_copy(self, kernel: Core, guest: Guest, user: int) -> None:
        copy = guest.pointer("memdup_user_nul", user, 64)
        assert kernel.memory.read(copy, 65) == b"u" * 64 + b"\0"
        guest.call("kfree", copy)
        assert not kernel.reports, "there was room for it"

    @pytest.mark.parametrize("function", ["memdup_user", "memdup_user_noprof"])
    def test_a_copy_too_large_for_kmalloc_fails_without_a_warning(
        self, kernel: Core, guest: Guest, function: str
    ) -> None:
        """A user's number must not be able to warn: __GFP_NOWARN."""
        assert guest.call(function, NOWHERE, KMALLOC_MAX_SIZE + 1) == -ENOMEM
        assert guest.call(function, NOWHERE, -1) == -ENOMEM
        assert not kernel.warnings

    @pytest.mark.parametrize("function", ["vmemdup_user", "vmemdup_user_noprof"])
    def test_a_large_copy_is_vmallocs(self, kernel: Core, guest: Guest, function: str) -> None:
        large = KMALLOC_MAX_SIZE + 1
        user = kernel.user.alloc(large)
        kernel.memory.write(user + large - 1, b"z")
        copy = guest.pointer(function, user, large)
        assert guest.call("is_vmalloc_addr", copy) == 1
        assert kernel.memory.read(copy + large - 1, 1) == b"z"
        guest.call("kvfree", copy)
        assert guest.call(function, user + large, large) == -EFAULT
        assert not kernel.vmalloc.live()

    def test_a_size_that_wraps_is_no_buffer_overflow(self, kernel: Core, guest: Guest, user: int) -> None:
        """memdup_user_nul(src, SIZE_MAX): the NUL's byte makes the size 0."""
        assert guest.call("memdup_user_nul", user, -1) == -EFAULT
        assert not kernel.oopses

    def test_a_string(self, kernel: Core, guest: Guest) -> None:
        user = kernel.user.alloc(b"hello\0".rjust(PAGE_SIZE, b"x"))
        assert guest.string(guest.pointer("strndup_user", user + PAGE_SIZE - 6, 6)) == b"hello"
        assert guest.call("strndup_user", user + PAGE_SIZE - 6, 5) == -EINVAL
        assert guest.call("strndup_user", user + PAGE_SIZE - 6, 0) == -EFAULT
        assert guest.call("strndup_user", user + PAGE_SIZE, 6) == -EFAULT


class TestCheckZeroedUser:
    """check_zeroed_user(): 1 if a range is zero, which newer programs' larger structs are asked for."""

    @pytest.mark.parametrize(
        ("offset", "size", "result"),
        [
            (16, 16, 1),
            (0, 0, 1),
            (15, 1, 0),
            (15, 17, 0),
            (16, 17, 0),  # the last byte, in a word of its own
            (17, 15, 1),  # the word that the range begins in has another's bytes before it
            (18, 13, 1),  # and behind it
        ],
    )
    def test_only_the_ranges_own_bytes_count(
        self, kernel: Core, guest: Guest, user: int, offset: int, size: int, result: int
    ) -> None:
        kernel.memory.write(user + 16, bytes(16))
        assert guest.call_int("check_zeroed_user", user + offset, size) == result

    def test_a_byte_is_found_before_a_page_that_is_not_there(
        self, kernel: Core, guest: Guest, user: int
    ) -> None:
        end = user + PAGE_SIZE
        assert guest.call_int("check_zeroed_user", end - 8, 16) == 0
        kernel.memory.write(end - 8, bytes(8))
        assert guest.call_int("check_zeroed_user", end - 8, 16) == -EFAULT
        assert guest.call_int("check_zeroed_user", end - 8, 8) == 1

    @pytest.mark.parametrize(("address", "size"), [(NOWHERE, 1), (DIRECT_MAP, 1), (0x1000, -1)])
    def test_a_range_that_cannot_be_read_is_a_fault(self, guest: Guest, address: int, size: int) -> None:
        assert guest.call_int("check_zeroed_user", address, size) == -EFAULT


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_get_user_and_put_user_keep_to_their_registers(kernel: Core, size: int) -> None:
    code, user = Code(kernel), kernel.user.alloc(bytes(range(0xF0, 0x100)))
    # mov %rdi,%rax; mov $__get_user,%r10; call *%r10: the value comes in RDX, the error in RAX.
    function = kernel.symbols.address(f"__get_user_{size}")
    get = b"\x48\x89\xf8\x49\xba" + function.to_bytes(8, "little") + b"\x41\xff\xd2"
    value = int.from_bytes(bytes(range(0xF0, 0xF0 + size)), "little")
    assert code.run(get + b"\x48\x89\xd0\xc3", user) == (0, value)
    assert code.run(get + b"\xc3", NOWHERE) == (0, -EFAULT & (1 << 64) - 1)
    assert code.run(get + b"\xc3", DIRECT_MAP) == (0, -EFAULT & (1 << 64) - 1)
    assert not kernel.oopses


def test_strings_from_user_space(kernel: Core, guest: Guest) -> None:
    user, to = kernel.user.alloc(b"hello\0" + b"x" * 4090), guest.put(b"", room=64)
    assert guest.call("strncpy_from_user", to, user, 64) == 5
    assert guest.string(to) == b"hello"
    assert guest.call("strncpy_from_user", to, user, 3) == 3
    assert guest.call("strncpy_from_user", to, NOWHERE, 3) == -EFAULT
    assert guest.call("strnlen_user", user, 64) == 6
    assert guest.call("strnlen_user", user + 4000, 500) == 0


def test_hardened_usercopy_stops_what_is_larger_than_its_object(kernel: Core, guest: Guest) -> None:
    address = kernel.slab.kmalloc(100)
    guest.call("__check_object_size", address, 100, 1)
    assert not kernel.oopses
    assert "kernel BUG at mm/usercopy.c:101!" in guest.oops("__check_object_size", address, 200, 1)
