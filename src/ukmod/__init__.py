"""Linux's on-demand module loading, both halves of it, in Python.

The kernel half (``ukmod.Kernel``) needs the extra ``[machine]``; ``ukmod.kmod`` needs nothing. Names are
imported when first used, so that ``import ukmod`` costs what the caller uses and no more.

``Int``, ``Ptr``, ``CStr`` and the like are the C types with which a kernel function in Python is annotated.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ukmod.errors import FormatError as FormatError
    from ukmod.errors import KernelPanic as KernelPanic
    from ukmod.errors import LayoutError as LayoutError
    from ukmod.errors import LimitError as LimitError
    from ukmod.errors import LoadError as LoadError
    from ukmod.errors import MachineError as MachineError
    from ukmod.errors import MissingExtraError as MissingExtraError
    from ukmod.errors import NotFoundError as NotFoundError
    from ukmod.errors import ProcessError as ProcessError
    from ukmod.errors import UkmodError as UkmodError
    from ukmod.errors import UsageError as UsageError
    from ukmod.kernel.api import Kernel as Kernel
    from ukmod.kernel.core import Core as Core
    from ukmod.kernel.finished import Finished as Finished
    from ukmod.kernel.image.choice import Need as Need
    from ukmod.kernel.mm.kasan import Report as Report
    from ukmod.kernel.mm.slab import Leak as Leak
    from ukmod.kernel.module.dangling import Dangling as Dangling
    from ukmod.kernel.module.main import Module as Module
    from ukmod.kernel.oops import Oops as Oops
    from ukmod.kernel.oops import Warn as Warn
    from ukmod.kernel.printk import Record as Record
    from ukmod.kernel.sched.core import Task as Task
    from ukmod.kernel.trace import Request as Request
    from ukmod.kernel.trees import Loadable as Loadable
    from ukmod.kmod.tree import Tree as Tree
    from ukmod.machine.abi import Bool as Bool
    from ukmod.machine.abi import Char as Char
    from ukmod.machine.abi import CStr as CStr
    from ukmod.machine.abi import Int as Int
    from ukmod.machine.abi import Long as Long
    from ukmod.machine.abi import LongLong as LongLong
    from ukmod.machine.abi import Ptr as Ptr
    from ukmod.machine.abi import Short as Short
    from ukmod.machine.abi import SizeT as SizeT
    from ukmod.machine.abi import SSizeT as SSizeT
    from ukmod.machine.abi import UChar as UChar
    from ukmod.machine.abi import UInt as UInt
    from ukmod.machine.abi import ULong as ULong
    from ukmod.machine.abi import ULongLong as ULongLong
    from ukmod.machine.abi import UShort as UShort
    from ukmod.machine.types.types import Types as Types
    from ukmod.userland.process import Process as Process
    from ukmod.userland.process import Program as Program

__all__ = [
    "Bool",
    "CStr",
    "Char",
    "Core",
    "Dangling",
    "Finished",
    "FormatError",
    "Int",
    "Kernel",
    "KernelPanic",
    "LayoutError",
    "Leak",
    "LimitError",
    "LoadError",
    "Loadable",
    "Long",
    "LongLong",
    "MachineError",
    "MissingExtraError",
    "Module",
    "Need",
    "NotFoundError",
    "Oops",
    "Process",
    "ProcessError",
    "Program",
    "Ptr",
    "Record",
    "Report",
    "Request",
    "SSizeT",
    "Short",
    "SizeT",
    "Task",
    "Tree",
    "Types",
    "UChar",
    "UInt",
    "ULong",
    "ULongLong",
    "UShort",
    "UkmodError",
    "UsageError",
    "Warn",
    "__version__",
]

__version__ = "0.1.0"

_HOMES = {
    "Bool": "ukmod.machine.abi",
    "CStr": "ukmod.machine.abi",
    "Char": "ukmod.machine.abi",
    "Core": "ukmod.kernel.core",
    "Finished": "ukmod.kernel.finished",
    "FormatError": "ukmod.errors",
    "Int": "ukmod.machine.abi",
    "Kernel": "ukmod.kernel.api",
    "KernelPanic": "ukmod.errors",
    "LayoutError": "ukmod.errors",
    "Dangling": "ukmod.kernel.module.dangling",
    "Leak": "ukmod.kernel.mm.slab",
    "LimitError": "ukmod.errors",
    "LoadError": "ukmod.errors",
    "Loadable": "ukmod.kernel.trees",
    "Long": "ukmod.machine.abi",
    "LongLong": "ukmod.machine.abi",
    "MachineError": "ukmod.errors",
    "MissingExtraError": "ukmod.errors",
    "Module": "ukmod.kernel.module.main",
    "Need": "ukmod.kernel.image.choice",
    "NotFoundError": "ukmod.errors",
    "ProcessError": "ukmod.errors",
    "Oops": "ukmod.kernel.oops",
    "Process": "ukmod.userland.process",
    "Program": "ukmod.userland.process",
    "Ptr": "ukmod.machine.abi",
    "Record": "ukmod.kernel.printk",
    "Report": "ukmod.kernel.mm.kasan",
    "Request": "ukmod.kernel.trace",
    "SSizeT": "ukmod.machine.abi",
    "Short": "ukmod.machine.abi",
    "SizeT": "ukmod.machine.abi",
    "Task": "ukmod.kernel.sched.core",
    "Tree": "ukmod.kmod.tree",
    "Types": "ukmod.machine.types.types",
    "UChar": "ukmod.machine.abi",
    "UInt": "ukmod.machine.abi",
    "ULong": "ukmod.machine.abi",
    "ULongLong": "ukmod.machine.abi",
    "UShort": "ukmod.machine.abi",
    "UkmodError": "ukmod.errors",
    "UsageError": "ukmod.errors",
    "Warn": "ukmod.kernel.oops",
}
"""The module that each name is from."""


if not TYPE_CHECKING:  # a type checker is to know a name that does not exist

    def __getattr__(name: str) -> object:
        from importlib import import_module

        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__]
