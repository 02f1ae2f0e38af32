"""Whose code runs: Python's where it keeps the state, the image's own where that is in guest memory alone."""

from __future__ import annotations

import pytest
from tests.kernel.image.conftest import in_a_copy

from ukmod.kernel.api import Kernel
from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.image.interpose import RETURNS, SAME_AS, entry_code
from ukmod.kernel.x86.kprobes import INT3

pytestmark = pytest.mark.real

JUMP, SHORT_JUMP, RET = 0xE9, 0xEB, 0xC3


def leads_to(k: Kernel, name: str) -> int | None:
    """Where the entry of the image's function jumps to; None if it does not."""
    image, memory = k.core.image, k.core.memory
    assert image is not None
    at = image.address(name)
    if memory.u8(at) == SHORT_JUMP:
        at += 2 + memory.u8(at + 1)
    if memory.u8(at) != JUMP:
        return None
    return at + 5 + memory.s32(at + 1)


@pytest.mark.parametrize(
    "name", ["__kmalloc", "schedule", "_printk", "call_rcu", "__request_module", "msleep"]
)
def test_what_python_implements_takes_the_place_of_the_images(booted: Kernel, name: str) -> None:
    assert leads_to(booted, name) == booted.core.symbols.address(name)


@pytest.mark.parametrize("name", ["strlen", "crc32_le", "vsnprintf", "kstrtoint", "sort", "_raw_spin_lock"])
def test_what_keeps_no_state_stays_as_it_is(booted: Kernel, name: str) -> None:
    assert leads_to(booted, name) is None


@pytest.mark.parametrize("name", ["strlen", "kstrtoint"])
def test_modules_call_pythons_function_not_the_images(booted: Kernel, name: str) -> None:
    """So that what they do wrong is told; only code of the image calls the image's own."""
    symbol = booted.core.symbols.find(name)
    image = booted.core.image
    assert symbol is not None
    assert image is not None
    assert symbol.address != image.get(name)


def test_every_function_marked_native_stays(booted: Kernel) -> None:
    image = booted.core.image
    assert image is not None
    there = [name for name, (e, _) in kernel_functions().items() if e.native and image.get(name) is not None]
    there = [name for name in there if not name.startswith("__SCT__")]  # a static call is a jump of its own
    assert there
    # Some of the image's functions are themselves jumps, to another of its functions.
    assert [name for name in there if leads_to(booted, name) == booted.core.symbols.address(name)] == []


def test_one_function_may_stand_for_another(booted: Kernel) -> None:
    image = booted.core.image
    assert image is not None
    there = {name: other for name, other in SAME_AS.items() if image.get(name) is not None}
    assert there
    for name, other in there.items():
        assert leads_to(booted, name) in (
            booted.core.symbols.address(other),
            booted.core.symbols.address(name),
        )


def test_what_has_nothing_to_do_here_returns_at_once(booted: Kernel) -> None:
    image = booted.core.image
    assert image is not None
    there = [address for name in RETURNS if (address := image.get(name)) is not None]
    assert there
    assert {booted.core.memory.u8(address) for address in there} == {RET}


AT, STUB = 0x1000, 0x9000


@pytest.mark.parametrize(
    ("sites", "size", "code"),
    [
        ((), 5, {AT: b"\xe9\xfb\x7f\0\0"}),
        ((3,), 20, {AT: b"\xeb\x06", AT + 8: b"\xe9\xf3\x7f\0\0"}),
        ((), 4, {AT: INT3}),
        ((1,), 6, {AT: INT3}),
        ((0,), 5, None),
    ],
)
def test_a_function_too_short_for_a_jump_begins_with_a_breakpoint(
    sites: tuple[int, ...], size: int, code: dict[int, bytes] | None
) -> None:
    assert entry_code({AT + site for site in sites}, AT, size, STUB) == code


@pytest.mark.real
def test_a_breakpoint_at_the_entry_leads_to_pythons_function(booted: Kernel) -> None:
    """As the jump that lies there now does."""

    def work() -> int:
        image, at = booted.core.image, leads_to(booted, "jiffies_to_msecs")
        assert image is not None
        assert at is None  # native
        entry = image.address("jiffies_to_msecs")
        image.breakpoints[entry] = booted.core.symbols.address("jiffies_to_usecs")
        booted.core.memory.write(entry, INT3, force=True)
        booted.core.cpu.flush_code()
        return booted.core.cpu.call(entry, 1)

    assert in_a_copy(booted, work) == 4000
