"""Credentials of tasks, and what they permit."""

from __future__ import annotations

from errno import EPERM

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.tasks import call, in_task, start

from ukmod.errors import LoadError
from ukmod.kernel.core import Core
from ukmod.kernel.cred import CAP_FULL_SET, CAP_SYS_MODULE
from ukmod.kernel.sched.core import Task


def own(kernel: Core, task: Task, **sets: int) -> None:
    """Give a task credentials of its own, with these sets of capabilities and root's other members."""
    cred = kernel.creds.prepare(task)
    kernel.creds.set_caps(cred, **sets)
    kernel.creds.commit(task, cred)


@pytest.mark.parametrize(("effective", "able"), [(CAP_FULL_SET, 1), (CAP_FULL_SET ^ 1 << CAP_SYS_MODULE, 0)])
def test_a_task_may_do_what_its_effective_set_has(kernel: Core, effective: int, able: int) -> None:
    seen: list[int] = []

    def body() -> None:
        own(kernel, kernel.sched.task(), cap_effective=effective)
        seen.extend((call(kernel, "capable", CAP_SYS_MODULE), call(kernel, "ns_capable", 0, CAP_SYS_MODULE)))

    in_task(kernel, body)
    assert seen == [able, able]


@pytest.mark.parametrize("capability", [41, 64, 1 << 31, -1])
@pytest.mark.parametrize(("name", "before"), [("capable", ()), ("ns_capable", (0,))])
def test_what_is_no_capability_is_a_bug(
    guest: Guest, name: str, before: tuple[int, ...], capability: int
) -> None:
    lines = guest.oops(name, *before, capability)
    assert lines[0] == f"capable() called with invalid cap={capability & 0xFFFF_FFFF}"
    assert "kernel BUG at kernel/capability.c:373!" in lines
    assert any(line.startswith(f"RIP: 0010:{name}") for line in lines)


def test_without_cap_sys_module_no_module_is_loaded_or_unloaded(kernel: Core) -> None:
    refused: list[int] = []

    def body() -> None:
        own(kernel, kernel.sched.task(), cap_effective=0)
        try:
            kernel.modules.check_permission("a_module")
        except LoadError as error:
            refused.append(error.errno)

    in_task(kernel, body)
    assert refused == [EPERM]


@pytest.mark.parametrize(
    ("uid", "euid", "securebits", "permitted", "effective"),
    [
        (0, 0, 0, 0b0111, 0b0111),  # root: the bounding, the inheritable and the ambient set
        (7, 0, 0, 0b0111, 0b0111),
        (0, 7, 0, 0b0111, 0b0100),  # only the real uid is root's: nothing is effective but the ambient set
        (7, 7, 0, 0b0100, 0b0100),
        (0, 0, 1, 0b0100, 0b0100),  # SECBIT_NOROOT
    ],
)
def test_execve_computes_capabilities_anew(
    kernel: Core, uid: int, euid: int, securebits: int, permitted: int, effective: int
) -> None:
    task = start(kernel, "program", lambda: None)
    sets = {"cap_permitted": 0b1000, "cap_bset": 0b0001, "cap_inheritable": 0b0010, "cap_ambient": 0b0100}
    own(kernel, task, **sets)
    cred = kernel.creds.of(task)
    for member, value in (("uid", uid), ("euid", euid), ("securebits", securebits)):
        kernel.memory.set_u32(cred + kernel.types.offset("cred", member), value)
    kernel.creds.exec(task)
    found = [kernel.creds.caps(cred, name) for name in ("cap_permitted", "cap_effective")]
    assert found == [permitted, effective]


def test_a_child_has_a_copy_of_its_parents_own_credentials(kernel: Core) -> None:
    seen: list[tuple[bool, int]] = []

    def body() -> None:
        parent = kernel.sched.task()
        own(kernel, parent, cap_effective=1)
        for kthread in (False, True):
            child = kernel.tasks.create("child", int, kthread=kthread)
            cred = kernel.creds.of(child)
            seen.append((cred == kernel.creds.of(parent), kernel.creds.caps(cred, "cap_effective")))
            kernel.tasks.release(child)

    in_task(kernel, body)
    assert seen == [(False, 1), (False, CAP_FULL_SET)], "a kernel thread's are kthreadd's"
