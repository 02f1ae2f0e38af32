"""Makes system calls with hostile arguments, in a fork of a machine with an image: a program that tests ask.

``python -m tests.kernel.hostile_system_calls VMLINUZ`` reads lines of JSON, ``[[number, value, ...], ...]``:
the calls that one process makes, one after the other. It answers as tests.kernel.hostile_calls does.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from tests.kernel.hostile_calls import end, in_fork
from tests.kernel.user.conftest import device

from ukmod.errors import ProcessError
from ukmod.kernel.api import Kernel
from ukmod.kernel.uapi import AF_INET, AF_NETLINK, AF_UNIX, O_DIRECTORY, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM
from ukmod.kernel.user.syscall import SyscallArgument

Call = tuple[int | str, ...]

DEVICES: Final = ("conduit", "quanta", "shelf", "window")
"""Modules of examples/devices, whose files are open."""
FILES: Final = (
    "/dev/conduit", "/dev/quanta0", "/proc/shelf", "/dev/window", "/dev/zero", "/dev/null", "/tmp/file",
    "/proc/self/mem",
)  # fmt: skip
"""Open at the first descriptors, to be read and written."""
_PATHS: Final = (
    *FILES,
    "/dev/quanta1",
    "/tmp",
    "/proc/self/maps",
    "/sys/kernel/shelf/count",
    "/tmp/none",
    "",
)
_ALLOCATED: Final = 4096
"""The bytes of each buffer of a process."""

VALUES: Final[dict[str, Callable[[int], SyscallArgument]]] = {
    **{
        hex(value): lambda _, value=value: value
        for value in (
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 21, 64, 128, 1000, 4096, 8192, 1 << 16, 1 << 20,
            (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, 1 << 47, (1 << 63) - 1, 1 << 63,
        )
    },
    **{str(value): lambda _, value=value: value for value in (-1, -100, -22, -4096)},
    "the end of user memory": lambda _: 0x7FFF_FFFF_F000,
    "kernel memory": lambda _: 0xFFFF_8880_0000_0000,
    "kernel code": lambda _: 0xFFFF_FFFF_8100_0000,
    "not canonical": lambda _: 0x8000_0000_0000_0000,
    **{f"the path {path!r}": lambda _, path=path: path for path in _PATHS},
    "a long path": lambda _: "/a" * 3000,
    "zeros": lambda _: bytearray(_ALLOCATED),
    "ones": lambda _: bytearray(b"\xff" * _ALLOCATED),
    "small numbers": lambda _: bytearray(b"".join(n.to_bytes(8, "little") for n in range(_ALLOCATED // 8))),
    "pointers to kernel memory": lambda _: bytearray(0xFFFF_8880_0000_0000.to_bytes(8, "little") * 512),
    "pointers to user memory": lambda user: bytearray(user.to_bytes(8, "little") * 512),
    "pointers and lengths": lambda user: bytearray(struct.pack("<QQ", user, 64) * 256),
    "user memory": lambda user: user,
    "the end of a mapping": lambda user: user + 2 * _ALLOCATED - 8,
    "unaligned": lambda user: user + 1,
}  # fmt: skip
"""Hostile values by what they are, made of the address of two pages of the process's."""


def prepare(k: Kernel) -> int:
    """Open the files, and sockets, in the machine's process; returns the address of two pages of its own."""
    for name in DEVICES:
        k.insmod(device(name))
    k.write("/tmp/file", "text" * 2000)
    process = k.process
    for path in FILES:
        process.open(path, "r+b")
    for family, kind in (
        (AF_UNIX, SOCK_STREAM),
        (AF_INET, SOCK_DGRAM),
        (AF_INET, SOCK_STREAM),
        (AF_NETLINK, SOCK_RAW),
    ):
        process.socket(family, kind)
    process.open("/tmp", flags=O_DIRECTORY)
    return process.syscall("mmap", 0, 2 * _ALLOCATED, 3, 0x22, -1, 0)


def attempt(k: Kernel, user: int, calls: Sequence[Call]) -> None:
    """Have the machine's process make the calls, and let a second pass; then another makes one."""
    process = k.process

    def make() -> None:
        for number, *values in calls:
            with suppress(OSError, ProcessError):
                process.syscall(number, *(VALUES[str(value)](user) for value in values))
        assert k.spawn(lambda other: other.pid).result() > process.pid

    end(k.core, make)


def main(vmlinuz: str) -> None:
    """Answer questions until there are no more."""
    with Kernel(image=vmlinuz) as k:
        user = prepare(k)
        for line in sys.stdin:
            calls = json.loads(line)
            print(json.dumps(in_fork(k.core, partial(attempt, k, user, calls))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
