"""Python's half of a snapshot: a pickle of a kernel that can refer to nothing outside the machine.

Objects that a kernel shares with its process (exported functions, the image, the programs) are referred to by
name. A task's greenlet cannot be pickled at all.

Unpickling calls what the pickle names. The reader therefore allows only classes and functions of the emulated
machine and a few plain types: no class that opens files, and no module of the standard library. The cache's
MAC authenticates a snapshot; this limits what it could do if the key itself was planted.
"""

from __future__ import annotations

import copyreg
import pickle
import struct
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from io import BytesIO
from types import BuiltinMethodType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Final

from greenlet import greenlet

from ukmod.kernel.core import Core
from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.image.internal import internal_functions
from ukmod.kernel.mm.fence import Object

MACHINE: Final = ("ukmod.kernel.", "ukmod.machine.")
"""The packages whose classes and functions a snapshot may name."""

HOST_SIDE: Final = frozenset(
    (
        *("ukmod.kernel.api", "ukmod.kernel.boot", "ukmod.kernel.checked", "ukmod.kernel.exports"),
        *("ukmod.kernel.search", "ukmod.kernel.trees"),
        *("ukmod.kernel.user.get", "ukmod.kernel.user.provide", "ukmod.kernel.user.put"),
        "ukmod.kernel.user.root_files",
        *("ukmod.kernel.image.choice", "ukmod.kernel.image.members", "ukmod.kernel.image.pickled"),
        "ukmod.kernel.image.snapshot",
        *("ukmod.machine.engine", "ukmod.machine.libunicorn", "ukmod.machine.pagemap"),
        *("ukmod.machine.image.cache", "ukmod.machine.image.find", "ukmod.machine.image.image"),
        *("ukmod.machine.image.installed", "ukmod.machine.image.payload", "ukmod.machine.image.variables"),
        "ukmod.machine.image.vmlinux",
        *("ukmod.machine.types.profile", "ukmod.machine.types.select"),
    )
)
"""Excluded modules of these packages: they access the host's files or libraries, or snapshots themselves."""

PLAIN: Final = frozenset(
    (
        *("_struct.Struct", "builtins.int", "builtins.range", "builtins.str", "collections.Counter"),
        "collections.OrderedDict",
        *("collections.deque", "functools.partial", "random.Random"),
        *("ukmod.kernel.image.pickled._method", "ukmod.kernel.image.pickled._read_only"),
        "ukmod.machine.types.select._needed_types",
    )
)
"""Other permitted names: types without side effects, and functions that only read their arguments."""

BUILT_IN: Final = (bytearray, deque, dict, list, set)
"""Built-in types whose methods may be bound, such as the list.append that an event calls."""


def dump(k: Core, facts: dict[str, object], places: list[tuple[int, int]]) -> BytesIO:
    """Pickle a kernel, the facts about its image, and the frame and size of each piece of RAM.

    Raises pickle's exceptions for an object that cannot be pickled.
    """
    state = BytesIO()
    _Writer(state, k).dump((k, facts, places))
    return state


def load(state: bytes, shared: Mapping[str, Any]) -> tuple[Core, dict[str, object], list[tuple[int, int]]]:
    """Read the result of ``dump``. ``shared``: this process's image and programs, by name.

    Raises pickle.UnpicklingError for a pickle that names anything but a part of the machine.
    """
    found: tuple[Core, dict[str, object], list[tuple[int, int]]] = _Reader(BytesIO(state), shared).load()
    return found


def is_allowed(module: str, name: str) -> bool:
    """True if a snapshot may name this class or function."""
    if f"{module}.{name}" in PLAIN:
        return True
    return module.startswith(MACHINE) and module not in HOST_SIDE and "." not in name


@cache
def _functions() -> dict[Callable[..., Any], tuple[str, str]]:
    """The exported functions and their names. Some are made by factories, so pickle could not name them."""
    tables = {"kernel": kernel_functions(), "internal": internal_functions()}
    return {
        function: (table, name) for table, found in tables.items() for name, (_, function) in found.items()
    }


def _read_only(items: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    """Make a mapping proxy, whose type has no name that a pickle could use."""
    return MappingProxyType(items)


def _method(owner: object, name: str) -> Any:
    """Bind a method of a container or of an object of the machine. getattr() could reach anything."""
    if type(owner) in BUILT_IN and not name.startswith("_"):
        return getattr(owner, name)
    for kind in type(owner).__mro__:
        function = vars(kind).get(name)
        if isinstance(function, FunctionType) and is_allowed(kind.__module__, kind.__name__):
            return MethodType(function, owner)
    raise pickle.UnpicklingError(f"{type(owner).__name__}.{name} is not a method of the emulated machine")


def _reduce_builtin(function: Any) -> Any:
    """Refer to a method by its object, and to a function of a built-in module by its own name."""
    owner = function.__self__
    return function.__qualname__ if isinstance(owner, ModuleType) else (_method, (owner, function.__name__))


class _Writer(pickle.Pickler):
    """Pickles a kernel without the objects it shares with its process."""

    dispatch_table = copyreg.dispatch_table | {
        # Thousands, for which the default, a dict of attributes each, takes three times as long to read.
        Object: lambda it: (Object, tuple([getattr(it, name) for name in Object.__match_args__])),
        struct.Struct: lambda it: (struct.Struct, (it.format,)),
        MappingProxyType: lambda it: (_read_only, (dict(it),)),
        MethodType: lambda it: (_method, (it.__self__, it.__name__)),
        BuiltinMethodType: _reduce_builtin,
    }

    def __init__(self, file: BytesIO, k: Core) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        assert k.image is not None
        self._shared = {
            id(k.image.image): "image",
            id(k.processes.programs): "programs",
            id(kernel_functions()): "functions",
        }

    def persistent_id(self, obj: Any) -> Any:
        """The name of an object that ``_Reader`` has to find itself."""
        if isinstance(obj, FunctionType):
            return _functions().get(obj)
        return "stack" if isinstance(obj, greenlet) else self._shared.get(id(obj))


class _Reader(pickle.Unpickler):
    """Reads the pickles of ``_Writer``, and nothing else."""

    def __init__(self, file: BytesIO, shared: Mapping[str, Any]) -> None:
        super().__init__(file)
        self._shared = {**shared, "functions": kernel_functions(), "stack": None}

    def find_class(self, module: str, name: str) -> Any:
        """Find a class or function by name, if a snapshot may name it."""
        if is_allowed(module, name):
            found = getattr(import_module(module), name)
            if f"{module}.{name}" in PLAIN or getattr(found, "__module__", "") == module:
                return found
        raise pickle.UnpicklingError(f"a snapshot may not name {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """The object with the name that ``_Writer`` gave it."""
        if isinstance(pid, tuple):
            table, name = pid
            return (kernel_functions() if table == "kernel" else internal_functions())[name][1]
        return self._shared[pid]
