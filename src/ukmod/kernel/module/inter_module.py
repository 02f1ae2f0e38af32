"""inter_module_register() and the like: how modules shared data before EXPORT_SYMBOL in Linux 2.4.

Linux 2.6 removed them; they are exported here again, with the semantics of kernel/intermodule.c of 2.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ukmod.kernel.bug import Site
from ukmod.kernel.export import export
from ukmod.kernel.kern_levels import KERN_ERR
from ukmod.machine.abi import CStr, Ptr
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@record
class InterModuleEntry:
    """The data that a module registered under a name."""

    name: str
    owner: int
    """The address of the struct module."""
    data: int


class InterModule:
    """The registered names."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._entries: dict[str, InterModuleEntry] = {}

    def _bug(self, function: str, what: str) -> NoReturn:
        """Report an error in the caller, which is fatal to it."""
        self._k.printk(f"{function}: {what}\n", KERN_ERR)
        self._k.crash.bug(Site("kernel/intermodule.c", 0, function))

    def register(self, entry: InterModuleEntry) -> None:
        """Register an entry; a duplicate name is a bug in the caller."""
        if entry.name in self._entries:
            self._bug("inter_module_register", f"duplicate im_name '{entry.name}'")
        self._entries[entry.name] = entry

    def unregister(self, name: str) -> None:
        """Remove a registration."""
        if self._entries.pop(name, None) is None:
            self._bug("inter_module_unregister", f"no entry for '{name}'")

    def get(self, name: str) -> int:
        """The registered data, with a reference to its module; 0 if none or if its module is unloading."""
        entry = self._entries.get(name)
        if entry is None:
            return 0
        module = self._k.modules.at(entry.owner) if entry.owner else None
        if module is not None and not self._k.modules.get(module):
            return 0
        return entry.data

    def put(self, name: str) -> None:
        """Drop the reference to the module."""
        entry = self._entries.get(name)
        if entry is None:
            self._bug("inter_module_put", f"no entry for '{name}'")
        if (module := self._k.modules.at(entry.owner)) is not None:
            self._k.modules.put(module)


def _text(name: bytes) -> str:
    return name.decode("latin-1")


@export()
def inter_module_register(k: Core, name: CStr, owner: Ptr, data: Ptr) -> None:
    """void inter_module_register(const char *im_name, struct module *owner, const void *userdata)."""
    k.inter_module.register(InterModuleEntry(_text(name), owner, data))


@export()
def inter_module_unregister(k: Core, name: CStr) -> None:
    """void inter_module_unregister(const char *im_name)."""
    k.inter_module.unregister(_text(name))


@export()
def inter_module_get(k: Core, name: CStr) -> Ptr:
    """``const void *inter_module_get(const char *im_name)``."""
    return k.inter_module.get(_text(name))


@export()
def inter_module_get_request(k: Core, name: CStr, module: CStr) -> Ptr:
    """``const void *inter_module_get_request(const char *im_name, const char *modname)``: may load it."""
    found = k.inter_module.get(_text(name))
    if not found:
        k.requests.request(_text(module), caller=k.caller())
        found = k.inter_module.get(_text(name))
    return found


@export()
def inter_module_put(k: Core, name: CStr) -> None:
    """void inter_module_put(const char *im_name)."""
    k.inter_module.put(_text(name))
