"""Spinlocks and rwlocks: kernel/locking/spinlock.c, qspinlock.c, qrwlock.c.

They are machine code, as in the kernel, generated for the offset of this kernel's preempt count: modules take
them thousands of times. On one CPU a spinning task would never see the lock released, so it is reported at
once.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ukmod.kernel.export import export
from ukmod.kernel.locking.lockdep import checks_locks
from ukmod.kernel.preempt_count import SOFTIRQ_DISABLE_OFFSET, is_counted
from ukmod.kernel.sched.preempt import current_name_and_pid, lockup
from ukmod.machine.abi import Ptr, UInt
from ukmod.machine.stubs import RET

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_CLI: Final = b"\xfa"
_STI: Final = b"\xfb"
_SAVE_FLAGS: Final = b"\x9c\x41\x58\xfa"  # pushf; pop %r8; cli
_RETURN_FLAGS: Final = b"\x4c\x89\xc0\xc3"  # mov %r8,%rax; ret
_RESTORE_FLAGS: Final = b"\xf7\xc6\x00\x02\x00\x00\x74\x01\xfb"  # test $IF,%esi; jz 1f; sti; 1:
_TRUE: Final = b"\xb8\x01\x00\x00\x00\xc3"  # mov $1,%eax; ret
_FALSE: Final = b"\x31\xc0\xc3"  # xor %eax,%eax; ret

_CMPXCHG: Final = b"\x31\xc0\xba%b\xf0\x0f\xb1\x17"  # xor %eax,%eax; mov $n,%edx; lock cmpxchg %edx,(%rdi)
_TRY: Final = {
    # Each leaves ZF set if the lock was free (include/asm-generic/qspinlock.h, qrwlock.h).
    "spin": _CMPXCHG % struct.pack("<I", 1),
    "write": _CMPXCHG % struct.pack("<I", 0xFF),
    # testl $0x1ff,(%rdi): a writer holds the lock or waits for it
    "read": b"\xf7\x07\xff\x01\x00\x00",
}
_TAKE: Final = {"spin": b"", "write": b"", "read": b"\x81\x07\x00\x02\x00\x00"}  # addl $_QR_BIAS,(%rdi)
_RELEASE: Final = {
    "spin": b"\xc6\x07\x00",  # movb $0,(%rdi)
    "write": b"\xc6\x07\x00",
    "read": b"\x81\x2f\x00\x02\x00\x00",  # subl $_QR_BIAS,(%rdi)
}


def _jump(target: int) -> bytes:
    """mov $target,%rax; jmp *%rax."""
    return b"\x48\xc7\xc0" + struct.pack("<I", target & 0xFFFF_FFFF) + b"\xff\xe0"


def _unless(branch: bytes, code: bytes) -> bytes:
    """``code`` preceded by a short conditional jump, with the given opcode, that skips it."""
    return branch + bytes((len(code),)) + code


class SpinLocks:
    """Generates and exports the lock functions."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        at = struct.pack("<I", kernel.percpu.preempt_offset & 0xFFFF_FFFF)
        self._add = kernel.percpu.prefix + b"\x81\x04\x25" + at  # addl $imm32,%gs:preempt_count
        self._sub = kernel.percpu.prefix + b"\x81\x2c\x25" + at
        self._spin = _jump(kernel.symbols.address("queued_spin_lock_slowpath"))
        self._one = 1 if is_counted(kernel) else 0
        """PREEMPT_LOCK_OFFSET: how much a lock adds to the count."""
        self._bh = SOFTIRQ_DISABLE_OFFSET + self._one
        """SOFTIRQ_LOCK_OFFSET: softirqs and preemption disabled."""
        self._bh_enable = (
            b"\x31\xff\xbe"
            + struct.pack("<I", self._bh)
            + _jump(kernel.symbols.address("__local_bh_enable_ip"))
        )
        if kernel.image is not None and checks_locks(kernel):
            return  # the image's own report to its lockdep
        for kind in ("spin", "read", "write"):
            self._export(kind)
        kernel.symbols.add_native("_raw_spin_trylock_bh", self._try("spin", self._bh))

    def _export(self, kind: str) -> None:
        lock, unlock = self._lock(kind, self._one), self._unlock(kind, self._one)
        functions = {
            "lock": lock + RET,
            "lock_irq": _CLI + lock + RET,
            "lock_irqsave": _SAVE_FLAGS + lock + _RETURN_FLAGS,
            "lock_bh": self._lock(kind, self._bh) + RET,
            "trylock": self._try(kind, self._one),
            "unlock": unlock + RET,
            "unlock_irq": _RELEASE[kind] + _STI + self._count(-self._one) + RET,
            "unlock_irqrestore": _RELEASE[kind] + _RESTORE_FLAGS + self._count(-self._one) + RET,
            "unlock_bh": _RELEASE[kind] + self._bh_enable,
            # The _nested variants differ only with lockdep.
            "lock_nested": lock + RET,
            "lock_nest_lock": lock + RET,
            "lock_irqsave_nested": _SAVE_FLAGS + lock + _RETURN_FLAGS,
        }
        for name, code in functions.items():
            self._k.symbols.add_native(f"_raw_{kind}_{name}", code)

    def _count(self, value: int) -> bytes:
        return (self._add if value > 0 else self._sub) + struct.pack("<I", abs(value)) if value else b""

    def _lock(self, kind: str, count: int) -> bytes:
        # jz over the jump to the slow path, which never returns.
        return self._count(count) + _TRY[kind] + _unless(b"\x74", self._spin) + _TAKE[kind]

    def _unlock(self, kind: str, count: int) -> bytes:
        return _RELEASE[kind] + self._count(-count)

    def _try(self, kind: str, count: int) -> bytes:
        fail = self._count(-count) + _FALSE
        return self._count(count) + _TRY[kind] + _unless(b"\x74", fail) + _TAKE[kind] + _TRUE


@export("queued_read_lock_slowpath", "queued_write_lock_slowpath", native=True)
@export("queued_spin_lock_slowpath")
def spin_lock_slowpath(k: Core, lock: Ptr, value: UInt) -> None:
    """void queued_spin_lock_slowpath(struct qspinlock *, u32 val): report a lockup: no other CPU unlocks."""
    del value
    comm, pid = current_name_and_pid(k)
    where = k.kallsyms.sprint(lock)
    lockup(k, f"BUG: spinlock lockup suspected on CPU#0, {comm}/{pid}\n lock: {where}\n")
