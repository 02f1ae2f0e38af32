"""Red-black trees: lib/rbtree.c, include/linux/rbtree_augmented.h."""

from __future__ import annotations

import random

import pytest
from tests.kernel.conftest import Guest

from ukmod.kernel.lib.rbtree import BLACK, LEFT, RED, RIGHT, RbTree


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


class Sized(Numbers):
    """A tree whose nodes also hold the number of nodes below them, as an augmented tree does."""

    def size(self, node: int) -> int:
        """The number of nodes of a subtree, as its root has it."""
        return self.memory.u64(node + 32) if node else 0

    def update(self, node: int) -> None:
        """Count anew from the children."""
        below = (self.memory.u64(node + side) for side in (LEFT, RIGHT))
        self.memory.set_u64(node + 32, 1 + sum(self.size(child) for child in below))

    def rotate(self, old: int, new: int) -> int:
        """augment_rotate(): ``new`` takes the place of ``old``, which is below it now."""
        self.memory.set_u64(new + 32, self.size(old))
        self.update(old)
        return 0

    def link(self, key: int, colour: int = RED) -> int:
        """Put a new node at its place, without any balancing."""
        memory, at, parent = self.memory, self.root, 0
        while node := memory.u64(at):
            memory.set_u64(node + 32, self.size(node) + 1)
            parent, at = node, node + (LEFT if key < memory.u64(node + 24) else RIGHT)
        self.nodes[key] = new = self.guest.words(parent | colour, 0, 0, key, 1)
        memory.set_u64(at, new)
        return new

    def check(self, node: int) -> int:
        """The number of nodes of a subtree, counted; each node has to know its own."""
        if not node:
            return 0
        count = 1 + sum(self.check(self.memory.u64(node + side)) for side in (LEFT, RIGHT))
        assert self.size(node) == count
        return count


@pytest.fixture
def sized(guest: Guest) -> Sized:
    return Sized(guest)


class TestAugmented:
    def test_each_rotation_of_an_insertion_is_told_to_the_callback(self, guest: Guest, sized: Sized) -> None:
        rotate = guest.python(sized.rotate, 2)
        for count, key in enumerate(range(20), 1):  # in order: the tree must be rotated again and again
            guest.call("__rb_insert_augmented", sized.link(key), sized.root, rotate)
            root = sized.memory.u64(sized.root)
            sized.black_height(root)
            assert sized.check(root) == count

    def test_a_black_leaf_that_is_gone_makes_its_sibling_red(self, guest: Guest, sized: Sized) -> None:
        """rb_erase_augmented() is inlined in modules, and calls __rb_erase_color() for the parent."""
        root, right = sized.link(5, BLACK), sized.link(8, BLACK)
        never = guest.python(lambda: pytest.fail("nothing was rotated"), 0)
        guest.call("__rb_erase_color", root, sized.root, never)
        assert [sized.memory.u64(node) & 1 for node in (root, right)] == [BLACK, RED]

    @pytest.mark.parametrize("nephew", [7, 9])
    def test_a_red_nephew_takes_the_missing_black_over(self, guest: Guest, sized: Sized, nephew: int) -> None:
        root = sized.link(5, BLACK)
        sized.link(8, BLACK)
        sized.link(nephew, RED)
        guest.call("__rb_erase_color", root, sized.root, guest.python(sized.rotate, 2))
        top = sized.memory.u64(sized.root)
        assert sized.black_height(top) == 3, "all three nodes are black"
        assert sized.check(top) == 3
        assert sized.walk("rb_first", "rb_next") == sorted([5, 8, nephew])


@pytest.mark.parametrize("function", ["rb_replace_node", "rb_replace_node_rcu"])
@pytest.mark.parametrize("key", range(7))
def test_a_replacement_takes_place_colour_and_children(guest: Guest, function: str, key: int) -> None:
    tree = Numbers(guest)
    for each in (3, 1, 5, 0, 2, 4, 6):
        tree.insert(each)
    new = guest.words(0, 0, 0, key)
    guest.call(function, tree.nodes[key], new, tree.root)
    tree.memory.set_u64(tree.nodes[key] + 24, 99)  # the old one is seen no more
    assert tree.walk("rb_first", "rb_next") == list(range(7))
    assert tree.walk("rb_last", "rb_prev") == list(range(6, -1, -1))
    tree.black_height(tree.memory.u64(tree.root))
