"""Notifier chains: kernel/notifier.c."""

from __future__ import annotations

from errno import EBUSY, EEXIST, ENOENT

import pytest
from tests.kernel.conftest import Guest

from ukmod.kernel.core import Core
from ukmod.kernel.notifier import NOTIFY_STOP_MASK, NotifierChain

NOTIFY_DONE, NOTIFY_OK, NOTIFY_BAD = 0, 1, NOTIFY_STOP_MASK | 2


class Chain:
    """A notifier chain of some kind, whose blocks write their name and their arguments into ``seen``."""

    def __init__(self, kernel: Core, guest: Guest, kind: str = "raw") -> None:
        self.kernel, self.guest, self.kind = kernel, guest, kind
        self.head = guest.put(b"", kernel.types.sizeof(f"{kind}_notifier_head"))
        self.seen: list[tuple[str, int, int]] = []

    def block(self, name: str, priority: int = 0, answer: int = NOTIFY_OK) -> int:
        k = self.kernel

        def called(_: int, value: int, data: int) -> int:
            self.seen.append((name, value, data))
            return answer

        address = k.slab.kmalloc(k.types.sizeof("notifier_block"))
        offset = k.types.offset
        k.memory.set_u64(address + offset("notifier_block", "notifier_call"), self.guest.python(called, 3))
        k.memory.set_u32(address + offset("notifier_block", "priority"), priority & 0xFFFF_FFFF)
        return address

    def register(self, block: int) -> int:
        return self.guest.call_int(f"{self.kind}_notifier_chain_register", self.head, block)

    def unregister(self, block: int) -> int:
        return self.guest.call_int(f"{self.kind}_notifier_chain_unregister", self.head, block)

    def call(self, value: int = 5, data: int = 6) -> int:
        return self.guest.call_int(f"{self.kind}_notifier_call_chain", self.head, value, data)


@pytest.fixture(params=["raw", "atomic", "blocking"])
def chain(kernel: Core, guest: Guest, request: pytest.FixtureRequest) -> Chain:
    return Chain(kernel, guest, request.param)


def test_blocks_are_called_by_priority_and_among_equals_in_order(chain: Chain) -> None:
    for name, priority in (("low", -1), ("first", 0), ("high", 7), ("second", 0)):
        assert chain.register(chain.block(name, priority)) == 0
    assert chain.call() == NOTIFY_OK
    assert chain.seen == [(name, 5, 6) for name in ("high", "first", "second", "low")]


def test_an_answer_with_the_stop_bit_ends_the_call(chain: Chain) -> None:
    chain.register(chain.block("a", answer=NOTIFY_BAD))
    chain.register(chain.block("b"))
    assert chain.call() == NOTIFY_BAD
    assert [name for name, *_ in chain.seen] == ["a"]


def test_the_last_answer_counts_and_an_empty_chain_is_done(chain: Chain) -> None:
    assert chain.call() == NOTIFY_DONE
    chain.register(chain.block("a", answer=NOTIFY_OK))
    chain.register(chain.block("b", answer=NOTIFY_DONE))
    assert chain.call() == NOTIFY_DONE


def test_registering_twice_and_removing_what_is_not_there(chain: Chain) -> None:
    block = chain.block("a")
    assert chain.register(block) == 0
    assert chain.register(block) == -EEXIST
    assert chain.unregister(block) == 0
    assert chain.unregister(block) == -ENOENT
    assert chain.call() == NOTIFY_DONE


def test_a_block_that_is_removed_from_the_middle_is_called_no_more(chain: Chain) -> None:
    blocks = [chain.block(name) for name in ("a", "b", "c")]
    for block in blocks:
        chain.register(block)
    chain.unregister(blocks[1])
    chain.call()
    assert [name for name, *_ in chain.seen] == ["a", "c"]


def test_a_block_may_remove_itself_while_it_is_called(kernel: Core, chain: Chain) -> None:
    """The next one is known before it is called."""
    first, second = chain.block("a"), chain.block("b")
    for block in (first, second):
        chain.register(block)

    def leaves(block: int, value: int, data: int) -> int:
        chain.unregister(block)
        return NOTIFY_OK

    call = kernel.types.offset("notifier_block", "notifier_call")
    kernel.memory.set_u64(first + call, chain.guest.python(leaves, 3))
    chain.call()
    chain.call()
    assert [name for name, *_ in chain.seen] == ["b", "b"]


def test_a_robust_call_takes_back_what_those_before_the_objector_did(
    kernel: Core, guest: Guest, chain: Chain
) -> None:
    own = NotifierChain(kernel, "a_chain")
    for name, priority, answer in (("a", 2, NOTIFY_OK), ("b", 1, NOTIFY_BAD), ("c", 0, NOTIFY_OK)):
        own.register(chain.block(name, priority, answer))
    results: list[int] = []
    kernel.run_task("t", lambda: results.append(own.call_robust(1, 2, 0)) or 0)
    assert results == [NOTIFY_BAD]
    assert chain.seen == [("a", 1, 0), ("b", 1, 0), ("a", 2, 0)]


@pytest.mark.parametrize("kind", ["atomic", "blocking"])
def test_a_unique_priority_is_taken_by_one_block_alone(kernel: Core, guest: Guest, kind: str) -> None:
    chain = Chain(kernel, guest, kind)
    register = f"{kind}_notifier_chain_register_unique_prio"
    blocks = [chain.block(name, priority) for name, priority in (("a", 7), ("b", 7), ("c", 5))]
    assert [guest.call_int(register, chain.head, block) for block in blocks] == [0, -EBUSY, 0]
    chain.call()
    assert [name for name, *_ in chain.seen] == ["a", "c"]
