"""Write BTF: types are given as what follows their names, and get their ids in order, from 1 on."""

from __future__ import annotations

import struct

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(1, 9)
CONST, FUNC, FUNC_PROTO = 10, 12, 13


class BtfWriter:
    """Collects types; ``base`` is the writer of the BTF that a split one goes on from."""

    def __init__(self, base: BtfWriter | None = None) -> None:
        self.strings = b"\0" if base is None else b""
        self.types = b""
        self.next: int = 1 if base is None else base.next
        self.first_string: int = 0 if base is None else base.first_string + len(base.strings)

    def string(self, text: str) -> int:
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return self.first_string + len(self.strings) - len(text) - 1

    def add(
        self, kind: int, name: str = "", size: int = 0, parts: bytes = b"", count: int = 0, flag: bool = False
    ) -> int:
        info = kind << 24 | count | flag << 31
        self.types += struct.pack("<III", self.string(name), info, size) + parts
        self.next += 1
        return self.next - 1

    def integer(self, name: str, size: int, signed: bool = False) -> int:
        return self.add(INT, name, size, struct.pack("<I", signed << 24 | size * 8))

    def aggregate(
        self,
        name: str,
        size: int,
        *members: tuple[str, int, int] | tuple[str, int, int, int],
        kind: int = STRUCT,
    ) -> int:
        """Members are (name, type, bit position) and for bitfields the number of bits."""
        parts = b"".join(
            struct.pack("<III", self.string(m[0]), m[1], m[2] | (m[3] << 24 if len(m) == 4 else 0))
            for m in members
        )
        flag = any(len(member) == 4 for member in members)
        return self.add(kind, name, size, parts, len(members), flag)

    def array(self, element: int, count: int) -> int:
        return self.add(ARRAY, parts=struct.pack("<III", element, element, count))

    def enum(self, name: str, **values: int) -> int:
        parts = b"".join(struct.pack("<Ii", self.string(key), value) for key, value in values.items())
        signed = any(value < 0 for value in values.values())
        return self.add(ENUM, name, 4, parts, len(values), signed)

    def prototype(self, returns: int, *parameters: tuple[str, int]) -> int:
        parts = b"".join(struct.pack("<II", self.string(name), kind) for name, kind in parameters)
        return self.add(FUNC_PROTO, "", returns, parts, len(parameters))

    def data(self) -> bytes:
        sizes = struct.pack("<IIII", 0, len(self.types), len(self.types), len(self.strings))
        return struct.pack("<HBBI", 0xEB9F, 1, 0, 24) + sizes + self.types + self.strings


def small_kernel() -> BtfWriter:
    """A kernel's worth of the shapes that types have."""
    btf = BtfWriter()
    u32 = btf.integer("unsigned int", 4)
    i32 = btf.integer("int", 4, signed=True)
    u64 = btf.integer("long unsigned int", 8)
    info = btf.aggregate("thread_info", 16, ("flags", u64, 0), ("cpu", u32, 64))
    const = btf.add(CONST, size=u32)
    pid_t = btf.add(TYPEDEF, "pid_t", i32)
    atomic = btf.aggregate("", 4, ("counter", i32, 0))
    atomic_t = btf.add(TYPEDEF, "atomic_t", atomic)
    either = btf.aggregate("", 8, ("word", u64, 0), ("half", u32, 0), kind=UNION)
    upid = btf.aggregate("upid", 8, ("nr", i32, 0), ("level", u32, 32))
    upids = btf.array(upid, 2)
    task = btf.next
    pointer = task + 1
    btf.aggregate(
        "task_struct",
        72,
        ("thread_info", info, 0),
        ("__state", const, 128),
        ("usage", atomic_t, 160),
        ("", either, 192),
        ("numbers", upids, 256),
        ("in_execve", u32, 384, 1),
        ("in_iowait", u32, 385, 3),
        ("parent", pointer, 448),
        ("pid", pid_t, 512),
    )
    btf.add(PTR, size=task)
    btf.aggregate("module", 64, ("state", u32, 0))
    btf.enum("pid_type", PIDTYPE_PID=0, PIDTYPE_TGID=1)
    btf.enum("errors", EPERM=-1)
    prototype = btf.prototype(i32, ("task", pointer), ("", 0))
    btf.add(FUNC, "wake_up", prototype)
    return btf
