"""Copies to and from user memory, through the functions that modules call."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.machine_code import Code

from ukmod.kernel.core import Core

EFAULT = 14
NOWHERE = 0x7000_0000


def test_a_copy_stops_at_the_first_bad_page_and_zeroes_the_rest(kernel: Core, guest: Guest) -> None:
    user, to = kernel.user.alloc(b"x" * 4096), guest.put(b"y" * 100)
    assert guest.call("_copy_from_user", to, user + 4090, 20) == 14
    assert kernel.memory.read(to, 20) == b"x" * 6 + bytes(14)
    assert guest.call("_copy_to_user", NOWHERE, to, 5) == 5
    assert guest.call("_copy_to_user", user, to, 5) == 0
    assert kernel.memory.read(user, 7) == b"xxxxxxx"


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_get_user_and_put_user_keep_to_their_registers(kernel: Core, size: int) -> None:
    code, user = Code(kernel), kernel.user.alloc(bytes(range(0xF0, 0x100)))
    # mov %rdi,%rax; mov $__get_user,%r10; call *%r10: the value comes in RDX, the error in RAX.
    function = kernel.symbols.address(f"__get_user_{size}")
    get = b"\x48\x89\xf8\x49\xba" + function.to_bytes(8, "little") + b"\x41\xff\xd2"
    value = int.from_bytes(bytes(range(0xF0, 0xF0 + size)), "little")
    assert code.run(get + b"\x48\x89\xd0\xc3", user) == (0, value)
    assert code.run(get + b"\xc3", NOWHERE) == (0, -EFAULT & (1 << 64) - 1)
    assert code.run(get + b"\xc3", 0xFFFF_8880_0000_0000) == (0, -EFAULT & (1 << 64) - 1)
    assert not kernel.oopses


def test_strings_from_user_space(kernel: Core, guest: Guest) -> None:
    user, to = kernel.user.alloc(b"hello\0" + b"x" * 4090), guest.put(b"", room=64)
    assert guest.call("strncpy_from_user", to, user, 64) == 5
    assert guest.string(to) == b"hello"
    assert guest.call("strncpy_from_user", to, user, 3) == 3
    assert guest.call("strncpy_from_user", to, NOWHERE, 3) == -EFAULT
    assert guest.call("strnlen_user", user, 64) == 6
    assert guest.call("strnlen_user", user + 4000, 500) == 0
    copied = guest.call("strndup_user", user, 64) & (1 << 64) - 1
    assert guest.string(copied) == b"hello"


def test_clear_user(kernel: Core, guest: Guest) -> None:
    user = kernel.user.alloc(b"x" * 16)
    assert guest.call("clear_user", user, 8) == 0
    assert kernel.memory.read(user, 16) == bytes(8) + b"x" * 8
    assert guest.call("clear_user", user + 4090, 16) == 10


def test_hardened_usercopy_stops_what_is_larger_than_its_object(kernel: Core, guest: Guest) -> None:
    address = kernel.slab.kmalloc(100)
    guest.call("__check_object_size", address, 100, 1)
    assert not kernel.oopses
    assert "kernel BUG at mm/usercopy.c:101!" in guest.oops("__check_object_size", address, 200, 1)
