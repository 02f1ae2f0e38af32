"""Sorting and searching by a callback, and red-black trees."""

from __future__ import annotations

import random
import struct

from tests.kernel.conftest import Guest

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import list_add_tail, list_entries
from ukmod.kernel.lib.rbtree import BLACK, LEFT, RIGHT, RbTree


def _compare(kernel: Core, a: int, b: int) -> int:
    left, right = kernel.memory.s32(a), kernel.memory.s32(b)
    return (left > right) - (left < right)


def test_sort_and_bsearch(guest: Guest) -> None:
    k = guest.kernel
    numbers = random.Random(1).sample(range(-100, 100), 40)
    array = guest.words(*numbers, size=4)
    compare = guest.python(lambda a, b: _compare(k, a, b), 2)
    guest.call("sort", array, len(numbers), 4, compare, 0)
    assert list(struct.unpack("<40i", k.memory.read(array, 160))) == sorted(numbers)
    key = guest.words(max(numbers), size=4)
    assert guest.call("bsearch", key, array, 40, 4, compare) & (1 << 64) - 1 == array + 4 * 39
    assert guest.call("bsearch", guest.words(1000, size=4), array, 40, 4, compare) == 0


def test_list_sort_keeps_the_order_of_equals(guest: Guest) -> None:
    k = guest.kernel
    head = guest.words(0, 0)
    k.memory.set_u64(head, head)
    k.memory.set_u64(head + 8, head)
    entries = [guest.words(0, 0, key) for key in (2, 1, 2, 1, 0)]
    for entry in entries:
        list_add_tail(k.memory, entry, head)
    compare = guest.python(lambda _, a, b: int(k.memory.u64(a + 16) > k.memory.u64(b + 16)), 3)
    guest.call("list_sort", 0, head, compare)
    assert list(list_entries(k.memory, head)) == [entries[n] for n in (4, 1, 3, 0, 2)]


class Numbers:
    """A red-black tree of numbers, linked in as a module would."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.memory = guest.kernel.memory
        self.root = guest.words(0)
        self.nodes: dict[int, int] = {}

    def insert(self, key: int) -> None:
        memory, at, parent = self.memory, self.root, 0
        while node := memory.u64(at):
            parent = node
            at = node + (LEFT if key < memory.u64(node + 24) else RIGHT)
        self.nodes[key] = new = self.guest.words(parent, 0, 0, key)
        memory.set_u64(at, new)
        self.guest.call("rb_insert_color", new, self.root)

    def erase(self, key: int) -> None:
        self.guest.call("rb_erase", self.nodes.pop(key), self.root)

    def walk(self, first: str, step: str) -> list[int]:
        keys = []
        node = self.guest.call(first, self.root) & (1 << 64) - 1
        while node:
            keys.append(self.memory.u64(node + 24))
            node = self.guest.call(step, node) & (1 << 64) - 1
        return keys

    def black_height(self, node: int, parent: int = 0) -> int:
        """Checks the rules below a node: no red child of a red node, as many black ones on each path."""
        if not node:
            return 1
        word = self.memory.u64(node)
        assert word & ~3 == parent
        black = word & 1 == BLACK
        assert black or (parent and self.memory.u64(parent) & 1 == BLACK)
        left, right = (self.black_height(self.memory.u64(node + side), node) for side in (LEFT, RIGHT))
        assert left == right
        return left + black


def test_a_tree_stays_sorted_and_balanced(guest: Guest) -> None:
    tree = Numbers(guest)
    shuffle = random.Random(2)
    keys = shuffle.sample(range(1000), 60)
    for key in keys:
        tree.insert(key)
        tree.black_height(tree.memory.u64(tree.root))
    assert tree.walk("rb_first", "rb_next") == sorted(keys)
    assert tree.walk("rb_last", "rb_prev") == sorted(keys, reverse=True)
    assert sorted(tree.walk("rb_first_postorder", "rb_next_postorder")) == sorted(keys)
    for count, key in enumerate(shuffle.sample(keys, 60), 1):
        tree.erase(key)
        tree.black_height(tree.memory.u64(tree.root))
        assert len(tree.walk("rb_first", "rb_next")) == 60 - count
    assert tree.memory.u64(tree.root) == 0


def test_a_node_in_no_tree_has_no_neighbours(guest: Guest) -> None:
    node = guest.words(0, 0, 0)
    guest.kernel.memory.set_u64(node, node)
    assert RbTree(guest.kernel.memory, 0).neighbour(node, RIGHT) == 0
