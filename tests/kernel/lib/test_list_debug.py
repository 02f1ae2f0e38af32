"""Checks of linked lists: lib/list_debug.c. A corrupted list is a bug (CONFIG_BUG_ON_DATA_CORRUPTION)."""

from __future__ import annotations

import pytest
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.list import LIST_POISON1, LIST_POISON2

ADD = pytest.mark.parametrize("function", ["__list_add_valid", "__list_add_valid_or_report"])
DEL = pytest.mark.parametrize("function", ["__list_del_entry_valid", "__list_del_entry_valid_or_report"])
NEXT, PREV = 0, 8


class Ring:
    """A list of three: struct list_head is a pair of pointers."""

    def __init__(self, guest: Guest) -> None:
        self.memory = guest.kernel.memory
        self.head, self.first, self.second = self.entries = [guest.words(0, 0) for _ in range(3)]
        self.new = guest.words(0, 0)
        for n, entry in enumerate(self.entries):
            self.memory.set_u64(entry + NEXT, self.entries[(n + 1) % 3])
            self.memory.set_u64(entry + PREV, self.entries[n - 1])

    def addresses(self) -> dict[str, str]:
        """The address of each entry, as %px prints it."""
        return {name: f"{getattr(self, name):016x}" for name in ("head", "first", "second", "new")}


@pytest.fixture
def ring(guest: Guest) -> Ring:
    return Ring(guest)


@ADD
def test_an_entry_fits_between_neighbours(guest: Guest, ring: Ring, function: str) -> None:
    for before, after in ((ring.head, ring.first), (ring.first, ring.second), (ring.second, ring.head)):
        assert guest.call_int(function, ring.new, before, after) == 1
    assert not guest.kernel.log.lines


@DEL
def test_each_entry_of_a_sound_list_can_be_deleted(guest: Guest, ring: Ring, function: str) -> None:
    assert [guest.call_int(function, entry) for entry in ring.entries] == [1, 1, 1]


@ADD
@pytest.mark.parametrize(
    ("change", "text", "line"),
    [
        ({"before": 0}, "list_add corruption. prev is NULL.", 23),
        ({"after": 0}, "list_add corruption. next is NULL.", 25),
        (
            {"after": "second"},
            "list_add corruption. next->prev should be prev ({head}), but was {first}. (next={second}).",
            27,
        ),
        (
            {"before": "new"},
            "list_add corruption. prev->next should be next ({first}), but was {second}. (prev={new}).",
            30,
        ),
        ({"new": "first"}, "list_add double add: new={first}, prev={head}, next={first}.", 33),
    ],
)
def test_what_is_wrong_with_an_addition_is_logged(
    guest: Guest, ring: Ring, function: str, change: dict[str, str | int], text: str, line: int
) -> None:
    ring.memory.set_u64(ring.new + NEXT, ring.second)
    if change.get("before") == "new":
        ring.memory.set_u64(ring.first + PREV, ring.new)
    names = {"new": "new", "before": "head", "after": "first", **change}
    arguments = [name if isinstance(name, int) else getattr(ring, name) for name in names.values()]
    lines = guest.oops(function, *arguments)
    assert lines[0] == text.format(**ring.addresses())
    assert f"kernel BUG at lib/list_debug.c:{line}!" in lines


@DEL
@pytest.mark.parametrize(
    ("link", "value", "text", "line"),
    [
        (NEXT, 0, "list_del corruption, {first}->next is NULL", 49),
        (PREV, 0, "list_del corruption, {first}->prev is NULL", 51),
        (NEXT, LIST_POISON1, "list_del corruption, {first}->next is LIST_POISON1 ({value})", 53),
        (PREV, LIST_POISON2, "list_del corruption, {first}->prev is LIST_POISON2 ({value})", 56),
        (
            PREV,
            "second",
            "list_del corruption. prev->next should be {first}, but was {head}. (prev={second})",
            59,
        ),
        (
            NEXT,
            "head",
            "list_del corruption. next->prev should be {first}, but was {second}. (next={head})",
            62,
        ),
    ],
)
def test_what_is_wrong_with_a_deletion_is_logged(
    guest: Guest, ring: Ring, function: str, link: int, value: int | str, text: str, line: int
) -> None:
    """Poison is what list_del() leaves in an entry: it was deleted before."""
    number = value if isinstance(value, int) else getattr(ring, value)
    ring.memory.set_u64(ring.first + link, number)
    lines = guest.oops(function, ring.first)
    assert lines[0] == text.format(**ring.addresses(), value=f"{number:016x}")
    assert f"kernel BUG at lib/list_debug.c:{line}!" in lines
