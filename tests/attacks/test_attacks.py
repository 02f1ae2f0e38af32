"""Whatever a module does, it reaches nothing of the host, and it ends: with an errno, an oops or a report.

The attacks are in examples/attacks, each a parameter of its module: see its README.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.answering import Answering
from tests.attacks import attempt
from tests.attacks.attempt import NEEDS_IMAGE, attacks
from tests.real import debian
from tests.userland.attacks import make_host

NUMBERS = {
    "jump": range(0, 0x180, 7),
    "jump_without_a_stack": range(0, 0x180, 31),
    "every_id": range(0, 1700, 41),
    "every_id_on_this_stack": range(0, 1700, 43),
}
"""Attacks of which there is one for each number: a place in the stubs' code, or a stub."""
INTERNAL = (
    "path_mount", "do_mount", "init_mount", "kernel_execve", "do_execveat_common", "do_filp_open", "vfs_open",
    "do_sys_open", "do_unlinkat", "do_mkdirat", "do_renameat", "ksys_read", "ksys_write", "getname_kernel",
    "machine_restart", "kernel_kexec", "kernel_clone", "stop_machine", "irq_work_queue", "raise_softirq",
    "text_poke", "text_poke_set", "text_poke_bp", "set_memory_ro", "set_memory_rw", "set_memory_x",
    "module_alloc", "memblock_alloc_try_nid", "free_unref_page_list", "call_rcu_tasks", "try_to_wake_up",
    "__queue_work", "__queue_delayed_work", "__ksize", "early_memremap",
)  # fmt: skip
"""Functions that an image does not export, but has: a module can find them."""

ATTACKS = [
    *((module, name, "{host}") for module, name in attacks() if name not in NUMBERS and "called" not in name),
    *(("stubs", name, str(number)) for name, numbers in NUMBERS.items() for number in numbers),
    *(("image", "called", f"@{name} {{host}}/made") for name in INTERNAL),
    *(("image", "called_with_ones", f"@{name}") for name in INTERNAL),
]
Attack = tuple[str, str, str]
SAMPLED = 1 if os.environ.get("UKMOD_SURVEY") is None else 4
"""One of so many attacks that need no image is tried with one, too: fewer where a sample is asked for."""
ON_AN_IMAGE = [one for number, one in enumerate(ATTACKS) if one[0] in NEEDS_IMAGE or number % SAMPLED == 0]


def check(attacker: Answering, host: Path, attack: Attack) -> None:
    module, name, value = attack
    ended, wrong = attacker.ask(module, name, value.replace("{host}", str(host)))
    assert wrong == "", ended
    assert attacks()[module, name] in ("any", ended)


def identity(attack: Attack) -> str:
    module, name, value = attack
    return ":".join((module, name, *([] if value == "{host}" else [value.partition(" ")[0]])))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host with files that no guest may reach."""
    path = tmp_path_factory.mktemp("host")
    make_host(path)
    return path


@pytest.fixture(scope="module")
def attacker(host: Path) -> Iterator[Answering]:
    """A kernel all of whose functions Python implements."""
    with attempt.attacker(host) as program:
        yield program


@pytest.fixture(scope="module")
def attacker_of_an_image(host: Path) -> Iterator[Answering]:
    """A kernel whose image does what Python does not: it has file systems, sockets and drivers."""
    with attempt.attacker(host, debian.require().vmlinuz) as program:
        yield program


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one[0] not in NEEDS_IMAGE], ids=identity)
def test_an_attack_ends(attacker: Answering, host: Path, attack: Attack) -> None:
    check(attacker, host, attack)


@pytest.mark.real
@pytest.mark.parametrize("attack", ON_AN_IMAGE, ids=identity)
def test_an_attack_on_an_image_ends(attacker_of_an_image: Answering, host: Path, attack: Attack) -> None:
    check(attacker_of_an_image, host, attack)
