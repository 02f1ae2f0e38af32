"""System calls of the current process: the image's own functions, found by the name or number of a call.

A call gets its arguments in a struct pt_regs, as from the entry code. Memory that it reads or writes lies in
the process's address space, where the kernel's copy_from_user() looks for it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from ukmod.errors import UsageError
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.lib.err import MAX_ERRNO
from ukmod.kernel.task_work import task_work_run
from ukmod.kernel.uapi import MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE
from ukmod.machine.memory import page_align
from ukmod.machine.registers import MASK64

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

SyscallArgument = (
    int | str | bytes | bytearray | memoryview | ctypes.Structure | ctypes.Array[Any] | ctypes.Union | None
)
"""An integer; text or bytes to be read; a buffer to be read and written; or None, a NULL pointer."""

PREFIX: Final = "__x64_sys_"
_REGISTERS: Final = ("di", "si", "dx", "r10", "r8", "r9")
_RESTARTS: Final = range(512, 517)
"""ERESTARTSYS to ERESTART_RESTARTBLOCK, include/linux/errno.h: the call is made again after a signal."""
EINTR: Final = 4
ARENA: Final = 1 << 16
"""The bytes of a process's memory for arguments; a call with more gets memory of its own."""


class SyscallTable:
    """An image's system calls."""

    def __init__(self, k: Core, image: MappedImage) -> None:
        table = image.address("sys_call_table")
        size = image.symbols.size_at(table) // 8 * 8
        self._image = image
        self._entries = memoryview(k.memory.read(table, size)).cast("Q").tolist()

    def entry(self, call: str | int) -> int:
        """The address of a system call's function. Raises UsageError for a name or number without one."""
        found = self._named(call) if isinstance(call, str) else self._numbered(call)
        if found is None:
            raise UsageError("the kernel has no such system call", subject=str(call))
        return found

    def _numbered(self, number: int) -> int | None:
        return self._entries[number] if 0 <= number < len(self._entries) else None

    def _named(self, name: str) -> int | None:
        """The function of a call, whose name in C may differ from that in user space."""
        names = (name, f"new{name}", f"{name}64", name.removesuffix("2"))
        found = (self._image.get(PREFIX + one) for one in names)
        return next((address for address in found if address is not None), None)


class SystemCalls:
    """Makes the system calls of one process, which must be the current task."""

    def __init__(self, k: Core, table: SyscallTable, handle_signals: Callable[[], bool]) -> None:
        self._k = k
        self._table = table
        self._handle_signals = handle_signals
        self._registers = [k.types.offset("pt_regs", name) for name in _REGISTERS]
        self._size = k.types.sizeof("pt_regs")
        self._arena = self._end = 0
        self.running = ""
        """The system call in progress."""
        self.is_interrupted = False
        """Its caller no longer waits for it: it returns as if a signal had been caught."""

    def __call__(self, call: str | int, *arguments: SyscallArgument) -> int:
        """Make a system call; returns its result. Raises OSError with the errno that it returned.

        What is written to a bytearray, a memoryview or a ctypes object arrives in it.
        """
        entry = self._table.entry(call)
        with self._placed(arguments) as words:
            before, self.running = self.running, str(call)
            try:
                result = self._restarted(entry, words)
            finally:
                self.running = before
        if -MAX_ERRNO <= result < 0:
            path = next((one for one in arguments if isinstance(one, str)), None)
            raise OSError(-result, os.strerror(-result), path)
        return result

    def _restarted(self, entry: int, words: Sequence[int]) -> int:
        k = self._k
        while True:
            result = self._once(entry, words)
            is_signalled = k.tasks.signal_pending(k.sched.task())
            task_work_run(k)
            k.signals.deliver()
            caught = self._handle_signals()
            k.signals.recalc(k.sched.task())
            if -result not in _RESTARTS or not is_signalled:
                return result  # without a signal, it is for the caller to see, as arch_do_signal_or_restart()
            if caught or self.is_interrupted:
                self.is_interrupted = False
                return -EINTR

    def _once(self, entry: int, words: Sequence[int]) -> int:
        """Call the function with a struct pt_regs below the stack pointer."""
        k = self._k
        sp = k.cpu.sp
        regs = k.cpu.sp = (sp - self._size) & ~15
        k.memory.write(regs, bytes(self._size))
        for offset, word in zip(self._registers, words, strict=False):
            k.memory.set_u64(regs + offset, word & MASK64)
        try:
            result = k.cpu.call(entry, regs)
        finally:
            k.cpu.sp = sp
        return result - (1 << 64) if result >> 63 else result

    # -- the memory of arguments ------------------------------------------------------------------------

    @contextmanager
    def _placed(self, arguments: Sequence[SyscallArgument]) -> Iterator[list[int]]:
        """The arguments as words; their contents lie in the process's memory meanwhile."""
        contents = [_content(argument) for argument in arguments]
        sizes = [16 + len(content) & ~15 if content is not None else 0 for content in contents]
        with self._room(sum(sizes)) as start:
            places = [start + offset for offset in accumulate(sizes, initial=0)]
            words = []
            for argument, content, place in zip(arguments, contents, places, strict=False):
                if content is not None:
                    self._k.memory.write(place, content)
                words.append(place if content is not None else int(argument or 0))
            yield words
            for argument, content, place in zip(arguments, contents, places, strict=False):
                if content and not isinstance(argument, str | bytes):
                    _write_back(argument, self._k.memory.read(place, len(content)))

    @contextmanager
    def _room(self, size: int) -> Iterator[int]:
        """The address of ``size`` bytes of the process's memory."""
        if not self._arena and size:
            self._arena = self.map(ARENA)
            self._end = self._arena + ARENA
        if size > self._end - self._arena:
            address = self.map(size)
            yield address
            self._once(self._table.entry("munmap"), (address, page_align(size)))
            return
        address, self._arena = self._arena, self._arena + size
        try:
            yield address
        finally:
            self._arena = address

    def map(self, size: int) -> int:
        """mmap(2) of anonymous memory. Raises OSError."""
        access, kind = PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS
        result = self._once(self._table.entry("mmap"), (0, page_align(size), access, kind, -1, 0))
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result


def _content(argument: SyscallArgument) -> bytes | None:
    """The bytes that an argument points to; None for a plain number or NULL."""
    if argument is None or isinstance(argument, int):
        return None
    if isinstance(argument, str):
        return os.fsencode(argument) + b"\0"
    if isinstance(argument, bytes):
        return argument + b"\0"  # for a call that expects a string
    return bytes(_view(argument))


def _write_back(argument: SyscallArgument, content: bytes) -> None:
    if not (view := _view(argument)).readonly:
        view[:] = content


def _view(argument: SyscallArgument) -> memoryview:
    try:
        view = memoryview(argument).cast("B")  # type: ignore[arg-type]
    except TypeError as error:
        raise UsageError(f"{argument!r} is not an integer, text or a buffer") from error
    return view
