"""The image's trees, maps and sorting against Python's own, through a few hundred operations at random."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.kernel.image.computing import GFP_KERNEL, Image, Run

pytestmark = pytest.mark.real

ENOSPC = 28
XA_PRESENT = 8
FREE_MARK = 1 << 27
"""XA_FLAGS_MARK(XA_FREE_MARK)"""
TRACK_FREE = 4
U64_MAX = (1 << 64) - 1


def value(number: int) -> int:
    """xa_mk_value(): a number as an entry, which must not look like a pointer of the tree's own."""
    return number << 1 | 1


def sparse(dice: random.Random) -> int:
    """An index: many are near each other, some are far away."""
    return dice.choice([0, 0, 0, 1 << 12, 1 << 40, U64_MAX - 300]) + dice.randrange(300)


# -- sorting ----------------------------------------------------------------------------------------------

COMPARE = bytes.fromhex(
    "0f97c0"  # seta %al
    "0f92c1"  # setb %cl
    "0fb6c0"  # movzbl %al,%eax
    "0fb6c9"  # movzbl %cl,%ecx
    "29c8"  # sub %ecx,%eax
    "c3"  # ret
)
"""1, 0 or -1, as the first of two unsigned numbers that were compared is the greater, neither, or less."""
COMPARE_U32 = bytes.fromhex("8b07 3b06") + COMPARE  # mov (%rdi),%eax; cmp (%rsi),%eax
COMPARE_NODES = bytes.fromhex("8b4610 3b4210") + COMPARE  # mov 16(%rsi),%eax; cmp 16(%rdx),%eax


def twins(image: Image, name: str) -> list[int]:
    """The image's function, and the one in Python."""
    assert image.k.core.symbols.is_python(name)
    return [image.native(name), image.k.core.symbols.address(name)]


@pytest.mark.parametrize("size", [4, 8, 12, 17])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_sort(run: Run, count: int, size: int) -> None:
    dice = random.Random(count)
    items = [struct.pack("<I", dice.randrange(60)) + dice.randbytes(size - 4) for _ in range(count)]

    def sort(image: Image) -> list[str]:
        compare = image.k.core.cpu.stubs.add_native(COMPARE_U32)
        tables = []
        for function in twins(image, "sort"):
            table = image.put(b"".join(items))
            image.k.call(function, table, count, size, compare, 0, returns=None)
            tables.append(image.get(table, count * size).hex())
        return tables

    for table in map(bytes.fromhex, run(sort)):
        found = [table[at : at + size] for at in range(0, len(table), size)]
        assert sorted(found) == sorted(items)
        assert [item[:4] for item in found] == sorted((item[:4] for item in items), key=lambda key: key[::-1])


def test_bsearch(run: Run) -> None:
    numbers = sorted(random.Random(1).sample(range(1000), 200))

    def search(image: Image) -> list[list[int]]:
        compare = image.k.core.cpu.stubs.add_native(COMPARE_U32)
        table, key = image.put(struct.pack("<200I", *numbers)), image.put(bytes(4))
        found: list[list[int]] = [[], []]
        for answers, function in zip(found, twins(image, "bsearch"), strict=True):
            for wanted in range(1000):
                image.k.core.memory.set_u32(key, wanted)
                at = image.k.call(function, key, table, 200, 4, compare, returns="void *")
                answers.append((at - table) // 4 if at else -1)
        return found

    expected = [numbers.index(wanted) if wanted in numbers else -1 for wanted in range(1000)]
    assert run(search) == [expected, expected]


def test_list_sort_is_stable(run: Run) -> None:
    keys = [random.Random(1).randrange(40) for _ in range(150)]

    def sort(image: Image) -> list[list[int]]:
        u64, set_u64 = image.k.core.memory.u64, image.k.core.memory.set_u64
        compare = image.k.core.cpu.stubs.add_native(COMPARE_NODES)
        orders = []
        for function in twins(image, "list_sort"):
            nodes = [image.put(struct.pack("<QQI", 0, 0, key)) for key in keys]
            ring = [image.put(bytes(16)), *nodes]
            for before, after in zip(ring, ring[1:] + ring[:1], strict=True):
                set_u64(before, after)
                set_u64(after + 8, before)
            image.k.call(function, 0, ring[0], compare, returns=None)
            order, at = [], ring[0]
            while (after := u64(at)) != ring[0]:
                assert u64(after + 8) == at
                order.append(nodes.index(after))
                at = after
            orders.append(order)
        return orders

    expected = sorted(range(150), key=keys.__getitem__)
    assert run(sort) == [expected, expected]


# -- red-black trees --------------------------------------------------------------------------------------

RIGHT, LEFT = 8, 16


@dataclass
class RbTree:
    """A tree as a module keeps it: linking in and searching are its own, the balance is the kernel's."""

    image: Image
    insert_color: int
    erase_node: int
    root: int
    keys: dict[int, int] = field(default_factory=dict)
    """By the address of the node."""

    def insert(self, key: int) -> None:
        memory = self.image.k.core.memory
        node, parent, link = self.image.put(bytes(24)), 0, self.root
        while below := memory.u64(link):
            parent, link = below, below + (LEFT if key < self.keys[below] else RIGHT)
        memory.set_u64(node, parent)
        memory.set_u64(link, node)
        self.keys[node] = key
        self.image.k.call(self.insert_color, node, self.root, returns=None)

    def erase(self, node: int) -> None:
        self.image.k.call(self.erase_node, node, self.root, returns=None)
        del self.keys[node]

    def check(self) -> None:
        """Its nodes are there in order; none red has a red child; all ways down have as many black ones."""
        memory, order = self.image.k.core.memory, []

        def height(node: int, parent: int, *, red: bool) -> int:
            if not node:
                return 0
            word = memory.u64(node)
            assert word & ~3 == parent
            is_red = not word & 1
            assert not (red and is_red)
            left = height(memory.u64(node + LEFT), node, red=is_red)
            order.append(node)
            assert height(memory.u64(node + RIGHT), node, red=is_red) == left
            return left + (not is_red)

        height(memory.u64(self.root), 0, red=True)
        assert len(order) == len(self.keys)
        assert [self.keys[node] for node in order] == sorted(self.keys.values())

    def walk(self, first: str, following: str) -> list[int]:
        node = self.image.call(first, self.root)
        keys = []
        while node:
            keys.append(self.keys[node])
            node = self.image.call(following, node)
        return keys


@pytest.mark.parametrize("whose", [0, 1], ids=["image", "python"])
def test_rbtree(run: Run, whose: int) -> None:
    def work(image: Image) -> None:
        functions = twins(image, "rb_insert_color")[whose], twins(image, "rb_erase")[whose]
        tree = RbTree(image, *functions, image.put(bytes(8)))
        dice = random.Random(1)
        for size in (150, 40, 90, 0):
            while len(tree.keys) != size:
                if len(tree.keys) < size:
                    tree.insert(dice.randrange(200))
                else:
                    tree.erase(dice.choice(list(tree.keys)))
                if not dice.randrange(5):
                    tree.check()
            tree.check()
            assert tree.walk("rb_first", "rb_next") == sorted(tree.keys.values())
            assert tree.walk("rb_last", "rb_prev") == sorted(tree.keys.values(), reverse=True)
            assert sorted(tree.walk("rb_first_postorder", "rb_next_postorder")) == sorted(tree.keys.values())

    run(work)


def test_interval_tree(run: Run) -> None:
    """A tree whose nodes are augmented with the last number below them."""

    def work(image: Image) -> None:
        dice = random.Random(1)
        root = image.put(bytes(16))
        spans: dict[int, tuple[int, int]] = {}
        for round_ in range(300):
            if len(spans) > 20 and dice.randrange(3) == 0:
                node = dice.choice(list(spans))
                image.call("interval_tree_remove", node, root, returns="void")
                del spans[node]
            else:
                start = dice.randrange(1000)
                span = start, start + dice.randrange(100)
                node = image.struct("interval_tree_node", start=span[0], last=span[1])
                image.call("interval_tree_insert", node, root, returns="void")
                spans[node] = span
            if round_ % 5:
                continue
            low = dice.randrange(1000)
            high = low + dice.randrange(50)
            found, node = [], image.call("interval_tree_iter_first", root, low, high)
            while node:
                found.append(spans[node])
                node = image.call("interval_tree_iter_next", node, low, high)
            assert found == sorted(found, key=lambda span: span[0])
            assert sorted(found) == sorted(s for s in spans.values() if s[0] <= high and s[1] >= low)

    run(work)


# -- maps from numbers ------------------------------------------------------------------------------------


def walk_map(image: Image, start: Callable[[int], int], following: Callable[[int], int]) -> dict[int, int]:
    """What is found from 0 on: index and entry. Both are told where the index is."""
    at = image.put(bytes(8))
    found: dict[int, int] = {}
    entry = start(at)
    while entry:
        found[image.k.core.memory.u64(at)] = entry
        entry = following(at)
    return found


def test_xarray(run: Run) -> None:
    def work(image: Image) -> None:
        dice, model = random.Random(1), dict[int, int]()
        marked: set[int] = set()
        array = image.struct("xarray")
        for number in range(500):
            index = dice.choice(list(model)) if model and dice.randrange(2) else sparse(dice)
            match dice.randrange(5):
                case 0 | 1:
                    before = image.call("xa_store", array, index, value(number), GFP_KERNEL)
                    assert before == model.get(index, 0)
                    model[index] = value(number)
                case 2:
                    assert image.call("xa_erase", array, index) == model.pop(index, 0)
                    marked.discard(index)
                case 3:
                    image.call("xa_set_mark", array, index, 1, returns="void")
                    marked |= {index} & model.keys()
                case 4:
                    assert image.call("xa_load", array, index) == model.get(index, 0)
                    assert image.call("xa_get_mark", array, index, 1, returns="bool") == (index in marked)
        for what, expected in ((XA_PRESENT, model), (1, {index: model[index] for index in marked})):
            found = walk_map(
                image,
                lambda at, what=what: image.call("xa_find", array, at, U64_MAX, what),
                lambda at, what=what: image.call("xa_find_after", array, at, U64_MAX, what),
            )
            assert list(found.items()) == sorted(expected.items())

    run(work)


def test_radix_tree(run: Run) -> None:
    def work(image: Image) -> None:
        dice, model = random.Random(2), dict[int, int]()
        tree = image.struct("xarray", xa_flags=GFP_KERNEL)
        for number in range(400):
            index = dice.choice(list(model)) if model and dice.randrange(3) == 0 else sparse(dice)
            if dice.randrange(3):
                status = image.call("radix_tree_insert", tree, index, value(number), returns="int")
                assert status == (-17 if index in model else 0)  # EEXIST
                model.setdefault(index, value(number))
            else:
                assert image.call("radix_tree_delete", tree, index) == model.pop(index, 0)
            assert image.call("radix_tree_lookup", tree, index) == model.get(index, 0)
        first, most = dice.choice(sorted(model)), 40
        out = image.put(bytes(8 * most))
        count = image.call("radix_tree_gang_lookup", tree, out, first, most, returns="unsigned int")
        found = struct.unpack(f"<{count}Q", image.get(out, 8 * count))
        assert list(found) == [model[index] for index in sorted(model) if index >= first][:most]

    run(work)


def test_idr(run: Run) -> None:
    """The lowest number in a range that is free is given out."""

    def work(image: Image) -> None:
        dice, model = random.Random(3), dict[int, int]()
        idr = image.struct("idr", **{"idr_rt.xa_flags": FREE_MARK | TRACK_FREE})
        for _ in range(500):
            if model and dice.randrange(3) == 0:
                number = dice.choice(list(model))
                assert image.call("idr_remove", idr, number) == model.pop(number)
                continue
            start = dice.choice([0, 1, 60, 5000])
            end = start + dice.choice([1, 10, 70])
            entry = image.put(bytes(8))
            given = image.call("idr_alloc", idr, entry, start, end, GFP_KERNEL, returns="int")
            free = next((number for number in range(start, end) if number not in model), -ENOSPC)
            assert given == free
            if given >= 0:
                model[given] = entry
            number = dice.randrange(100)
            assert image.call("idr_find", idr, number) == model.get(number, 0)

        def following(at: int) -> int:
            image.k.core.memory.set_u32(at, image.k.core.memory.u32(at) + 1)
            entry: int = image.call("idr_get_next", idr, at)
            return entry

        found = walk_map(image, lambda at: image.call("idr_get_next", idr, at), following)
        assert list(found.items()) == sorted(model.items())

    run(work)


def test_ida(run: Run) -> None:
    def work(image: Image) -> None:
        dice, model = random.Random(4), set[int]()
        ida = image.struct("ida", **{"xa.xa_flags": FREE_MARK | TRACK_FREE | 1})
        for _ in range(500):
            if model and dice.randrange(3) == 0:
                number = dice.choice(sorted(model))
                image.call("ida_free", ida, number, returns="void")
                model.remove(number)
                continue
            low = dice.choice([0, 1, 60, 1000, 5000])
            high = low + dice.choice([0, 10, 70, 2000])
            given = image.call("ida_alloc_range", ida, low, high, GFP_KERNEL, returns="int")
            assert given == next((n for n in range(low, high + 1) if n not in model), -ENOSPC)
            model |= {given} if given >= 0 else set()

    run(work)


@pytest.mark.parametrize("flags", [0, 1], ids=["plain", "allocating"])
def test_maple_tree(run: Run, flags: int) -> None:
    """Ranges that cut others, and that are erased whole."""
    size = 1500

    def work(image: Image) -> None:
        dice, model = random.Random(5), [0] * size
        tree = image.struct("maple_tree", ma_flags=flags)
        for number in range(1, 400):
            index = dice.randrange(size)
            if dice.randrange(4):
                last = min(index + dice.choice([0, 0, 3, 40, 400]), size - 1)
                status = image.call("mtree_store_range", tree, index, last, value(number), GFP_KERNEL)
                assert status == 0
                model[index : last + 1] = [value(number)] * (last + 1 - index)
            else:
                assert image.call("mtree_erase", tree, index) == model[index]
                first = last = index
                while first and model[first - 1] == model[index]:
                    first -= 1
                while last + 1 < size and model[last + 1] == model[index]:
                    last += 1
                model[first : last + 1] = [0] * (last + 1 - first)
            if number % 40 == 0:
                assert [image.call("mtree_load", tree, at) for at in range(0, size, 7)] == model[::7]
        image.call("mtree_destroy", tree, returns="void")
        assert image.call("mtree_load", tree, 7) == 0

    run(work)


# -- queues -----------------------------------------------------------------------------------------------


def test_kfifo(run: Run) -> None:
    def work(image: Image) -> None:
        dice = random.Random(6)
        functions = zip(twins(image, "__kfifo_in"), twins(image, "__kfifo_out"), strict=True)
        for put, take in functions:
            queue, sent, received = b"", b"", b""
            fifo = image.struct("__kfifo", mask=63, esize=1, data=image.put(bytes(64)))
            for _ in range(200):
                size = dice.randrange(80)
                if dice.randrange(2):
                    data = dice.randbytes(size)
                    count = image.k.call(put, fifo, image.put(data), size, returns="unsigned int")
                    assert count == min(size, 64 - len(queue))
                    queue += data[:count]
                    sent += data[:count]
                else:
                    out = image.put(bytes(80))
                    count = image.k.call(take, fifo, out, size, returns="unsigned int")
                    assert count == min(size, len(queue))
                    queue = queue[count:]
                    received += image.get(out, count)
            assert sent == received + queue
            assert len(received) > 1000

    run(work)
