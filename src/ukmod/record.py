"""Classes of plain fields that cost next to nothing to define: what dataclasses are, made when first used.

modprobe runs as a process each time the kernel asks for a module, so its start-up is its running time, and
the start-up of ``ukmod run`` is what people feel. ``import dataclasses`` takes as long as starting the
interpreter. Generating the methods of one dataclass takes half a millisecond, and a program uses a few of a
hundred. :func:`record` and :func:`mutable` generate a class's initializer when it is first called, and
nothing else. Type checkers take both for dataclasses (PEP 681); :func:`dataclasses.replace`, ``asdict`` and
``fields`` take them too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_parameters):
        return lambda decorated: decorated


__all__ = ["asdict", "field", "mutable", "record", "replace"]

_MISSING: Any = object()


class _Field:
    """What :func:`field` says of a field."""

    __slots__ = ("compare", "default", "default_factory", "kw_only", "repr")

    def __init__(
        self,
        default: object,
        default_factory: object,
        *,
        kw_only: bool,
        compare: bool,
        repr: bool,  # noqa: A002
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.kw_only = kw_only
        self.compare = compare
        self.repr = repr


def field(
    *,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    kw_only: bool = False,
    compare: bool = True,
    repr: bool = True,  # noqa: A002 - dataclasses.field's name
) -> Any:
    """Describe a field, as :func:`dataclasses.field` does."""
    return _Field(default, default_factory, kw_only=kw_only, compare=compare, repr=repr)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a class of annotated fields a frozen, slotted, comparable, hashable value."""
    return _made(cls, frozen=True)


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def mutable(cls: type[T]) -> type[T]:
    """Make a class of annotated fields a slotted piece of state: it changes, and is equal to itself alone."""
    return _made(cls, frozen=False)


def replace(value: T, /, **changes: Any) -> T:
    """Return a copy of a record with other values in some fields, as :func:`dataclasses.replace` does."""
    cls: Any = type(value)
    return cls(**{name: getattr(value, name) for name in cls._described} | changes)  # type: ignore[no-any-return]


def asdict(value: Any) -> dict[str, Any]:
    """Return a record's fields by their names, and so with records in them, as :func:`dataclasses.asdict`."""
    cls: Any = type(value)
    return {name: _plain(getattr(value, name)) for name in cls._described}


def _plain(value: Any) -> Any:
    if hasattr(type(value), "_described"):
        return asdict(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _made(cls: type[T], *, frozen: bool) -> type[T]:
    described = {name: _described(cls.__dict__.get(name, _MISSING)) for name in cls.__annotations__}
    unwanted = {"__dict__", "__weakref__", *described}
    body = {key: value for key, value in cls.__dict__.items() if key not in unwanted}
    names = tuple(described)
    body |= {
        "__slots__": names,
        "__match_args__": tuple(name for name in names if not described[name].kw_only),
        "__qualname__": cls.__qualname__,
        "__dataclass_fields__": _AsDataclass("__dataclass_fields__"),
        "__dataclass_params__": _AsDataclass("__dataclass_params__"),
        "_described": described,
    }
    methods: tuple[Callable[..., object], ...] = (_lazy_initializer(frozen=frozen), _shown(described))
    for function in (*methods, *(_value_methods(described) if frozen else ())):
        body.setdefault(function.__name__, function)
    # A class cannot be given slots once it is made: this is another of the same name.
    metaclass: Any = type(cls)
    made: type[T] = metaclass(cls.__name__, cls.__bases__, body)
    return made


def _described(value: object) -> _Field:
    return (
        value
        if isinstance(value, _Field)
        else _Field(value, _MISSING, kw_only=False, compare=True, repr=True)
    )


# -- the initializer --------------------------------------------------------------------------------------


def _lazy_initializer(*, frozen: bool) -> Callable[..., None]:
    def __init__(self: object, *args: object, **kwargs: object) -> None:  # noqa: N807
        cls: Any = next(kind for kind in type(self).__mro__ if kind.__dict__.get("__init__") is __init__)
        cls.__init__ = _compiled(cls, frozen=frozen)
        cls.__init__(self, *args, **kwargs)

    return __init__


def _compiled(cls: Any, *, frozen: bool) -> Callable[..., None]:
    """The initializer in the form that is fastest to call: source code of its own."""
    described: dict[str, _Field] = cls._described
    names: dict[str, object] = {"MISSING": _MISSING}
    positional: list[str] = []
    keyword: list[str] = []
    lines: list[str] = []
    for name, about in described.items():
        value, parameter = name, name
        if about.default_factory is not _MISSING:
            names[f"make_{name}"] = about.default_factory
            value, parameter = f"make_{name}() if {name} is MISSING else {name}", f"{name}=MISSING"
        elif about.default is not _MISSING:
            names[f"default_{name}"] = about.default
            parameter = f"{name}=default_{name}"
        (keyword if about.kw_only else positional).append(parameter)
        if frozen:
            names[f"set_{name}"] = cls.__dict__[name].__set__
        lines.append(f"    set_{name}(self, {value})" if frozen else f"    self.{name} = {value}")
    if "__post_init__" in cls.__dict__:
        lines.append("    self.__post_init__()")
    parameters = ", ".join(["self", *positional, *(["*", *keyword] if keyword else [])])
    source = f"def __init__({parameters}):\n" + "\n".join(lines or ["    pass"])
    exec(source, names)  # noqa: S102 - of the class's own field names, as dataclasses does
    made: Any = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made  # type: ignore[no-any-return]


# -- what values have -------------------------------------------------------------------------------------


def _shown(described: dict[str, _Field]) -> Callable[..., str]:
    def __repr__(self: object) -> str:  # noqa: N807
        names = [name for name, about in described.items() if about.repr]
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _value_methods(described: dict[str, _Field]) -> tuple[Callable[..., object], ...]:
    names = tuple(described)
    compared = tuple(name for name, about in described.items() if about.compare)

    def __setattr__(self: object, name: str, _value: object) -> None:  # noqa: N807
        raise AttributeError(f"{type(self).__name__} is frozen: cannot set {name!r}")

    def __eq__(self: object, other: object) -> bool:  # noqa: N807
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in compared)

    def __hash__(self: object) -> int:  # noqa: N807
        return hash(tuple([getattr(self, name) for name in compared]))

    def __getstate__(self: object) -> list[object]:  # noqa: N807
        return [getattr(self, name) for name in names]

    def __setstate__(self: object, state: list[object]) -> None:  # noqa: N807
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return __setattr__, __eq__, __hash__, __getstate__, __setstate__


class _AsDataclass:
    """What :mod:`dataclasses` keeps in its classes, made when its functions, or :mod:`pprint`, ask for it."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, _instance: object, owner: Any) -> Any:
        import dataclasses

        about: dict[str, _Field] = owner._described  # noqa: SLF001
        body: dict[str, Any] = {"__annotations__": dict.fromkeys(about, object)}
        for name, it in about.items():
            given: dict[str, Any] = {"kw_only": it.kw_only, "compare": it.compare, "repr": it.repr}
            if it.default_factory is not _MISSING:
                given["default_factory"] = it.default_factory
            elif it.default is not _MISSING:
                given["default"] = it.default
            body[name] = dataclasses.field(**given)
        made: Any = dataclasses.dataclass(type("_", (), body))
        setattr(owner, self._name, getattr(made, self._name))
        return getattr(made, self._name)
