"""Reader-writer semaphores: Documentation/locking/locktypes.rst, kernel/locking/rwsem.c."""

from __future__ import annotations

from signal import SIGINT

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, start

from ukmod.kernel.core import Core
from ukmod.kernel.lib.list import list_empty, list_entries
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


def wait(k: Core, guest: Guest, sem: int, held: str, down: str) -> None:
    """Have a task take the semaphore while it is held for reading or writing: it waits until that is over."""
    taken: list[str] = []
    guest.call(f"down_{held}", sem)
    take(k, down, sem, taken)
    assert taken == []
    guest.call(f"up_{held}", sem)
    k.run(0.01)
    assert taken == [down]


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
    wait(kernel, guest, sem, "write", down)
    assert guest.call_int("down_write_trylock", sem) == 0
    guest.call(up, sem)
    assert guest.call_int("down_write_trylock", sem) == 1


@WRITES
def test_a_writer_waits_for_the_readers(kernel: Core, guest: Guest, sem: int, down: str) -> None:
    wait(kernel, guest, sem, "read", down)


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


def test_a_waiting_writer_keeps_new_readers_out(kernel: Core, guest: Guest, sem: int) -> None:
    taken: list[str] = []
    guest.call("down_read", sem)
    take(kernel, "down_write", sem, taken)
    take(kernel, "down_read", sem, taken)
    assert taken == []
    guest.call("up_read", sem)
    kernel.run(0.01)
    assert taken == ["down_write"]
    guest.call("up_write", sem)
    kernel.run(0.01)
    assert taken == ["down_write", "down_read"]


@pytest.mark.parametrize(("held", "down"), [("write", "down_read"), ("read", "down_write")])
def test_the_semaphore_is_contended_as_long_as_a_task_waits(
    kernel: Core, guest: Guest, sem: int, held: str, down: str
) -> None:
    """rwsem_is_contended(), inlined into modules, looks at ``sem->wait_list``."""
    waiting = sem + kernel.types.offset("rw_semaphore", "wait_list")
    taken: list[str] = []
    guest.call(f"down_{held}", sem)
    assert list_empty(kernel.memory, waiting)
    take(kernel, down, sem, taken)
    take(kernel, down, sem, taken)
    assert len(list(list_entries(kernel.memory, waiting))) == 2
    guest.call(f"up_{held}", sem)
    kernel.run(0.01)
    assert len(list(list_entries(kernel.memory, waiting))) == 2 - len(taken)
    if down == "down_write":
        guest.call("up_write", sem)
        kernel.run(0.01)
    assert (taken, list_empty(kernel.memory, waiting)) == ([down, down], True)


def test_a_waiter_that_a_signal_ends_contends_no_longer(kernel: Core, guest: Guest, sem: int) -> None:
    waiting = sem + kernel.types.offset("rw_semaphore", "wait_list")
    guest.call("down_write", sem)
    task = take(kernel, "down_read_interruptible", sem, [])
    assert not list_empty(kernel.memory, waiting)
    kernel.signals.send(task, SIGINT)
    kernel.run(0.01)
    assert list_empty(kernel.memory, waiting)
