"""Reader-writer semaphores: Documentation/locking/locktypes.rst, kernel/locking/rwsem.c."""

from __future__ import annotations

from errno import EINTR

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, kill, signed, start

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import Task

READS = pytest.mark.parametrize(
    ("down", "up"),
    [
        ("down_read", "up_read"),
        ("down_read_nested", "up_read"),
        ("down_read_interruptible", "up_read"),
        ("down_read_killable", "up_read"),
        ("down_read_killable_nested", "up_read"),
        ("down_read_non_owner", "up_read_non_owner"),
    ],
)
WRITES = pytest.mark.parametrize(
    "down", ["down_write", "down_write_nested", "down_write_killable", "down_write_killable_nested"]
)
RETURNS = ("killable", "interruptible")


@pytest.fixture
def sem(kernel: Core, guest: Guest) -> int:
    """An initialised struct rw_semaphore."""
    at = guest.put(b"", kernel.types.sizeof("rw_semaphore"))
    guest.call("__init_rwsem", at, b"sem", 0)
    return at


def take(k: Core, down: str, sem: int, taken: list[str]) -> Task:
    """Have a task take the semaphore; ``taken`` gets the function's name when it has."""

    def body() -> None:
        result = call(k, down, sem)
        if not any(word in down for word in RETURNS) or result == 0:
            taken.append(down)

    task = start(k, down, body)
    k.run(0.01)
    return task


@READS
def test_readers_share_the_semaphore(kernel: Core, guest: Guest, sem: int, down: str, up: str) -> None:
    taken: list[str] = []
    guest.call("down_read", sem)
    take(kernel, down, sem, taken)
    assert taken == [down]
    guest.call(up, sem)
    assert guest.call_int("down_write_trylock", sem) == 0, "the first reader is still there"


@READS
def test_a_reader_waits_for_the_writer(kernel: Core, guest: Guest, sem: int, down: str, up: str) -> None:
    taken: list[str] = []
    guest.call("down_write", sem)
    take(kernel, down, sem, taken)
    assert taken == []
    guest.call("up_write", sem)
    kernel.run(0.01)
    assert taken == [down]
    assert guest.call_int("down_write_trylock", sem) == 0
    guest.call(up, sem)
    assert guest.call_int("down_write_trylock", sem) == 1


@WRITES
def test_a_writer_waits_for_the_readers(kernel: Core, guest: Guest, sem: int, down: str) -> None:
    taken: list[str] = []
    guest.call("down_read", sem)
    take(kernel, down, sem, taken)
    assert taken == []
    guest.call("up_read", sem)
    kernel.run(0.01)
    assert taken == [down]


@pytest.mark.parametrize(
    "down",
    [
        *("down_read_interruptible", "down_read_killable", "down_read_killable_nested"),
        *("down_write_killable", "down_write_killable_nested"),
    ],
)
def test_a_fatal_signal_ends_the_wait_with_eintr(kernel: Core, guest: Guest, sem: int, down: str) -> None:
    guest.call("down_write", sem)
    results: list[int] = []
    task = start(kernel, "waiter", lambda: results.append(signed(call(kernel, down, sem))))
    kernel.run(0.01)
    kill(kernel, task)
    kernel.run(0.01)
    assert results == [-EINTR]


@pytest.mark.parametrize(("held", "read", "write"), [("", 1, 1), ("down_read", 1, 0), ("down_write", 0, 0)])
def test_a_trylock_never_waits(guest: Guest, sem: int, held: str, read: int, write: int) -> None:
    if held:
        guest.call(held, sem)
    assert guest.call_int("down_write_trylock", sem) == write
    if write:
        guest.call("up_write", sem)
    assert guest.call_int("down_read_trylock", sem) == read


def test_a_downgraded_writer_lets_readers_in_and_keeps_writers_out(
    kernel: Core, guest: Guest, sem: int
) -> None:
    taken: list[str] = []
    guest.call("down_write", sem)
    take(kernel, "down_read", sem, taken)
    guest.call("downgrade_write", sem)
    kernel.run(0.01)
    assert taken == ["down_read"]
    assert guest.call_int("down_write_trylock", sem) == 0
    guest.call("up_read", sem)
    guest.call("up_read", sem)
    assert guest.call_int("down_write_trylock", sem) == 1
