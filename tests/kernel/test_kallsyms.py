"""Names for addresses in the log: kernel/kallsyms.c."""

from __future__ import annotations

import re

import pytest
from tests.kernel.conftest import Guest

from ukmod.kernel.api import Kernel
from ukmod.kernel.module.main import Module

KSYM_SYMBOL_LEN = 512 + 64
ALL = pytest.mark.parametrize(
    "function", ["sprint_symbol", "sprint_symbol_build_id", "sprint_symbol_no_offset"]
)


@pytest.fixture
def guest(machine: Kernel, ok_dep: Module) -> Guest:
    return Guest(machine.core)


def sprint(guest: Guest, function: str, address: int) -> str:
    """The text that is stored; its length is returned."""
    buffer = guest.put(b"", KSYM_SYMBOL_LEN)
    length = guest.call_int(function, buffer, address)
    text = guest.string(buffer).decode()
    assert length == len(text)
    return text


@pytest.mark.parametrize("function", ["sprint_symbol", "sprint_symbol_build_id"])
def test_a_symbol_has_the_offset_and_its_size(guest: Guest, function: str) -> None:
    """Distributions leave build ids out: CONFIG_STACKTRACE_BUILD_ID."""
    address = guest.kernel.symbols.address("snprintf")
    assert re.fullmatch(r"snprintf\+0x4/0x[0-9a-f]+", sprint(guest, function, address + 4))


def test_a_symbol_may_stand_alone(guest: Guest) -> None:
    address = guest.kernel.symbols.address("snprintf")
    assert sprint(guest, "sprint_symbol_no_offset", address + 4) == "snprintf"


def test_a_modules_symbol_names_its_module(guest: Guest, ok_dep: Module) -> None:
    name, start = next(
        (name, start)
        for name, start in zip(ok_dep.layout.symbol_names, ok_dep.layout.symbol_starts, strict=True)
        if start >= ok_dep.layout.core
    )
    text = sprint(guest, "sprint_symbol", start + 1)
    assert re.fullmatch(rf"{name}\+0x1/0x[0-9a-f]+ \[ok_dep\]", text)
    assert sprint(guest, "sprint_symbol_no_offset", start + 1) == f"{name} [ok_dep]"


@ALL
@pytest.mark.parametrize("address", [0, 0x1234, 0xFFFF_8880_0000_0000])
def test_an_address_without_a_symbol_is_a_number(guest: Guest, function: str, address: int) -> None:
    assert sprint(guest, function, address) == f"{address:#x}"
