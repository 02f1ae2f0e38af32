"""Calling a C function from Python: its arguments and result by their C types (System V AMD64 ABI, 3.2.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from ukmod.errors import NotFoundError, UsageError
from ukmod.kernel.core import Core
from ukmod.machine import abi
from ukmod.machine.types import Kind, Prototype, Type
from ukmod.record import record

Argument = int | str | bytes | None
"""An integer, pointer or enum constant; a string or a struct by value; None is NULL."""

INFER: Final = object()
"""A result type that stands for the one in the kernel's type information."""
_REGISTERS: Final = 6
_BY_SIZE: Final = {
    (1, True): abi.Char, (1, False): abi.UChar, (2, True): abi.Short, (2, False): abi.UShort,
    (4, True): abi.Int, (4, False): abi.UInt, (8, True): abi.Long, (8, False): abi.ULong,
}  # fmt: skip
_AGGREGATES: Final = (Kind.STRUCT, Kind.UNION)


@record
class Signature:
    """The known part of a function's signature.

    returns: a C type of ukmod.machine.abi; None for void; or the size in bytes of a struct returned by value.
    prototype: None if the function is not described anywhere.
    """

    returns: Any
    prototype: Prototype | None = None


def address_of(k: Core, symbol: str) -> int:
    """The address of an exported symbol, or of any function of a module: ``function`` or ``module:function``.

    Raises NotFoundError if there is none.
    """
    module_name, _, name = symbol.rpartition(":")
    if not module_name and (found := k.modules.find_symbol(name)) is not None:
        return found.address
    for module in k.modules:
        if module_name in ("", module.name):
            names = module.layout.symbol_names
            if name in names:
                return module.layout.symbol_starts[names.index(name)]
    raise NotFoundError("no such symbol in the kernel or in any loaded module", subject=symbol)


def call(k: Core, name: str, address: int, signature: Signature, arguments: Sequence[Argument]) -> Any:
    """Call the function at ``address`` in the current task and return its result.

    Raises UsageError if the arguments do not match its parameters.
    """
    _check_count(name, signature.prototype, len(arguments))
    struct_size = signature.returns if isinstance(signature.returns, int) else 0
    in_memory = struct_size > 2 * 8
    with _copies(k, name, signature.prototype, arguments) as values, _buffer(k, struct_size) as buffer:
        words = _words([buffer, *values] if in_memory else values)
        low = k.cpu.call(address, *words)
        if in_memory:
            return k.memory.read(buffer, struct_size)
        if struct_size:
            both = low | k.cpu.result_high << 64
            return (both & (1 << 8 * struct_size) - 1).to_bytes(struct_size, "little")
        return abi.c_value(k.memory, signature.returns, low)


def signature_of(k: Core, name: str, returns: Any) -> Signature:
    """The signature of the function ``name`` with the given result type.

    ``returns`` is a C type of ukmod.machine.abi, a C type's name, None for void, or INFER for the type in the
    kernel's type information. Raises UsageError if there is no such type.
    """
    prototype = k.types.prototype(name)
    if isinstance(returns, str):
        return Signature(named_type(k, returns), prototype)
    if returns is not INFER:
        if returns is not None:
            abi.ctype(returns)
        return Signature(returns, prototype)
    return Signature(abi.Int if prototype is None else result_type(prototype.returns), prototype)


def result_type(kind: Type) -> Any:
    """The result type, as in Signature, for a C type. Raises UsageError for a type without a size."""
    if kind.kind is Kind.VOID:
        return None
    if kind.kind is Kind.POINTER:
        target = kind.target
        text = target is not None and target.kind is Kind.INT and target.name == "char" and not target.typedef
        return abi.CStr if text else abi.Ptr
    if kind.kind in (Kind.INT, Kind.ENUM):
        if kind.name in ("_Bool", "bool"):
            return abi.Bool
        if (found := _BY_SIZE.get((kind.size, kind.signed))) is not None:
            return found
    if (kind.kind in _AGGREGATES or kind.kind is Kind.INT) and kind.size:
        return kind.size
    raise UsageError(f"the kernel passes no value of the C type '{kind}'")


def named_type(k: Core, name: str) -> Any:
    """The result type of a C type's name, such as ``"unsigned long"`` or ``"enum irqreturn"``.

    Raises UsageError if the kernel has no such type.
    """
    words = [word for word in name.replace("*", " * ").split() if word not in _QUALIFIERS]
    plain = " ".join(words)
    if plain == "char *":
        return abi.CStr
    if plain.endswith("*"):
        return abi.Ptr
    spelled = _spelled(words)
    if (found := abi.TYPES.get(spelled, _UNKNOWN)) is not _UNKNOWN:
        return found
    tag = words[-1] if words[:1] in (["struct"], ["union"], ["enum"]) else spelled
    if (kind := k.types.find(tag)) is None:
        raise UsageError("the kernel has no such C type", subject=name)
    return result_type(kind)


_UNKNOWN: Final = object()
_QUALIFIERS: Final = frozenset(("const", "volatile", "restrict", "__user", "__iomem", "__percpu", "__rcu"))
_INTEGER_WORDS: Final = frozenset(("signed", "unsigned", "char", "short", "int", "long"))


def _spelled(words: Sequence[str]) -> str:
    """The canonical spelling of a C integer type: ``long unsigned int`` becomes ``unsigned long``."""
    if not words or not _INTEGER_WORDS.issuperset(words):
        return " ".join(words)
    base = next((word for word in ("char", "short", "long") if word in words), "int")
    if base == "char" and "signed" in words:
        return "signed char"
    return f"unsigned {base}" if "unsigned" in words else base


# -- arguments --------------------------------------------------------------------------------------------


def _check_count(name: str, prototype: Prototype | None, count: int) -> None:
    if prototype is None:
        return
    wanted = len(prototype.parameters)
    if count < wanted or (count > wanted and not prototype.variadic):
        raise UsageError(f"takes {wanted} arguments, not {count}: {prototype}", subject=name)


@contextmanager
def _copies(
    k: Core, name: str, prototype: Prototype | None, arguments: Sequence[Argument]
) -> Iterator[list[int | bytes]]:
    """Arguments as integers, or bytes for structs by value; strings are copied to guest memory meanwhile."""
    parameters = prototype.parameters if prototype is not None else ()
    kinds: list[Type | None] = [one.type for one in parameters]
    kinds += [None] * (len(arguments) - len(kinds))
    copies: list[int] = []

    def value(argument: Argument, kind: Type | None) -> int | bytes:
        if isinstance(argument, bytes) and kind is not None and kind.kind in _AGGREGATES:
            if len(argument) != kind.size:
                raise UsageError(f"'{kind}' has {kind.size} bytes, not {len(argument)}", subject=name)
            return argument
        if isinstance(argument, str | bytes):
            copies.append(_string(k, argument))
            return copies[-1]
        if argument is not None and not isinstance(argument, int):
            raise UsageError(f"{argument!r} is not an integer, a string or bytes", subject=name)
        number = int(argument or 0)
        if not -(1 << 63) <= number < 1 << 64:
            raise UsageError(f"{number} does not fit into 64 bits", subject=name)
        if kind is not None and kind.kind in _AGGREGATES:
            return (number & (1 << 8 * kind.size) - 1).to_bytes(kind.size, "little")
        return number

    try:
        yield [value(argument, kind) for argument, kind in zip(arguments, kinds, strict=True)]
    finally:
        for copy in copies:
            k.slab.kfree(copy)


@contextmanager
def _buffer(k: Core, size: int) -> Iterator[int]:
    """Memory for a struct that is returned in memory; 0 if none is needed."""
    address = _allocated(k, size) if size > 2 * 8 else 0
    yield address
    if address:
        k.slab.kfree(address)


def _words(values: Sequence[int | bytes]) -> list[int]:
    """The values of the six argument registers, followed by those on the stack.

    A struct of more than two words, or for which not enough registers are left, is placed on the stack as a
    whole.
    """
    registers: list[int] = []
    stack: list[int] = []
    for value in values:
        words = [value] if isinstance(value, int) else _split(value)
        fits = len(words) <= 2 and len(registers) + len(words) <= _REGISTERS
        (registers if fits else stack).extend(words)
    if stack:
        registers += [0] * (_REGISTERS - len(registers))
    return registers + stack


def _split(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]


def _string(k: Core, text: str | bytes) -> int:
    data = (text.encode() if isinstance(text, str) else text) + b"\0"
    address = _allocated(k, len(data))
    k.memory.write(address, data)
    return address


def _allocated(k: Core, size: int) -> int:
    if not (address := k.slab.kmalloc(size)):
        raise UsageError(f"the machine has no memory for {size} bytes")
    return address
