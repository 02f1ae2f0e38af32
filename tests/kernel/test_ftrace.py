"""Hooks of functions: Documentation/trace/ftrace-uses.rst; image/test_kprobes.py has those of an image."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EBUSY, EINVAL, ENODEV, EOPNOTSUPP

import pytest
from tests import golden
from tests.kernel.conftest import Guest, assert_own_code_is_sound
from tests.kernel.structs import layouts_with
from tests.kernel.tasks import in_task

from ukmod.kernel.api import Kernel

FTRACE_OPS = {"func": 8, "next": 8, "flags": 8, "private": 8}


class Hook:
    """A struct ftrace_ops that notes where it is called, and a module's function that it may hook."""

    def __init__(self, machine: Kernel) -> None:
        self.k, self.guest, self.seen = machine.core, Guest(machine.core), list[int]()
        machine.insmod(golden.modules()["exporter"].read_bytes())
        self.function = machine.modules["exporter"].exports["exporter_plain"].address
        self.address = self.new()

    def new(self) -> int:
        """Another struct ftrace_ops with the same function."""

        def function(ip: int, *_: int) -> int:
            self.seen.append(ip)
            return 0

        return self.guest.put(self.guest.python(function, 4).to_bytes(8, "little") + bytes(24))

    def __call__(self, name: str, *arguments: int) -> int:
        return self.guest.call_int(name, self.address, *arguments)

    def filter(self, *, remove: int = 0, reset: int = 0) -> int:
        return self("ftrace_set_filter_ip", self.function, remove, reset)

    def hits(self) -> int:
        """How often the hook was called by one call of the function."""
        self.seen.clear()
        in_task(self.k, lambda: self.k.cpu.call(self.function))
        assert set(self.seen) <= {self.guest.pointer("ftrace_location", self.function)}
        return len(self.seen)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Kernel(types=layouts_with(ftrace_ops=FTRACE_OPS)) as machine:
        yield Hook(machine)
        assert_own_code_is_sound(machine)
        assert not machine.oopses


class TestLocation:
    def test_the_location_of_a_function_is_that_of_its_call_of_fentry(self, hook: Hook) -> None:
        place = hook.guest.pointer("ftrace_location", hook.function)
        assert place in (hook.function, hook.function + 4), "behind endbr64, if there is one"
        assert hook.guest.pointer("ftrace_location", place) == place

    def test_an_address_within_a_function_has_no_location(self, hook: Hook) -> None:
        assert hook.guest.pointer("ftrace_location", hook.function + 9) == 0
        assert hook.guest.pointer("ftrace_location", hook.k.symbols.address("_printk")) == 0


class TestHooks:
    def test_a_hook_is_called_from_its_registration_to_its_end(self, hook: Hook) -> None:
        assert hook.filter() == 0
        assert hook.hits() == 0
        assert hook("register_ftrace_function") == 0
        assert hook.hits() == 1
        assert hook("unregister_ftrace_function") == 0
        assert hook.hits() == 0

    def test_two_hooks_of_a_function_are_both_called(self, hook: Hook) -> None:
        for address in (hook.address, hook.new()):
            hook.address = address
            assert hook.filter() == 0
            assert hook("register_ftrace_function") == 0
        assert hook.hits() == 2
        assert hook("unregister_ftrace_function") == 0
        assert hook.hits() == 1

    def test_a_hook_is_registered_and_unregistered_once(self, hook: Hook) -> None:
        hook.filter()
        assert hook("unregister_ftrace_function") == -EINVAL
        assert [hook("register_ftrace_function") for _ in range(2)] == [0, -EINVAL]
        assert [hook("unregister_ftrace_function") for _ in range(2)] == [0, -EINVAL]

    def test_a_function_leaves_the_filter_of_a_registered_hook(self, hook: Hook) -> None:
        hook.filter()
        hook("register_ftrace_function")
        assert hook.filter(remove=1) == 0
        assert hook.hits() == 0

    def test_what_cannot_be_hooked_is_no_part_of_a_filter(self, hook: Hook) -> None:
        assert hook("ftrace_set_filter_ip", hook.function + 9, 0, 0) == -EINVAL
        places = hook.guest.words(hook.function, hook.function + 9)
        assert hook("ftrace_set_filter_ips", places, 2, 0, 0) == -EINVAL
        assert hook("register_ftrace_function") == -EOPNOTSUPP, "the filter is empty"

    def test_several_places_are_added_at_once(self, hook: Hook) -> None:
        assert hook("ftrace_set_filter_ips", hook.guest.words(hook.function), 1, 0, 0) == 0
        hook("register_ftrace_function")
        assert hook.hits() == 1

    def test_a_freed_filter_hooks_nothing(self, hook: Hook) -> None:
        hook.filter()
        hook("ftrace_free_filter")
        assert hook("register_ftrace_function") == -EOPNOTSUPP

    def test_the_filter_of_a_registered_hook_stays(self, hook: Hook) -> None:
        """ftrace_free_filter() warns, and keeps it, as the hook is enabled."""
        hook.filter()
        hook("register_ftrace_function")
        hook("ftrace_free_filter")
        assert hook.hits() == 1

    def test_an_empty_name_resets_the_filter(self, hook: Hook) -> None:
        hook.filter()
        assert hook("ftrace_set_filter", hook.guest.put(b"*"), 1, 0) == -EOPNOTSUPP
        assert hook("register_ftrace_function") == 0, "the filter is as before"


class TestDirectCalls:
    """A direct call needs no struct ftrace_ops's function: the hooked function calls a trampoline itself."""

    def trampoline(self, hook: Hook) -> int:
        def body() -> int:
            hook.seen.append(hook.guest.pointer("ftrace_location", hook.function))
            return 0

        return hook.guest.python(body, 0)

    def bare(self, hook: Hook) -> Hook:
        """The hook, without a function of its own."""
        hook.k.memory.set_u64(hook.address, 0)
        return hook

    def test_one_function_calls_a_trampoline(self, hook: Hook) -> None:
        """register_ftrace_direct(ip, addr), until v6.4."""
        call, first, second = hook.guest.call_int, self.trampoline(hook), self.trampoline(hook)
        assert call("modify_ftrace_direct", hook.function, first, second) == -ENODEV
        assert call("register_ftrace_direct", hook.function + 9, first) == -ENODEV
        assert [call("register_ftrace_direct", hook.function, first) for _ in range(2)] == [0, -EBUSY]
        assert hook.hits() == 1
        assert call("modify_ftrace_direct", hook.function, second, first) == -EINVAL
        assert call("modify_ftrace_direct", hook.function, first, second) == 0
        assert hook.hits() == 1
        assert [call("unregister_ftrace_direct", hook.function, second) for _ in range(2)] == [0, -ENODEV]
        assert hook.hits() == 0

    @pytest.mark.parametrize("suffix", ["", "_multi"])
    def test_the_functions_of_a_filter_call_a_trampoline(self, hook: Hook, suffix: str) -> None:
        """register_ftrace_direct(ops, addr), which had another name until v6.4."""
        ops, trampoline = self.bare(hook), self.trampoline(hook)
        assert ops("register_ftrace_direct_multi", trampoline) == -EINVAL, "it has no filter"
        ops.filter()
        assert ops(f"register_ftrace_direct{suffix}", trampoline) == 0
        assert ops("register_ftrace_direct_multi", trampoline) == -EINVAL
        assert ops.hits() == 1
        assert ops(f"modify_ftrace_direct{suffix}", self.trampoline(hook)) == 0
        assert ops.hits() == 1
        assert ops(f"unregister_ftrace_direct{suffix}", trampoline, 1) == 0
        assert ops("unregister_ftrace_direct_multi", trampoline) == -EINVAL
        assert ops.hits() == 0

    def test_a_function_calls_one_trampoline(self, hook: Hook) -> None:
        self.bare(hook).filter()
        assert hook.guest.call_int("register_ftrace_direct", hook.function, self.trampoline(hook)) == 0
        assert hook("register_ftrace_direct_multi", self.trampoline(hook)) == -EBUSY

    def test_hooks_are_called_before_the_trampoline(self, hook: Hook) -> None:
        hook.filter()
        hook("register_ftrace_function")
        assert hook.guest.call_int("register_ftrace_direct", hook.function, self.trampoline(hook)) == 0
        assert hook.hits() == 2
