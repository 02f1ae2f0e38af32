"""The few dozen bytes of machine code that connect guest and Python.

Guest code calls a kernel function written in Python through that function's *stub*, which stores the
function's number and the arguments and halts the CPU. Python reads the arguments, does the work, stores the
result and restarts the CPU. Registers are never read or written through the engine (1.5 µs each): stub and
Python share the *trap frame*, one page that both can access. Registers that a C function must preserve are
pushed on the task's own stack, as in ``__switch_to_asm``, so switching tasks means changing the stack
pointer.
"""

from __future__ import annotations

import struct

STUB_BASE = 0xFFFF_FFFF_BE00_0000
"""Between a kernel image and the modules, within reach of a module's 32-bit relative calls."""
FRAME_BASE = STUB_BASE - 0x1000
STUB_SIZE = 16
JUMP_SIZE = 5
"""The bytes of a jump to anywhere near."""
CODE_SIZE = 0x400
"""The number of bytes at STUB_BASE for the shared code; the functions' stubs follow."""

# The trap frame, in 8-byte words.
F_ID, F_ARGS, F_SP, F_RESULT, F_FUNCTION, F_RESULT_HIGH = 0, 1, 7, 8, 9, 10
ID_NONE = 0
"""No trap: the CPU was stopped by a fault or from outside."""
ID_RETURN = 1
"""The function that Python called has returned."""
ID_FIRST = 2

_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_CALLEE_SAVED = ("rbx", "rbp", "r12", "r13", "r14", "r15")
_NUMBERS = {
    name: number
    for number, name in enumerate(
        ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
    )
}
REGISTERS = tuple(_NUMBERS)
_HLT, RET = b"\xf4", b"\xc3"


def _slot(word: int) -> bytes:
    return struct.pack("<i", FRAME_BASE + 8 * word - (1 << 64))


def _move(opcode: int, register: str, word: int) -> bytes:
    number = _NUMBERS[register]
    return bytes((0x48 | (number >> 3) << 2, opcode, 0x04 | (number & 7) << 3, 0x25)) + _slot(word)


def _store(register: str, word: int) -> bytes:
    return _move(0x89, register, word)


def load(register: str, word: int) -> bytes:
    """The instruction that loads a register from a word of the trap frame."""
    return _move(0x8B, register, word)


def call(word: int) -> bytes:
    """The instruction that calls the function whose address is in a word of the trap frame."""
    return b"\xff\x14\x25" + _slot(word)


def _push(register: str) -> bytes:
    number = _NUMBERS[register]
    return (b"\x41" if number > 7 else b"") + bytes((0x50 | number & 7,))


def _pop(register: str) -> bytes:
    number = _NUMBERS[register]
    return (b"\x41" if number > 7 else b"") + bytes((0x58 | number & 7,))


def _set_id(value: int) -> bytes:
    return b"\x48\xc7\x04\x25" + _slot(F_ID) + struct.pack("<i", value)


TRAP = b"".join(
    (
        *map(_push, _CALLEE_SAVED),
        _store("r11", F_ID),
        *(_store(register, F_ARGS + n) for n, register in enumerate(_ARGUMENTS)),
        _store("rsp", F_SP),
        _HLT,
    )
)
"""The code that every stub jumps to, with the function's number in r11."""
RESUME = b"".join((load("rsp", F_SP), *map(_pop, reversed(_CALLEE_SAVED)), load("rax", F_RESULT), RET))
"""The code with which the CPU continues after Python has executed a function."""
ENTER = b"".join(
    (
        *(load(register, F_ARGS + n) for n, register in enumerate(_ARGUMENTS)),
        load("rsp", F_SP),
        b"\x31\xc0",  # xor %eax,%eax: no vector registers in a variadic call
        call(F_FUNCTION),
        _store("rax", F_RESULT),
        _store("rdx", F_RESULT_HIGH),
        _set_id(ID_RETURN),
        _HLT,
    )
)
"""The code with which the CPU starts when Python calls a guest function."""

TRAP_AT = STUB_BASE
PADDING_AT = TRAP_AT + 0x7F
"""A byte between TRAP and RESUME that is never executed."""
RESUME_AT = TRAP_AT + 0x80
ENTER_AT = TRAP_AT + 0x100
THUNKS_AT = TRAP_AT + 0x180
SAVED_BYTES = 8 * len(_CALLEE_SAVED)
"""The number of bytes from the stack pointer in the trap frame to the caller's return address."""


def _indirect_thunks() -> dict[str, bytes]:
    """``__x86_indirect_thunk_REG``: jmp *%REG. Retpolines protect real hardware; none is needed here."""
    thunks = {}
    for name, number in _NUMBERS.items():
        if name != "rsp":
            jump = (b"\x41" if number > 7 else b"") + bytes((0xFF, 0xE0 | number & 7))
            thunks[f"__x86_indirect_thunk_{name}"] = jump
            thunks[f"__x86_indirect_call_thunk_{name}"] = jump
            thunks[f"__x86_indirect_jump_thunk_{name}"] = jump
    return thunks


NATIVE: dict[str, bytes] = {
    # Their callers rely on every register being preserved, so they cannot be C functions.
    "__fentry__": RET,
    "__x86_return_thunk": RET,
    "__SCT__preempt_schedule": RET,
    "__SCT__preempt_schedule_notrace": RET,
    "__preempt_count_dec_and_test_slow": RET,
    # pv_ops.irq: callee-save functions (arch/x86/include/asm/paravirt.h), as on bare hardware.
    "pv_native_save_fl": b"\x9c\x58\xc3",  # pushf; pop %rax; ret
    "pv_native_irq_disable": b"\xfa\xc3",  # cli; ret
    "pv_native_irq_enable": b"\xfb\xc3",  # sti; ret
    **_indirect_thunks(),
}
"""Functions in machine code, because a trap would be impossible or too slow."""


def shared_code() -> bytes:
    """TRAP, RESUME and ENTER at their offsets, to be written to STUB_BASE."""
    code = bytearray(b"\xcc" * (THUNKS_AT - STUB_BASE))
    for address, piece in ((TRAP_AT, TRAP), (RESUME_AT, RESUME), (ENTER_AT, ENTER)):
        code[address - STUB_BASE : address - STUB_BASE + len(piece)] = piece
    return bytes(code)


def stub(address: int, number: int) -> bytes:
    """The stub of function ``number`` at ``address``: mov $number,%r11d; jmp TRAP."""
    code = b"\x41\xbb" + struct.pack("<I", number) + b"\xe9"
    code += struct.pack("<i", TRAP_AT - (address + len(code) + 4))
    return code.ljust(STUB_SIZE, b"\xcc")
