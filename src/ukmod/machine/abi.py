"""The C ABI (System V x86-64): conversion between registers and a Python function's annotated types.

A kernel function is written as ``def schedule_timeout(k: Core, timeout: Long) -> Long``; ``bind`` turns it
into a handler that takes its arguments from the trap frame. To a type checker the types are plain ``int`` (or
``bytes``); their C properties are in the ``Annotated`` metadata.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import FunctionType
from typing import Annotated, Any, get_args, get_type_hints

from ukmod.errors import UsageError
from ukmod.machine.memory import Memory
from ukmod.machine.stubs import F_ARGS, F_SP, SAVED_BYTES
from ukmod.record import record

_REGISTER_ARGUMENTS = 6
_CO_VARARGS, _CO_VARKEYWORDS = 4, 8
"""Flags of a code object: the function takes *args, **kwargs. inspect has them too, and is slow to import."""


@record
class CType:
    """A C type as an argument: how 8 bytes of register or stack become a Python value."""

    name: str
    code: str
    """The struct format of one 8-byte slot."""
    convert: str = ""
    """'cstring': the value is a ``char *`` and is read as bytes; 'bool': it becomes a bool."""

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return struct.calcsize(self.code[0])


Int = Annotated[int, CType("int", "i4x")]
UInt = Annotated[int, CType("unsigned int", "I4x")]
Long = Annotated[int, CType("long", "q")]
ULong = Annotated[int, CType("unsigned long", "Q")]
Short = Annotated[int, CType("short", "h6x")]
UShort = Annotated[int, CType("unsigned short", "H6x")]
Char = Annotated[int, CType("char", "b7x")]
UChar = Annotated[int, CType("unsigned char", "B7x")]
Bool = Annotated[bool, CType("bool", "B7x", "bool")]
Ptr = Annotated[int, CType("void *", "Q")]
CStr = Annotated[bytes, CType("const char *", "Q", "cstring")]
"""A NUL-terminated string, read when the function is called; a bad pointer is then a Fault."""

# Each is assigned separately, as type checkers recognise only that as a type alias.
LongLong = Long
SSizeT = Long
LoffT = Long
S64 = Long
ULongLong = ULong
SizeT = ULong
U64 = ULong
U32 = UInt
GfpT = UInt
S32 = Int
PidT = Int

TYPES: dict[str, Any] = {
    "void": None, "int": Int, "unsigned int": UInt, "long": Long, "unsigned long": ULong, "short": Short,
    "unsigned short": UShort, "char": Char, "signed char": Char, "unsigned char": UChar, "bool": Bool,
    "_Bool": Bool, "size_t": ULong, "ssize_t": Long,
    "u8": UChar, "u16": UShort, "u32": UInt, "u64": ULong, "s8": Char, "s16": Short, "s32": Int, "s64": Long,
}  # fmt: skip
"""The C types that every kernel has, by name; ``long long`` is ``long``. None is void."""


class VarArgs:
    """A variadic function's ``...``: each ``next`` takes one argument, as va_arg() does."""

    __slots__ = ("_frame", "_index", "_memory", "_stack")

    def __init__(self, memory: Memory, frame: memoryview, fixed: int) -> None:
        self._memory = memory
        self._frame = frame[F_ARGS : F_ARGS + _REGISTER_ARGUMENTS].tolist()
        self._index = fixed
        # Arguments that did not fit into registers are above the return address.
        self._stack = frame[F_SP] + SAVED_BYTES + 8 - 8 * _REGISTER_ARGUMENTS

    def next(self) -> int:
        """The next argument's 8 bytes, unsigned."""
        index = self._index
        self._index = index + 1
        if index < _REGISTER_ARGUMENTS:
            value: int = self._frame[index]
            return value
        return self._memory.u64(self._stack + 8 * index)


class VaList:
    """A ``va_list`` made by guest code (AMD64 ABI 3.5.7), read like VarArgs and advanced in place."""

    __slots__ = ("_address", "_memory")

    def __init__(self, memory: Memory, address: int) -> None:
        self._memory = memory
        self._address = address

    def next(self) -> int:
        """The next argument's 8 bytes, unsigned."""
        memory, at = self._memory, self._address
        gp_offset = memory.u32(at)
        if gp_offset < 8 * _REGISTER_ARGUMENTS:
            memory.set_u32(at, gp_offset + 8)
            return memory.u64(memory.u64(at + 16) + gp_offset)
        area = memory.u64(at + 8)
        memory.set_u64(at + 8, area + 8)
        return memory.u64(area)


def ctype(annotation: Any) -> CType:
    """The C type of an annotation. Raises UsageError if it has none."""
    for extra in get_args(annotation)[1:]:
        if isinstance(extra, CType):
            return extra
    if annotation is int:
        return CType("long", "q")
    raise UsageError(f"{annotation!r} is not the annotation of a C type")


def _hint(function: Callable[..., Any], name: str) -> Any:
    """A parameter's annotation: nearly always a name that the function's file has imported from here.

    Raises UsageError if there is none, or if it names what is not known when the program runs.
    """
    hint = function.__annotations__.get(name)
    if isinstance(hint, str):
        hint = function.__globals__.get(hint)
    if hint is not None:
        return hint
    if name not in function.__annotations__:
        text = f"the parameter '{name}' has no C type: annotate it, with ukmod.Int or ukmod.Ptr say"
        raise UsageError(text, subject=function.__name__)
    try:
        return get_type_hints(function, localns={"Core": Any}, include_extras=True)[name]
    except Exception as error:
        text = f"the annotation of '{name}' cannot be read: {error}"
        raise UsageError(text, subject=function.__name__) from error


def check_signature(function: FunctionType, *, skip: int = 0) -> None:
    """Raise UsageError for a function that ``bind`` would not take, ``skip`` parameters left aside."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if code.co_flags & (_CO_VARARGS | _CO_VARKEYWORDS):
        text = "*args and **kwargs have no C type: annotate a last parameter with VarArgs"
        raise UsageError(text, subject=function.__name__)
    for name in names[skip:]:
        hint = _hint(function, name)
        if name in names[code.co_argcount :]:
            raise UsageError(f"the parameter '{name}' cannot be given by position", subject=function.__name__)
        if hint is not VarArgs or name != names[-1]:
            _ctype_of(function, name, hint)
    if "return" in function.__annotations__ and function.__annotations__["return"] not in (None, "None"):
        kind = _ctype_of(function, "return", _hint(function, "return"))
        if kind.convert == "cstring":
            raise UsageError(
                "a string cannot be returned: return a pointer to one", subject=function.__name__
            )


def _ctype_of(function: FunctionType, name: str, hint: Any) -> CType:
    try:
        return ctype(hint)
    except UsageError as error:
        what = "the result" if name == "return" else f"the parameter '{name}'"
        text = f"{what} has no C type: {error.message}"
        raise UsageError(text, subject=function.__name__) from error


def parameters(function: Callable[..., Any]) -> tuple[list[tuple[str, CType]], bool]:
    """The C parameters of a kernel function, and whether ``...`` follows; the kernel itself is left aside."""
    names = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    hints = [(name, _hint(function, name)) for name in names]
    variadic = bool(hints) and hints[-1][1] is VarArgs
    return [(name, ctype(hint)) for name, hint in (hints[:-1] if variadic else hints)], variadic


def result(function: Callable[..., Any]) -> CType | None:
    """The C type of a kernel function's result; None for void."""
    hint = function.__annotations__.get("return")
    return None if hint in (None, "None", "NoReturn") else ctype(_hint(function, "return"))


def bind(
    function: Callable[..., Any], memory: Memory, first: tuple[Any, ...] = ()
) -> Callable[[memoryview], int]:
    """A handler for the CPU that calls ``function(*first, *arguments)`` with arguments as annotated.

    A parameter annotated ``VarArgs`` is the last and takes the rest. ``None`` is returned as 0; ``bytes``
    cannot be returned. Raises UsageError for an annotation without a C type.
    """
    if (method := getattr(function, "__func__", None)) is not None:
        function, first = method, (function.__self__, *first)  # type: ignore[attr-defined]
    names = function.__code__.co_varnames[len(first) : function.__code__.co_argcount]
    hints = [_hint(function, name) for name in names]
    variadic = bool(names) and hints[-1] is VarArgs
    types = [ctype(hint) for hint in (hints[:-1] if variadic else hints)]
    count = len(types)
    in_registers = struct.Struct("<" + "".join(t.code for t in types[:_REGISTER_ARGUMENTS])).unpack_from
    on_stack = struct.Struct("<" + "".join(t.code for t in types[_REGISTER_ARGUMENTS:]))
    converted = [(n, t.convert) for n, t in enumerate(types) if t.convert]
    offset = 8 * F_ARGS

    def simple(frame: memoryview) -> int:
        result = function(*first, *in_registers(frame, offset))
        return result if result is not None else 0

    def full(frame: memoryview) -> int:
        arguments: list[Any] = list(in_registers(frame, offset))
        if on_stack.size:
            arguments += on_stack.unpack(memory.read(frame[F_SP] + SAVED_BYTES + 8, on_stack.size))
        for n, how in converted:
            arguments[n] = memory.cstring(arguments[n]) if how == "cstring" else bool(arguments[n])
        if variadic:
            arguments.append(VarArgs(memory, frame, count))
        result = function(*first, *arguments)
        return result if result is not None else 0

    return full if on_stack.size or converted or variadic else simple


def c_value(memory: Memory, annotation: Any, value: int) -> Any:
    """RAX converted to the Python value of a function with this return annotation."""
    if annotation is None or annotation is type(None):
        return None
    kind = ctype(annotation)
    (result,) = struct.unpack("<" + kind.code, struct.pack("<Q", value))
    if kind.convert == "cstring":
        return memory.cstring(value) if value else None
    return bool(result) if kind.convert == "bool" else result
