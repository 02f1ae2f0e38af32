"""Probes and hooks of an image's functions, on every kernel: #BP reaches the image's own handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from errno import EINVAL, EOPNOTSUPP

import pytest
from tests.kernel.conftest import Guest
from tests.kernel.image.conftest import in_a_copy
from tests.kernel.tasks import signed
from tests.real import debian

from ukmod.kernel.api import Kernel
from ukmod.kernel.core import Core
from ukmod.kernel.trees import open_tree
from ukmod.machine.registers import PT_REGS
from ukmod.machine.types.layout import Kind

pytestmark = pytest.mark.real

HOOKED, UNHOOKED, REPLACED = "in_egroup_p", "match_int", "round_jiffies"
"""Functions that begin with a call of __fentry__, without one, and one that is Python's."""
IP, DI, AX = 16, 14, 10
"""The numbers of registers in a struct pt_regs."""
KERNELS = [
    None,
    *debian.others("real"),
    *(pytest.param(name, marks=pytest.mark.kernels) for name in debian.others("more")),
]


@pytest.fixture(scope="module", params=KERNELS, ids=lambda name: name or "release")
def probed(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """A kernel that is up."""
    package = debian.require_other(request.param) if request.param else debian.require()
    with Kernel(tree=open_tree(package.modules), image=package.vmlinuz) as k:
        k.boot()
        yield k


def of_image(k: Core, name: str, *arguments: int) -> int:
    """Call the image's function through its entry."""
    assert k.image is not None
    return k.cpu.call(k.image.address(name), *arguments)


def kprobe(k: Core, name: str, handler: Callable[[int], object]) -> int:
    """A struct kprobe of a function; ``handler`` is passed the address of the registers."""
    guest = Guest(k)
    at = k.slab.kernel_object(k.types.sizeof("kprobe"))
    function = guest.python(lambda _, registers: (handler(registers) and 0) or 0, 2)
    k.memory.set_u64(at + k.types.offset("kprobe", "symbol_name"), guest.put(name.encode()))
    k.memory.set_u64(at + k.types.offset("kprobe", "pre_handler"), function)
    return at


def in_task(k: Core, body: Callable[[], object]) -> None:
    assert k.run_task("test", lambda: (body() and 0) or 0, limit=60).exited


@pytest.mark.parametrize("name", [HOOKED, UNHOOKED, REPLACED])
def test_a_probed_function_is_seen_until_the_probe_is_removed(probed: Kernel, name: str) -> None:
    def probe() -> list[object]:
        k, seen = probed.core, list[object]()
        at = kprobe(k, name, lambda registers: seen.append(k.memory.u64(registers + 8 * DI)))
        substring = Guest(k).words(0, 0)

        def body() -> None:
            seen.append(signed(of_image(k, "register_kprobe", at)))
            of_image(k, name, substring, substring)
            of_image(k, "unregister_kprobe", at)
            of_image(k, name, substring, substring)

        in_task(k, body)
        return [*[value if value != substring else "called" for value in seen], *map(str, probed.oopses)]

    assert in_a_copy(probed, probe) == [0, "called"]


class Hook:
    """A struct ftrace_ops whose function changes the registers, and notes where it was called."""

    def __init__(self, k: Core, change: Callable[[int], object]) -> None:
        self.k, self.seen = k, list[int]()
        self.address = k.slab.kernel_object(k.types.sizeof("ftrace_ops"))

        def function(ip: int, parent: int, ops: int, registers: int) -> int:
            assert ops == self.address
            assert PT_REGS.unpack(k.memory.read(registers, PT_REGS.size))[IP] == ip + 5
            self.seen.append(ip)
            change(registers)
            return 0

        func = self.address + k.types.offset("ftrace_ops", "func")
        k.memory.set_u64(func, Guest(k).python(function, 4))

    def __call__(self, name: str, *arguments: int) -> int:
        return signed(of_image(self.k, name, self.address, *arguments))


def test_a_hook_leads_to_another_function(probed: Kernel) -> None:
    """What a live patch does: the instruction pointer is changed."""

    def hook() -> list[int]:
        k, results = probed.core, list[int]()
        assert k.image is not None
        other = Guest(k).python(lambda _: 4711, 1)
        ops = Hook(k, lambda registers: k.memory.set_u64(registers + 8 * IP, other))
        place = k.image.address(HOOKED)

        def body() -> None:
            results.append(ops("ftrace_set_filter_ip", place, 0, 0))
            results.append(ops("register_ftrace_function"))
            results.append(signed(of_image(k, HOOKED, 0)))
            results.append(ops("unregister_ftrace_function"))
            results.append(signed(of_image(k, HOOKED, 0)))

        in_task(k, body)
        return [*results, len(ops.seen)]

    assert in_a_copy(probed, hook) == [0, 0, 4711, 0, 1, 1]


@pytest.mark.parametrize("name", [HOOKED, REPLACED])
def test_a_function_calls_a_trampoline_directly(probed: Kernel, name: str) -> None:
    """It may be named by the address that modules have of a function in Python."""

    def hook() -> list[object]:
        k, seen = probed.core, list[object]()
        assert k.image is not None
        guest, known = Guest(k), k.symbols.find(name)
        trampoline = guest.python(lambda: seen.append(1) or 0, 0)
        ops, place = guest.put(bytes(k.types.sizeof("ftrace_ops"))), k.image.address(name)
        suffix = "_multi" if k.image.get("register_ftrace_direct_multi") else ""
        prototype = k.types.prototype(f"register_ftrace_direct{suffix}")
        # v5.10 takes the address, and its BTF does not say so.
        takes_ops = prototype is not None and prototype.parameters[0].type.kind is Kind.POINTER
        subject = ops if takes_ops else place

        def body() -> None:
            of_image(k, "ftrace_set_filter_ip", ops, known.address if known is not None else place, 0, 0)
            seen.append(signed(of_image(k, f"register_ftrace_direct{suffix}", subject, trampoline)))
            of_image(k, name, 0)
            seen.append(signed(of_image(k, f"unregister_ftrace_direct{suffix}", subject, trampoline)))
            of_image(k, name, 0)

        in_task(k, body)
        return [*seen, *map(str, probed.oopses)]

    assert in_a_copy(probed, hook) == [0, 1, 0]


def test_all_functions_at_once_cannot_be_hooked(booted: Kernel) -> None:
    def hook() -> list[int]:
        ops, results = Hook(booted.core, bool), list[int]()

        def body() -> None:
            results.append(ops("register_ftrace_function"))
            results.append(ops("ftrace_set_filter_ip", booted.core.image.address(UNHOOKED), 0, 0))  # type: ignore[union-attr]
            results.append(ops("unregister_ftrace_function"))

        in_task(booted.core, body)
        return results

    assert in_a_copy(booted, hook) == [-EOPNOTSUPP, -EINVAL, -EINVAL]
