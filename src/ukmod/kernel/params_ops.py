"""The kinds of module parameters, param_ops_int and the like: kernel/params.c."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL, ENOMEM, ENOSPC, EROFS
from typing import TYPE_CHECKING, Any

from ukmod.kernel.export import export
from ukmod.kernel.kern_levels import KERN_ERR
from ukmod.kernel.lib.kstrtox import (
    S16,
    S32,
    S64,
    U8,
    U16,
    U32,
    U64,
    IntType,
    kstrto,
    parse,
    parse_bool,
)
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.mm.gfp import GFP_KERNEL
from ukmod.kernel.params import FL_NOARG, read_ops
from ukmod.machine.abi import Int, Ptr, UInt
from ukmod.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_CHARP_MAX = 1024

_KINDS: dict[str, tuple[str, str, str, int, bool]] = {
    # name: set, get, free, flags, True for EXPORT_SYMBOL_GPL
    "byte": ("param_set_byte", "param_get_byte", "", 0, False),
    "short": ("param_set_short", "param_get_short", "", 0, False),
    "ushort": ("param_set_ushort", "param_get_ushort", "", 0, False),
    "int": ("param_set_int", "param_get_int", "", 0, False),
    "uint": ("param_set_uint", "param_get_uint", "", 0, False),
    "long": ("param_set_long", "param_get_long", "", 0, False),
    "ulong": ("param_set_ulong", "param_get_ulong", "", 0, False),
    "ullong": ("param_set_ullong", "param_get_ullong", "", 0, False),
    "hexint": ("param_set_hexint", "param_get_hexint", "", 0, False),
    "charp": ("param_set_charp", "param_get_charp", "param_free_charp", 0, False),
    "bool": ("param_set_bool", "param_get_bool", "", FL_NOARG, False),
    "bool_enable_only": ("param_set_bool_enable_only", "param_get_bool", "", FL_NOARG, True),
    "invbool": ("param_set_invbool", "param_get_invbool", "", 0, False),
    "bint": ("param_set_bint", "param_get_int", "", FL_NOARG, False),
    "string": ("param_set_copystring", "param_get_string", "", 0, False),
    "array": ("param_array_set", "param_array_get", "param_array_free", 0, False),
}


class ParamOps:
    """The kernel's struct kernel_param_ops, created on first use, and the memory of charp parameters."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self.kmalloced: set[int] = set()
        """Strings that charp parameters were set to, which must be freed."""
        for kind, (set_, get, free, flags, gpl) in _KINDS.items():
            name = "param_array_ops" if kind == "array" else f"param_ops_{kind}"
            self._add(name, flags, {"set": set_, "get": get, "free": free}, gpl=gpl)

    def _add(self, name: str, flags: int, functions: dict[str, str], *, gpl: bool) -> None:
        k = self._k
        if not k.types.has("kernel_param_ops", "set"):
            return
        address = k.symbols.add_variable(name, k.types.sizeof("kernel_param_ops"), gpl=gpl)
        k.memory.set_u32(address + k.types.offset("kernel_param_ops", "flags"), flags)
        for member, function in functions.items():
            if function:
                at = address + k.types.offset("kernel_param_ops", member)
                k.memory.set_u64(at, k.symbols.address(function))


def _arg(k: Core, param: int) -> int:
    return k.memory.u64(param + k.types.offset("kernel_param", "arg"))


def _name(k: Core, param: int) -> str:
    name = k.memory.u64(param + k.types.offset("kernel_param", "name"))
    return k.memory.cstring(name).decode("utf-8", "replace")


def _put(k: Core, buffer: int, text: bytes) -> int:
    """scnprintf(buffer, PAGE_SIZE, ...)."""
    text = text[: PAGE_SIZE - 1]
    k.memory.write(buffer, text + b"\0")
    return len(text)


# -- numbers ----------------------------------------------------------------------------------------------


def _number_set(name: str, kind: IntType) -> Callable[..., Any]:
    @export(f"param_set_{name}", native=True)
    def set_(k: Core, value: Ptr, param: Ptr) -> Int:
        """``int param_set_X(const char *val, const struct kernel_param *kp)``: 0 or a negative errno."""
        return kstrto(k, k.memory.cstring(value), 0, _arg(k, param), kind)

    return set_


def _number_get(name: str, kind: IntType, form: str) -> Callable[..., Any]:
    @export(f"param_get_{name}", native=True)
    def get(k: Core, buffer: Ptr, param: Ptr) -> Int:
        """``int param_get_X(char *buffer, const struct kernel_param *kp)``: the bytes printed."""
        value = k.memory.uint(_arg(k, param), kind.size)
        number = signed(value, kind.size) if kind.signed else value
        return _put(k, buffer, format(number, form).encode() + b"\n")

    return get


param_set_byte, param_get_byte = _number_set("byte", U8), _number_get("byte", U8, "d")
param_set_short, param_get_short = _number_set("short", S16), _number_get("short", S16, "d")
param_set_ushort, param_get_ushort = _number_set("ushort", U16), _number_get("ushort", U16, "d")
param_set_int, param_get_int = _number_set("int", S32), _number_get("int", S32, "d")
param_set_uint, param_get_uint = _number_set("uint", U32), _number_get("uint", U32, "d")
param_set_long, param_get_long = _number_set("long", S64), _number_get("long", S64, "d")
param_set_ulong, param_get_ulong = _number_set("ulong", U64), _number_get("ulong", U64, "d")
param_set_ullong, param_get_ullong = _number_set("ullong", U64), _number_get("ullong", U64, "d")
param_set_hexint, param_get_hexint = _number_set("hexint", U32), _number_get("hexint", U32, "#08x")


@export(gpl=True, native=True)
def param_set_uint_minmax(k: Core, value: Ptr, param: Ptr, low: UInt, high: UInt) -> Int:
    """``int param_set_uint_minmax(const char *val, const struct kernel_param *kp, unsigned min, max)``."""
    if not value:
        return -EINVAL
    text = k.memory.cstring(value)
    return kstrto(k, text, 0, _arg(k, param), U32) if _within(text, low, high) else -EINVAL


def _within(text: bytes, low: int, high: int) -> bool:
    try:
        return low <= parse(text, 0, U32) <= high
    except (ValueError, OverflowError):
        return True  # kstrtouint() refuses it


# -- strings ----------------------------------------------------------------------------------------------


@export(native=True)
def param_set_charp(k: Core, value: Ptr, param: Ptr) -> Int:
    """``int param_set_charp(const char *val, const struct kernel_param *kp)``: stores a copy."""
    text = k.memory.cstring(value, _CHARP_MAX + 1)
    if len(text) > _CHARP_MAX:
        k.printk(f"{_name(k, param)}: string parameter too long\n", KERN_ERR)
        return -ENOSPC
    copy = k.slab.kmalloc(len(text) + 1, GFP_KERNEL)
    if not copy:
        return -ENOMEM
    k.memory.write(copy, text + b"\0")
    variable = _arg(k, param)
    _free_charp(k, variable)
    k.param_ops.kmalloced.add(copy)
    k.memory.set_u64(variable, copy)
    return 0


@export(native=True)
def param_get_charp(k: Core, buffer: Ptr, param: Ptr) -> Int:
    """``int param_get_charp(char *buffer, const struct kernel_param *kp)``."""
    text = k.memory.u64(_arg(k, param))
    return _put(k, buffer, (k.memory.cstring(text) if text else b"(null)") + b"\n")


def _free_charp(k: Core, variable: int) -> None:
    """maybe_kfree_parameter(): does not free a value compiled into the module."""
    text = k.memory.u64(variable)
    if text in k.param_ops.kmalloced:
        k.param_ops.kmalloced.remove(text)
        k.slab.kfree(text)


@export(native=True)
def param_free_charp(k: Core, arg: Ptr) -> None:
    """``void param_free_charp(void *arg)``."""
    _free_charp(k, arg)


@export(native=True)
def param_set_copystring(k: Core, value: Ptr, param: Ptr) -> Int:
    """``int param_set_copystring(const char *val, const struct kernel_param *kp)``: for a char array."""
    string = _arg(k, param)
    room = k.memory.u32(string + k.types.offset("kparam_string", "maxlen"))
    text = k.memory.cstring(value, room)
    if len(text) >= room:
        k.printk(f"{_name(k, param)}: string doesn't fit in {room - 1} chars.\n", KERN_ERR)
        return -ENOSPC
    k.memory.write(k.memory.u64(string + k.types.offset("kparam_string", "string")), text + b"\0")
    return 0


@export(native=True)
def param_get_string(k: Core, buffer: Ptr, param: Ptr) -> Int:
    """``int param_get_string(char *buffer, const struct kernel_param *kp)``."""
    string = k.memory.u64(_arg(k, param) + k.types.offset("kparam_string", "string"))
    return _put(k, buffer, k.memory.cstring(string) + b"\n")


# -- booleans ---------------------------------------------------------------------------------------------


def _bool(k: Core, value: int) -> bool | None:
    """The boolean that a value spells; True for no value, None for an invalid one."""
    try:
        return parse_bool(k.memory.cstring(value)) if value else True
    except ValueError:
        return None


@export(image_first=True)
def param_set_bool(k: Core, value: Ptr, param: Ptr) -> Int:
    """``int param_set_bool(const char *val, const struct kernel_param *kp)``."""
    if (flag := _bool(k, value)) is None:
        return -EINVAL
    k.memory.set_u8(_arg(k, param), flag)
    return 0


@export(native=True)
def param_get_bool(k: Core, buffer: Ptr, param: Ptr) -> Int:
    """``int param_get_bool(char *buffer, const struct kernel_param *kp)``: Y or N."""
    return _put(k, buffer, b"Y\n" if k.memory.u8(_arg(k, param)) else b"N\n")


@export(gpl=True, image_first=True)
def param_set_bool_enable_only(k: Core, value: Ptr, param: Ptr) -> Int:
    """``int param_set_bool_enable_only(const char *, const struct kernel_param *)``: cannot be cleared."""
    if (flag := _bool(k, value)) is None:
        return -EINVAL
    if not flag and k.memory.u8(_arg(k, param)):
        return -EROFS
    if flag:
        k.memory.set_u8(_arg(k, param), 1)
    return 0


@export(image_first=True)
def param_set_invbool(k: Core, value: Ptr, param: Ptr) -> Int:
    """``int param_set_invbool(const char *val, const struct kernel_param *kp)``: stores the opposite."""
    if (flag := _bool(k, value)) is None:
        return -EINVAL
    k.memory.set_u8(_arg(k, param), not flag)
    return 0


@export(native=True)
def param_get_invbool(k: Core, buffer: Ptr, param: Ptr) -> Int:
    """``int param_get_invbool(char *buffer, const struct kernel_param *kp)``."""
    return _put(k, buffer, b"N\n" if k.memory.u8(_arg(k, param)) else b"Y\n")


@export(image_first=True)
def param_set_bint(k: Core, value: Ptr, param: Ptr) -> Int:
    """``int param_set_bint(const char *val, const struct kernel_param *kp)``: a boolean stored as int."""
    if (flag := _bool(k, value)) is None:
        return -EINVAL
    k.memory.set_u32(_arg(k, param), flag)
    return 0


# -- arrays -----------------------------------------------------------------------------------------------


class _Array:
    """A struct kparam_array."""

    def __init__(self, kernel: Core, address: int) -> None:
        memory, at = kernel.memory, kernel.types.offset
        self._memory = memory
        self.max = memory.u32(address + at("kparam_array", "max"))
        self.size = memory.u32(address + at("kparam_array", "elemsize"))
        self._num = memory.u64(address + at("kparam_array", "num"))
        self.ops = read_ops(kernel, memory.u64(address + at("kparam_array", "ops")))
        self._elem = memory.u64(address + at("kparam_array", "elem"))

    def element(self, index: int) -> int:
        """The address of an element."""
        return self._elem + self.size * index

    @property
    def count(self) -> int:
        """The number of elements given; all of them if they are not counted."""
        return self._memory.u32(self._num) if self._num else self.max

    @count.setter
    def count(self, count: int) -> None:
        if self._num:
            self._memory.set_u32(self._num, count)


class _Element:
    """A struct kernel_param for one element at a time: a copy of the array's with another ``arg``."""

    def __init__(self, kernel: Core, param: int) -> None:
        self._k = kernel
        self._frame = kernel.memory.alloc_frames(1)
        self.address = kernel.memory.map_direct(self._frame, PAGE_SIZE)
        kernel.memory.write(self.address, kernel.memory.read(param, kernel.types.sizeof("kernel_param")))

    def point_to(self, element: int) -> int:
        """Set ``arg``; returns the address of the kernel_param."""
        self._k.memory.set_u64(self.address + self._k.types.offset("kernel_param", "arg"), element)
        return self.address

    def close(self) -> None:
        """Free the memory."""
        self._k.memory.unmap(self.address, PAGE_SIZE)
        self._k.memory.free_frames(self._frame, 1)


@export(native=True)
def param_array_set(k: Core, value: Ptr, param: Ptr) -> Int:
    """``int param_array_set(const char *val, const struct kernel_param *kp)``: comma-separated values."""
    array = _Array(k, _arg(k, param))
    texts = k.memory.cstring(value).split(b",")
    name = _name(k, param)
    array.count = 0
    element = _Element(k, param)
    try:
        for index, text in enumerate(texts):
            if index == array.max:
                k.printk(f"{name}: can only take {array.max} arguments\n", KERN_ERR)
                return -EINVAL
            # The value is cut in place, so that a function can read the text around it, as in C.
            k.memory.set_u8(value + len(text), 0)
            error = signed(k.cpu.call(array.ops.set, value, element.point_to(array.element(index))), 4)
            if error:
                return error
            value += len(text) + 1
            array.count = index + 1
    finally:
        element.close()
    return 0


@export(native=True)
def param_array_get(k: Core, buffer: Ptr, param: Ptr) -> Int:
    """``int param_array_get(char *buffer, const struct kernel_param *kp)``."""
    array = _Array(k, _arg(k, param))
    element = _Element(k, param)
    written = 0
    try:
        for index in range(array.count):
            if index:
                k.memory.set_u8(buffer + written - 1, ord(","))
            at = element.point_to(array.element(index))
            length = signed(k.cpu.call(array.ops.get, buffer + written, at), 4)
            if length < 0:
                return length
            written += length
    finally:
        element.close()
    k.memory.set_u8(buffer + written, 0)
    return written


@export(native=True)
def param_array_free(k: Core, arg: Ptr) -> None:
    """``void param_array_free(void *arg)``: ``arg`` is the struct kparam_array."""
    array = _Array(k, arg)
    if array.ops.free:
        for index in range(array.count):
            k.cpu.call(array.ops.free, array.element(index))
