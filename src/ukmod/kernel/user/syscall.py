"""System calls of the current process: the image's own functions, found by the name or number of a call.

A call gets its arguments in a struct pt_regs, as from the entry code. Memory that it reads or writes lies in
the process's address space, where the kernel's copy_from_user() looks for it.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ukmod.errors import UsageError
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.lib.err import MAX_ERRNO
from ukmod.kernel.task_work import has_task_work, task_work_run
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
_WORD: Final = struct.Struct("<Q")
ARENA: Final = 1 << 16
"""The bytes of a process's memory for arguments; a call with more gets memory of its own."""


class SyscallTable:
    """An image's system calls."""

    def __init__(self, k: Core, image: MappedImage) -> None:
        table = image.address("sys_call_table")
        size = image.symbols.size_at(table) // 8 * 8
        self._image = image
        self._entries = memoryview(k.memory.read(table, size)).cast("Q").tolist()
        self._known: dict[str, int | None] = {}

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
        if name in self._known:
            return self._known[name]
        names = (name, f"new{name}", f"{name}64", name.removesuffix("2"))
        found = (self._image.get(PREFIX + one) for one in names)
        address = self._known[name] = next((one for one in found if one is not None), None)
        return address


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
        contents = [_content(argument) for argument in arguments]
        size = sum(_size(content) for content in contents)
        if size and not self._arena:
            self._arena = self.map(ARENA)
            self._end = self._arena + ARENA
        is_large = size > self._end - self._arena
        before, arena, self.running = self.running, self._arena, str(call)
        try:
            room = self.map(size) if is_large else arena
            self._arena += 0 if is_large else size
            result = self._restarted(entry, self._place(room, arguments, contents))
            self._write_back(room, arguments, contents)
            if is_large:
                self._once(self._table.entry("munmap"), (room, page_align(size)))
        finally:
            self.running, self._arena = before, arena
        if -MAX_ERRNO <= result < 0:
            path = next((one for one in arguments if isinstance(one, str)), None)
            raise OSError(-result, os.strerror(-result), path)
        return result

    def _restarted(self, entry: int, words: Sequence[int]) -> int:
        k = self._k
        while True:
            result = self._once(entry, words)
            if not self._has_work():
                return result
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

    def _has_work(self) -> bool:
        """True if exit_to_user_mode_loop() would have something to do."""
        k, task = self._k, self._k.sched.task()
        signals = k.tasks.signal_pending(task) or k.tasks.pending(task) or k.signals.of(task).fatal
        return bool(signals) or has_task_work(k)

    def _once(self, entry: int, words: Sequence[int]) -> int:
        """Call the function with a struct pt_regs below the stack pointer."""
        k = self._k
        sp = k.cpu.sp
        regs = k.cpu.sp = (sp - self._size) & ~15
        frame = bytearray(self._size)
        for offset, word in zip(self._registers, words, strict=False):
            _WORD.pack_into(frame, offset, word & MASK64)
        k.memory.write(regs, frame)
        try:
            result = k.cpu.call(entry, regs)
        finally:
            k.cpu.sp = sp
        return result - (1 << 64) if result >> 63 else result

    # -- the memory of arguments ------------------------------------------------------------------------

    def _place(
        self, room: int, arguments: Sequence[SyscallArgument], contents: Sequence[bytes | None]
    ) -> list[int]:
        """The arguments as words; their contents lie one after the other at ``room``."""
        words, place = [], room
        for argument, content in zip(arguments, contents, strict=True):
            words.append(int(argument or 0) if content is None else place)
            place += _size(content)
        if any(content is not None for content in contents):
            parts = (content.ljust(_size(content), b"\0") for content in contents if content is not None)
            self._k.memory.write(room, b"".join(parts))
        return words

    def _write_back(
        self, room: int, arguments: Sequence[SyscallArgument], contents: Sequence[bytes | None]
    ) -> None:
        """Copy what lies in the process's memory to the buffers that were passed."""
        place = room
        for argument, content in zip(arguments, contents, strict=True):
            is_buffer = not isinstance(argument, str | bytes)
            if content and is_buffer and not (view := _view(argument)).readonly:
                view[:] = self._k.memory.read(place, len(content))
            place += _size(content)

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


def _size(content: bytes | None) -> int:
    """The bytes of memory that an argument's content gets."""
    return 16 + len(content) & ~15 if content is not None else 0


def _view(argument: SyscallArgument) -> memoryview:
    try:
        view = memoryview(argument).cast("B")  # type: ignore[arg-type]
    except TypeError as error:
        raise UsageError(f"{argument!r} is not an integer, text or a buffer") from error
    return view
