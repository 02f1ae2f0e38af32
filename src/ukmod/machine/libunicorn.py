"""Unicorn's C library: the functions and numbers of its C API that the engine uses.

ctypes calls the library without Unicorn's Python binding. Importing the binding costs five times as much as
loading the library: it searches for it with importlib.resources, and has the registers of nine architectures.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import POINTER, c_int, c_int32, c_size_t, c_uint, c_uint16, c_uint32, c_uint64, c_void_p
from importlib.util import find_spec
from typing import Any, Final

from ukmod.errors import MachineError

# unicorn/unicorn.h and unicorn/x86.h. The numbers are part of the library's ABI.
ARCH_X86: Final = 4
MODE_64: Final = 8
PROT_ALL: Final = 7
HOOK_INTR: Final = 1
HOOK_INSN: Final = 2
X86_INS_IN: Final = 218
X86_INS_OUT: Final = 500
X86_INS_SYSCALL: Final = 699
CPU_X86_QEMU64: Final = 0
ERR_READ_UNMAPPED: Final = 6
ERR_WRITE_UNMAPPED: Final = 7
ERR_FETCH_UNMAPPED: Final = 8
ERR_INSN_INVALID: Final = 10
CTL_CPU_MODEL: Final = 7
CTL_TB_REMOVE_CACHE: Final = 9
CTL_TB_FLUSH: Final = 10
CTL_TLB_FLUSH: Final = 11
_CTL_IO_WRITE = 1
REGISTERS: Final = (
    {"rax": 35, "rbp": 36, "rbx": 37, "rcx": 38, "rdi": 39, "rdx": 40, "rip": 41, "rsi": 43, "rsp": 44}
    | {"cr0": 50, "cr2": 52, "cr3": 53, "cr4": 54, "dr0": 66, "msr": 248, "mxcsr": 249, "rflags": 253}
    | {"cs": 11, "ss": 49, "gdtr": 243, "tr": 245, "fs_base": 250, "gs_base": 251}
    | {"fpsw": 31, "fpcw": 246, "fptag": 247}
    | {f"fp{n}": 82 + n for n in range(8)}
    | {f"r{n}": 98 + n for n in range(8, 16)}
    | {f"xmm{n}": 122 + n for n in range(16)}
)
"""UC_X86_REG_*, by the register's name."""


class Msr(ctypes.Structure):
    """uc_x86_msr: a model-specific register, as the register "msr" is written."""

    _fields_ = (("rid", c_uint32), ("value", c_uint64))


class Table(ctypes.Structure):
    """uc_x86_mmr: a descriptor table's or task state segment's register."""

    _fields_ = (("selector", c_uint16), ("base", c_uint64), ("limit", c_uint32), ("flags", c_uint32))


# Callbacks. The first argument is the engine, the last one what was given along with the callback.
INTERRUPT: Final = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
IN: Final = ctypes.CFUNCTYPE(c_uint32, c_void_p, c_uint32, c_int, c_void_p)
OUT: Final = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_int, c_uint32, c_void_p)
SYSCALL: Final = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
MMIO_READ: Final = ctypes.CFUNCTYPE(c_uint64, c_void_p, c_uint64, c_uint, c_void_p)

_NAMES = {"win32": "unicorn.dll", "darwin": "libunicorn.2.dylib"}


def path() -> str:
    """The path of the library that is part of the installed package; "" if the package has none.

    Raises ModuleNotFoundError without the package.
    """
    package = find_spec("unicorn")
    if package is None:
        raise ModuleNotFoundError("No module named 'unicorn'", name="unicorn")
    name = _NAMES.get(sys.platform, "libunicorn.so.2")
    paths = (os.path.join(place, "lib", name) for place in package.submodule_search_locations or ())
    return next(filter(os.path.exists, paths), "")


def _loaded() -> ctypes.CDLL:
    """Load the library. Raises ImportError.

    Where another one than the package's is to be used (a distribution has it in /usr/lib, LIBUNICORN_PATH
    names a directory), the binding finds it.
    """
    own = path()
    if own and "LIBUNICORN_PATH" not in os.environ:
        try:
            return ctypes.CDLL(own)
        except OSError as error:
            raise ImportError(str(error)) from error
    from unicorn.unicorn_py3.unicorn import uclib

    found: ctypes.CDLL = uclib
    return found


_library = _loaded()


def _function(name: str, *arguments: Any, returns: Any = c_int) -> Any:
    try:
        return ctypes.CFUNCTYPE(returns, *arguments)((name, _library))
    except AttributeError as error:
        raise ImportError(f"Unicorn's library is too old: {error}") from error


uc_close: Final = _function("uc_close", c_void_p)
uc_context_alloc: Final = _function("uc_context_alloc", c_void_p, POINTER(c_void_p))
uc_context_free: Final = _function("uc_context_free", c_void_p)
uc_context_restore: Final = _function("uc_context_restore", c_void_p, c_void_p)
uc_context_save: Final = _function("uc_context_save", c_void_p, c_void_p)
uc_context_size: Final = _function("uc_context_size", c_void_p, returns=c_size_t)
uc_ctl: Final = _function("uc_ctl", c_void_p, c_uint32)
uc_emu_start: Final = _function("uc_emu_start", c_void_p, c_uint64, c_uint64, c_uint64, c_size_t)
uc_emu_stop: Final = _function("uc_emu_stop", c_void_p)
uc_hook_add: Final = _function(
    "uc_hook_add", c_void_p, POINTER(c_size_t), c_int32, c_void_p, c_void_p, c_uint64, c_uint64
)
uc_mem_map_ptr: Final = _function("uc_mem_map_ptr", c_void_p, c_uint64, c_uint64, c_uint32, c_void_p)
uc_mmio_map: Final = _function(
    "uc_mmio_map", c_void_p, c_uint64, c_uint64, c_void_p, c_void_p, c_void_p, c_void_p
)
uc_open: Final = _function("uc_open", c_uint32, c_uint32, POINTER(c_void_p))
uc_reg_read: Final = _function("uc_reg_read", c_void_p, c_int32, c_void_p)
uc_reg_read_batch: Final = _function("uc_reg_read_batch", c_void_p, c_void_p, c_void_p, c_int)
uc_reg_write_batch: Final = _function("uc_reg_write_batch", c_void_p, c_void_p, c_void_p, c_int)
uc_reg_write: Final = _function("uc_reg_write", c_void_p, c_int32, c_void_p)
uc_strerror: Final = _function("uc_strerror", c_int, returns=ctypes.c_char_p)
uc_version: Final = _function("uc_version", POINTER(c_int), POINTER(c_int), returns=c_uint32)


def version() -> int:
    """The library's version, in one number: a byte each for major, minor, patch and extra."""
    return int(uc_version(None, None))


def control(what: int, arguments: int = 0) -> int:
    """UC_CTL_WRITE(): the second argument of uc_ctl() for a request with that many further arguments."""
    return _CTL_IO_WRITE << 30 | arguments << 26 | what


def check(error: int) -> None:
    """Raise MachineError unless a function of the library succeeded."""
    if error:
        raise MachineError(f"the engine failed: {uc_strerror(error).decode()}")
