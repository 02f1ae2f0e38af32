"""Frozen records that cost nothing to import.

modprobe runs as a process each time the kernel asks for a module, so its start-up is its running time. On the
machine this was measured on, the interpreter starts in 8 ms; ``import dataclasses`` adds 12 ms to that and
``import typing`` 8 ms. The modules modprobe imports therefore declare their data with :func:`record`, which
type checkers take for a frozen dataclass (PEP 681).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_parameters):
        return lambda decorated: decorated


__all__ = ["record"]


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Make a class of annotated fields a frozen, slotted, comparable, hashable value."""
    fields = tuple(cls.__annotations__)
    defaults = {name: cls.__dict__[name] for name in fields if name in cls.__dict__}
    unwanted = {"__dict__", "__weakref__", *defaults}
    body = {key: value for key, value in cls.__dict__.items() if key not in unwanted}
    for function in (_initializer(cls.__name__, fields, defaults), *_value_methods(cls.__name__, fields)):
        body.setdefault(function.__name__, function)
    body |= {"__slots__": fields, "__match_args__": fields}
    # A class cannot be given slots once it is made: this is another of the same name.
    made: type[T] = type(cls.__name__, cls.__bases__, body)
    return made


def _initializer(
    class_name: str, fields: tuple[str, ...], defaults: dict[str, object]
) -> Callable[..., None]:
    store = object.__setattr__

    def __init__(self: object, *args: object, **kwargs: object) -> None:  # noqa: N807
        if len(args) > len(fields):
            raise TypeError(f"{class_name}() takes {len(fields)} values, not {len(args)}")
        for name, value in zip(fields, args, strict=False):
            store(self, name, value)
        for name in fields[len(args) :]:
            if name in kwargs:
                store(self, name, kwargs.pop(name))
            elif name in defaults:
                store(self, name, defaults[name])
            else:
                raise TypeError(f"{class_name}() needs {name!r}")
        if kwargs:
            raise TypeError(f"{class_name}() has no field {next(iter(kwargs))!r}")

    return __init__


def _value_methods(class_name: str, fields: tuple[str, ...]) -> tuple[Callable[..., object], ...]:
    def values(self: object) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in fields)

    def __setattr__(_self: object, name: str, _value: object) -> None:  # noqa: N807
        raise AttributeError(f"{class_name} is frozen: cannot set {name!r}")

    def __eq__(self: object, other: object) -> bool:  # noqa: N807
        return type(other) is type(self) and values(self) == values(other)

    def __hash__(self: object) -> int:  # noqa: N807
        return hash(values(self))

    def __repr__(self: object) -> str:  # noqa: N807
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in fields)
        return f"{class_name}({shown})"

    def __reduce__(self: object) -> tuple[object, tuple[object, ...]]:  # noqa: N807
        return type(self), values(self)  # pickling would otherwise set the frozen fields one by one

    return __setattr__, __eq__, __hash__, __repr__, __reduce__
