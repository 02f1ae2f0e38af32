"""Red-black trees in guest memory: lib/rbtree.c, include/linux/rbtree.h.

A node's first word holds its parent's address and, in bit 0, its colour; the children follow. Modules search
by following the children and link new nodes in as red leaves themselves; rebalancing is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site
from ukmod.kernel.export import export
from ukmod.kernel.lib.walk import steps
from ukmod.machine.abi import Ptr

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.machine.memory import Memory

MAX_DEPTH: Final = 1 << 16
"""A deeper tree is considered endless; a balanced one in 64-bit memory has less than 128 levels."""
RED: Final = 0
BLACK: Final = 1
RIGHT: Final = 8
LEFT: Final = 16
"""Offsets of a node's children; the opposite side is ``_OTHER - side``."""
_OTHER = RIGHT + LEFT
Rotated = Callable[[int, int], None]
"""Called after each rotation with the node that sank and the node that rose: rb_augment_callbacks.rotate."""


def _up(function: str, node: int) -> Iterator[int]:
    """Count the levels of a tree that ``function`` passes from ``node`` on."""
    return steps(Site("lib/rbtree.c", 0, function), "rb_tree", node, MAX_DEPTH)


def _plain(old: int, new: int) -> None:
    del old, new


class RbTree:
    """The red-black tree whose struct rb_root is at ``root``."""

    def __init__(self, memory: Memory, root: int, rotated: Rotated = _plain) -> None:
        self._memory = memory
        self._root = root
        self._rotated = rotated

    # -- nodes ----------------------------------------------------------------------------------------

    def parent(self, node: int) -> int:
        """The parent's address, 0 for the root."""
        return self._memory.u64(node) & ~3

    def child(self, node: int, side: int) -> int:
        """The child on a side, or 0."""
        return self._memory.u64(node + side)

    def _red(self, node: int) -> bool:
        return bool(node) and self._memory.u64(node) & 1 == RED

    def _paint(self, node: int, colour: int) -> None:
        self._memory.set_u64(node, self.parent(node) | colour)

    def _set_parent(self, node: int, parent: int) -> None:
        self._memory.set_u64(node, parent | self._memory.u64(node) & 1)

    def _side(self, parent: int, node: int) -> int:
        return LEFT if self.child(parent, LEFT) == node else RIGHT

    def _replace_child(self, old: int, new: int, parent: int) -> None:
        at = parent + self._side(parent, old) if parent else self._root
        self._memory.set_u64(at, new)

    def _rotate(self, node: int, side: int) -> int:
        """Rotate ``node`` down towards ``side``; returns the child that takes its place."""
        rising = self.child(node, _OTHER - side)
        moved = self.child(rising, side)
        parent = self.parent(node)
        self._memory.set_u64(node + _OTHER - side, moved)
        if moved:
            self._set_parent(moved, node)
        self._replace_child(node, rising, parent)
        self._set_parent(rising, parent)
        self._memory.set_u64(rising + side, node)
        self._set_parent(node, rising)
        self._rotated(node, rising)
        return rising

    # -- balance --------------------------------------------------------------------------------------

    def insert_color(self, node: int) -> None:
        """Restore the balance after ``node`` was linked in as a red leaf."""
        for _ in _up("rb_insert_color", node):
            if not self._red(parent := self.parent(node)):
                break
            grandparent = self.parent(parent)
            side = self._side(grandparent, parent)
            uncle = self.child(grandparent, _OTHER - side)
            if self._red(uncle):
                self._paint(parent, BLACK)
                self._paint(uncle, BLACK)
                self._paint(grandparent, RED)
                node = grandparent
                continue
            if self.child(parent, _OTHER - side) == node:
                parent = self._rotate(parent, side)
            self._paint(parent, BLACK)
            self._paint(grandparent, RED)
            self._rotate(grandparent, _OTHER - side)
            break
        self._paint(self._memory.u64(self._root), BLACK)

    def erase(self, node: int) -> None:
        """Remove ``node`` from the tree."""
        left, right = self.child(node, LEFT), self.child(node, RIGHT)
        if left and right:
            self._swap_with_successor(node, right)
            left, right = 0, self.child(node, RIGHT)
        child, parent = left or right, self.parent(node)
        black = not self._red(node)
        self._replace_child(node, child, parent)
        if child:
            self._memory.set_u64(child, parent | BLACK)
        elif black and parent:
            self.erase_color(parent)

    def _swap_with_successor(self, node: int, successor: int) -> None:
        """Swap places with the next node in order, which has no left child."""
        memory = self._memory
        successor = self.end(LEFT, successor)
        word, right = memory.u64(node), self.child(node, RIGHT)
        place = memory.u64(successor)
        above, after = place & ~3, self.child(successor, RIGHT)
        self._replace_child(node, successor, word & ~3)
        memory.set_u64(successor, word)
        left = self.child(node, LEFT)
        memory.set_u64(successor + LEFT, left)
        self._set_parent(left, successor)
        if above == node:
            memory.set_u64(successor + RIGHT, node)
            memory.set_u64(node, successor | place & 1)
        else:
            memory.set_u64(successor + RIGHT, right)
            self._set_parent(right, successor)
            memory.set_u64(above + LEFT, node)
            memory.set_u64(node, place)
        memory.set_u64(node + LEFT, 0)
        memory.set_u64(node + RIGHT, after)
        if after:
            self._set_parent(after, node)

    def erase_color(self, parent: int) -> None:
        """Restore the balance below ``parent``, one of whose sides lacks a black node."""
        node = 0
        for _ in _up("__rb_erase_color", parent):
            if not parent:
                return
            side = LEFT if self.child(parent, LEFT) == node else RIGHT
            far = _OTHER - side
            sibling = self.child(parent, far)
            if self._red(sibling):
                self._paint(sibling, BLACK)
                self._paint(parent, RED)
                self._rotate(parent, side)
                sibling = self.child(parent, far)
            if not self._red(self.child(sibling, LEFT)) and not self._red(self.child(sibling, RIGHT)):
                self._paint(sibling, RED)
                if self._red(parent):
                    self._paint(parent, BLACK)
                    return
                node, parent = parent, self.parent(parent)
                continue
            if not self._red(self.child(sibling, far)):
                self._paint(self.child(sibling, side), BLACK)
                self._paint(sibling, RED)
                sibling = self._rotate(sibling, far)
            self._paint(sibling, self._memory.u64(parent) & 1)
            self._paint(parent, BLACK)
            self._paint(self.child(sibling, far), BLACK)
            self._rotate(parent, side)
            return

    # -- walking --------------------------------------------------------------------------------------

    def end(self, side: int, node: int | None = None) -> int:
        """The outermost node on a side of the tree, or of ``node``'s subtree; 0 if it is empty."""
        node = self._memory.u64(self._root) if node is None else node
        for _ in _up("rb_first", node):
            if not node or not (below := self.child(node, side)):
                break
            node = below
        return node

    def neighbour(self, node: int, side: int) -> int:
        """The next node on a side in the tree's order, or 0. A node that is its own parent is in no tree."""
        if self._memory.u64(node) == node:
            return 0
        if below := self.child(node, side):
            return self.end(_OTHER - side, below)
        parent = self.parent(node)
        for _ in _up("rb_next", node):
            if not parent or self.child(parent, side) != node:
                break
            node, parent = parent, self.parent(parent)
        return parent

    def deepest(self, node: int) -> int:
        """The first leaf of a postorder walk of ``node``'s subtree; 0 for no node."""
        for _ in _up("rb_first_postorder", node):
            if not node or not (below := self.child(node, LEFT) or self.child(node, RIGHT)):
                break
            node = below
        return node


@export(image_first=True)
def rb_insert_color(k: Core, node: Ptr, root: Ptr) -> None:
    """``void rb_insert_color(struct rb_node *node, struct rb_root *root)``."""
    RbTree(k.memory, root).insert_color(node)


@export(image_first=True)
def rb_erase(k: Core, node: Ptr, root: Ptr) -> None:
    """``void rb_erase(struct rb_node *node, struct rb_root *root)``."""
    RbTree(k.memory, root).erase(node)


@export("__rb_insert_augmented", image_first=True)
def rb_insert_augmented(k: Core, node: Ptr, root: Ptr, rotate: Ptr) -> None:
    """``void __rb_insert_augmented(node, root, void (*augment_rotate)(old, new))``."""
    RbTree(k.memory, root, lambda old, new: _call(k, rotate, old, new)).insert_color(node)


@export("__rb_erase_color", image_first=True)
def rb_erase_color(k: Core, parent: Ptr, root: Ptr, rotate: Ptr) -> None:
    """``void __rb_erase_color(parent, root, void (*augment_rotate)(old, new))``."""
    RbTree(k.memory, root, lambda old, new: _call(k, rotate, old, new)).erase_color(parent)


def _call(k: Core, function: int, old: int, new: int) -> None:
    k.cpu.call(function, old, new)


@export(image_first=True)
def rb_first(k: Core, root: Ptr) -> Ptr:
    """``struct rb_node *rb_first(const struct rb_root *)``."""
    return RbTree(k.memory, root).end(LEFT)


@export(image_first=True)
def rb_last(k: Core, root: Ptr) -> Ptr:
    """``struct rb_node *rb_last(const struct rb_root *)``."""
    return RbTree(k.memory, root).end(RIGHT)


@export(image_first=True)
def rb_next(k: Core, node: Ptr) -> Ptr:
    """``struct rb_node *rb_next(const struct rb_node *)``."""
    return RbTree(k.memory, 0).neighbour(node, RIGHT)


@export(image_first=True)
def rb_prev(k: Core, node: Ptr) -> Ptr:
    """``struct rb_node *rb_prev(const struct rb_node *)``."""
    return RbTree(k.memory, 0).neighbour(node, LEFT)


@export(image_first=True)
def rb_first_postorder(k: Core, root: Ptr) -> Ptr:
    """``struct rb_node *rb_first_postorder(const struct rb_root *)``."""
    return RbTree(k.memory, root).deepest(k.memory.u64(root))


@export(image_first=True)
def rb_next_postorder(k: Core, node: Ptr) -> Ptr:
    """``struct rb_node *rb_next_postorder(const struct rb_node *)``: children before parents."""
    if not node:
        return 0
    tree = RbTree(k.memory, 0)
    parent = tree.parent(node)
    if parent and tree.child(parent, LEFT) == node and (right := tree.child(parent, RIGHT)):
        return tree.deepest(right)
    return parent


@export("rb_replace_node", "rb_replace_node_rcu", image_first=True)
def rb_replace_node(k: Core, victim: Ptr, new: Ptr, root: Ptr) -> None:
    """``void rb_replace_node(struct rb_node *victim, struct rb_node *new, struct rb_root *root)``."""
    memory, tree = k.memory, RbTree(k.memory, root)
    memory.write(new, memory.read(victim, 24))
    for side in (LEFT, RIGHT):
        if child := tree.child(victim, side):
            memory.set_u64(child, new | memory.u64(child) & 3)
    parent = tree.parent(victim)
    side_at = parent + (LEFT if parent and tree.child(parent, LEFT) == victim else RIGHT) if parent else root
    memory.set_u64(side_at, new)
