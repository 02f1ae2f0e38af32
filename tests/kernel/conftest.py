"""A booted kernel, and a way to call what it exports as a module would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from tests.golden import modules

from ukmod.kernel.api import Kernel
from ukmod.kernel.core import Core
from ukmod.kernel.module.main import Module
from ukmod.kmod.elf import Elf
from ukmod.machine.types import Types, types_for


@cache
def layouts() -> Types:
    """The struct layouts of the kernel that the tests' modules were built for."""
    path = modules()["ok_dep"]
    return types_for(Elf(path.read_bytes(), str(path)))


def assert_own_code_is_sound(k: Core | Kernel) -> None:
    """Fail if a kernel function raised an exception: ukmod makes an oops of it, which a test may overlook."""
    reports = [oops.text() for oops in k.oopses]
    assert [text for text in reports if "kernel BUG at ukmod/" in text] == []


@pytest.fixture
def kernel() -> Iterator[Core]:
    """A kernel that has just booted."""
    with Core(layouts()) as k:
        yield k
        assert_own_code_is_sound(k)


@pytest.fixture
def machine() -> Iterator[Kernel]:
    """A kernel as ukmod's users have it, without a module tree."""
    with Kernel(types=layouts()) as k:
        yield k
        assert_own_code_is_sound(k)


@pytest.fixture
def ok_dep(machine: Kernel) -> Module:
    """A module that only logs, loaded into ``machine``."""
    machine.insmod(modules()["ok_dep"].read_bytes())
    return machine.modules["ok_dep"]


class Guest:
    """Calls exported functions in a task, and keeps what they point to in guest memory."""

    def __init__(self, kernel: Core) -> None:
        self.kernel = kernel

    def put(self, data: bytes, room: int = 0) -> int:
        """The address of a copy of ``data`` with a NUL behind it, and ``room`` bytes at least."""
        address = self.kernel.slab.kmalloc(max(len(data) + 1, room))
        self.kernel.memory.write(address, data + b"\0")
        return address

    def words(self, *values: int, size: int = 8) -> int:
        """The address of an array of unsigned integers."""
        return self.put(b"".join((value & (1 << 8 * size) - 1).to_bytes(size, "little") for value in values))

    def va_list(self, *values: int | bytes) -> int:
        """The address of a va_list whose arguments all are on the stack; bytes are passed as a string."""
        numbers = [self.put(value) if isinstance(value, bytes) else value for value in values]
        used_up = 48 | 304 << 32  # gp_offset and fp_offset: behind the last of the registers
        return self.words(used_up, self.words(*numbers), 0)

    def string(self, address: int) -> bytes:
        """The string at an address."""
        return self.kernel.memory.cstring(address)

    def call(self, name: str, *arguments: int | bytes) -> int:
        """What an exported function returns, as a signed 64-bit number; bytes are passed as a string.

        It is called in the current task or interrupt, or in a new task if there is neither.
        """
        (result,) = self._results(name, *arguments)
        return result - (1 << 64) if result >> 63 else result

    def oops(self, name: str, *arguments: int | bytes) -> list[str]:
        """The lines that are logged while the call of an exported function ends in an oops."""
        before = len(self.kernel.log.lines)
        assert self._results(name, *arguments) == []
        assert self.kernel.oopses
        return self.kernel.log.lines[before:]

    def _results(self, name: str, *arguments: int | bytes) -> list[int]:
        k, results = self.kernel, list[int]()
        numbers = [self.put(value) if isinstance(value, bytes) else value for value in arguments]
        address = k.symbols.address(name)

        def entry() -> int:
            results.append(k.cpu.call(address, *numbers))
            return 0

        if k.sched.current is not None or k.sched.in_interrupt:
            entry()
        else:
            k.run_task("test", entry)
        return results

    def call_int(self, name: str, *arguments: int | bytes) -> int:
        """The same for a function that returns an int."""
        result = self.call(name, *arguments) & 0xFFFF_FFFF
        return result - (1 << 32) if result >> 31 else result

    def pointer(self, name: str, *arguments: int | bytes) -> int:
        """The same for a function that returns a pointer."""
        return self.call(name, *arguments) & (1 << 64) - 1

    def python(self, function: Callable[..., int], count: int) -> int:
        """The address of a callback of ``count`` arguments that the test supplies."""
        return self.kernel.cpu.stubs.add_function(lambda frame: function(*frame[1 : 1 + count].tolist()))


@pytest.fixture
def guest(kernel: Core) -> Guest:
    """The kernel's exported functions."""
    return Guest(kernel)
