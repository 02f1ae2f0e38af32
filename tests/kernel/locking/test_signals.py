"""The waits for sleeping locks that a signal ends: mutexes, semaphores, rwsems."""

from __future__ import annotations

from errno import EINTR

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import start

from ukmod.kernel.core import Core
from ukmod.kernel.signal_numbers import SIGKILL, SIGSTOP


def held(guest: Guest, struct: str, take: str) -> int:
    """A lock that another task has taken; a new semaphore's count is 0."""
    size = guest.kernel.types.sizeof(struct)
    at = guest.put(bytes(size), size)
    if init := {"mutex": "__mutex_init", "rw_semaphore": "__init_rwsem"}.get(struct):
        guest.call(init, at, 0, 0)
    if take:
        guest.call(take, at)
    return at


@pytest.mark.parametrize(
    ("signal", "kinds"), [(SIGKILL, "killable interruptible"), (SIGSTOP, "interruptible")]
)
@pytest.mark.parametrize(
    ("struct", "take", "wait"),
    [
        ("mutex", "mutex_lock", "mutex_lock"),
        ("mutex", "mutex_lock", "mutex_lock_killable"),
        ("mutex", "mutex_lock", "mutex_lock_killable_nested"),
        ("mutex", "mutex_lock", "mutex_lock_interruptible"),
        ("mutex", "mutex_lock", "mutex_lock_interruptible_nested"),
        ("semaphore", "", "down"),
        ("semaphore", "", "down_interruptible"),
        ("semaphore", "", "down_killable"),
        ("rw_semaphore", "down_write", "down_read"),
        ("rw_semaphore", "down_write", "down_read_killable"),
        ("rw_semaphore", "down_write", "down_read_killable_nested"),
        ("rw_semaphore", "down_write", "down_read_interruptible"),
        ("rw_semaphore", "down_read", "down_write"),
        ("rw_semaphore", "down_read", "down_write_killable"),
        ("rw_semaphore", "down_write", "down_write_killable_nested"),
    ],
)
def test_a_signal_ends_the_waits_that_allow_it_and_leaves_the_lock_alone(
    kernel: Core, guest: Guest, struct: str, take: str, wait: str, signal: int, kinds: str
) -> None:
    at = held(guest, struct, take)
    before, results = kernel.memory.read(at, 8), list[int]()
    task = start(kernel, "waiter", lambda: results.append(guest.call_int(wait, at)))
    kernel.run(0.01)
    assert results == []
    kernel.signals.send(task, signal)
    kernel.run(0.01)
    assert results == ([-EINTR] if any(kind in wait for kind in kinds.split()) else [])
    if results:
        assert kernel.memory.read(at, 8) == before
