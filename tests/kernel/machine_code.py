"""A few instructions, run as a module's function would be."""

from __future__ import annotations

import struct

from ukmod.kernel.core import Core
from ukmod.kernel.sched.core import Task
from ukmod.machine.memory import PAGE_SIZE, READ_EXEC

CODE = 0xFFFF_FFFF_C0F0_0000
"""Where the code is: module space, away from what a test loads."""
READ_RDI = b"\x48\x8b\x07\xc3"  # mov (%rdi),%rax; ret
WRITE_RDI = b"\x48\x89\x37\xc3"  # mov %rsi,(%rdi); ret
WRITE_8 = b"\xc7\x04\x25\x08\x00\x00\x00\x01\x00\x00\x00\xc3"  # movl $1,8; ret
DIVIDE = b"\x31\xd2\x31\xc9\xf7\xf1\xc3"  # xor %edx,%edx; xor %ecx,%ecx; div %ecx; ret
CALL_NULL = b"\x31\xc0\xff\xd0\xc3"  # xor %eax,%eax; call *%rax; ret
UD2 = b"\x0f\x0b\xc3"
RECURSE = b"\xe8\xfb\xff\xff\xff\xc3"  # call itself
FOR_EVER = b"\xeb\xfe"


def call(function: int) -> bytes:
    """push %rbp; mov $function,%rax; call *%rax; pop %rbp; the caller goes on behind it."""
    return b"\x55\x48\xb8" + struct.pack("<Q", function) + b"\xff\xd0\x5d"


class Code:
    """Runs machine code in tasks of their own."""

    def __init__(self, kernel: Core) -> None:
        self.kernel = kernel
        kernel.memory.map(CODE, kernel.memory.alloc_frames(1), PAGE_SIZE, READ_EXEC)

    def put(self, code: bytes) -> int:
        """The address of ``code``, which replaces any other."""
        self.kernel.memory.write(CODE, code, force=True)
        self.kernel.cpu.flush_code()
        return CODE

    def run(self, code: bytes, *arguments: int) -> tuple[int, int | None]:
        """The exit code of a task that runs ``code``, and what the code returned, or None if it did not."""
        results: list[int] = []
        task = self.start(code, *arguments, results=results)
        self.kernel.sched.run(lambda: task.exited)
        return task.exit_code, results[0] if results else None

    def start(self, code: bytes, *arguments: int, results: list[int] | None = None) -> Task:
        """A task that will run ``code``, and append what it returns to ``results``."""
        k, address = self.kernel, self.put(code)

        def entry() -> int:
            result = k.cpu.call(address, *arguments)
            if results is not None:
                results.append(result)
            return 0

        return k.start("victim", entry)
