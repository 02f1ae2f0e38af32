"""Loaded modules: states, dependencies, symbols and /proc/modules (kernel/module/main.c)."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from enum import Enum
from errno import EPERM
from typing import TYPE_CHECKING, Final

from ukmod.errors import LoadError
from ukmod.kernel.boot_parameters import boot_parameters
from ukmod.kernel.bug import Site, warn
from ukmod.kernel.cred import CAP_SYS_MODULE
from ukmod.kernel.export import export
from ukmod.kernel.image.modules import free_module_usages
from ukmod.kernel.livepatch import klp_module_going
from ukmod.kernel.module.symbols import FoundSymbol
from ukmod.kernel.notifier import NotifierChain
from ukmod.kernel.panic import TAINT_LETTERS
from ukmod.kernel.sched.waiters import Waiters
from ukmod.machine.abi import Bool, CStr, Int, Long, Ptr
from ukmod.record import field, mutable

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.layout import ModuleLayout

MODULE_NAME_LEN: Final = 64 - 8
"""The size of a module's name in bytes with its NUL, include/linux/moduleparam.h."""
MODULE_REF_BASE: Final = 1
_NO_SYMBOL: Final = Site("kernel/module/main.c", 784, "__symbol_put")
_NO_MODULE: Final = Site("kernel/module/main.c", 805, "symbol_put_addr")
_PUT_TOO_OFTEN: Final = Site("kernel/module/main.c", 857, "module_put")


class ModuleState(Enum):
    """enum module_state; the values are those stored in struct module."""

    LIVE = 0
    COMING = 1
    GOING = 2
    UNFORMED = 3


@mutable
class Module:
    """A struct module: the part in guest memory is at ``address``, the kernel's own part is here."""

    name: str
    path: str
    """The path of its file, or an empty string."""
    layout: ModuleLayout
    state: ModuleState = ModuleState.UNFORMED
    address: int = 0
    """The address of its struct module, which is part of its own data."""
    exports: dict[str, FoundSymbol] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    """The CRCs of the symbols it needs, as it was built against them."""
    namespaces: frozenset[str] = frozenset()
    """The symbol namespaces it imports."""
    modinfo: dict[str, list[str]] = field(default_factory=dict)
    taints: set[str] = field(default_factory=set)
    """The taint letters it caused."""
    users: list[Module] = field(default_factory=list)
    """The modules that use its symbols, latest first."""
    uses: list[Module] = field(default_factory=list)
    init: int = 0
    params: int = 0
    """The address of its array of struct kernel_param."""
    param_count: int = 0
    btf: int = 0
    """The address of its BTF while it is being loaded into a kernel with an image."""
    strings: list[int] = field(default_factory=list)
    """The addresses of what was copied for its symbol table, in a kernel with an image."""
    usages: list[int] = field(default_factory=list)
    """The addresses of its structs module_use, one for each of ``uses``, in a kernel with an image."""
    since: int = 0
    """When it was loaded, in virtual nanoseconds since boot."""
    uses_gpl_only: bool = False
    has_versions: bool = True
    signed: bool = False

    def __repr__(self) -> str:
        return f"<Module {self.name} {self.state.name}>"

    def flags(self, *, state: bool = True) -> str:
        """Taints, and + or - while it is loading or unloading, in parentheses, as in /proc/modules."""
        mark = {ModuleState.COMING: "+", ModuleState.GOING: "-"}.get(self.state, "") if state else ""
        taints = "".join(letter for letter in TAINT_LETTERS if letter in self.taints)
        return f"({taints}{mark})" if taints or mark else ""


class Modules:
    """The list of modules, latest first."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel
        self._list: list[Module] = []
        self.waiters = Waiters(kernel)
        """module_wq: woken when a module becomes live or is unloaded."""
        self.notifiers = NotifierChain(kernel, "module_notify_list")
        self._disabled = False
        blacklist = boot_parameters(kernel.cmdline).get("module_blacklist")
        self.blacklist = frozenset(blacklist.split(",") if blacklist else ())
        """The modules that the kernel's command line forbids to load, by name as /proc/modules has it."""
        self.last_unloaded = ""
        """The name and taints of the module unloaded last, for oops reports."""
        types = kernel.types
        self._refcnt = types.offset("module", "refcnt")
        self._state = types.offset("module", "state")

    def __iter__(self) -> Iterator[Module]:
        return iter(self._list)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name.replace("-", "_")) is not None

    def __getitem__(self, name: str) -> Module:
        if (module := self.find(name.replace("-", "_"))) is None:
            raise KeyError(name)
        return module

    def __len__(self) -> int:
        return len(self._list)

    @property
    def disabled(self) -> bool:
        """sysctl kernel.modules_disabled: modules can be neither loaded nor unloaded any more."""
        at = self._k.image.get("modules_disabled") if self._k.image is not None else None
        return self._disabled if at is None else bool(self._k.memory.u32(at))

    @disabled.setter
    def disabled(self, to: bool) -> None:
        self._disabled = to
        if self._k.image is not None:
            self._k.image.set("modules_disabled", to, 4)

    def check_permission(self, subject: str) -> None:
        """may_init_module(). Raises LoadError (EPERM) if they are disabled, or the process may not."""
        if self.disabled:
            reason = "modules are disabled (sysctl kernel.modules_disabled)"
        elif not self._k.creds.capable(CAP_SYS_MODULE):
            reason = "the process lacks CAP_SYS_MODULE"
        else:
            return
        raise LoadError(reason, errno=EPERM, subject=subject)

    def find(self, name: str) -> Module | None:
        """find_module_all(): the module with exactly this name, in any state, or None."""
        return next((module for module in self._list if module.name == name), None)

    def at(self, address: int) -> Module | None:
        """The module whose struct module is at ``address``, or None."""
        return next((module for module in self._list if module.address == address), None)

    def of_code(self, address: int) -> Module | None:
        """The module whose memory contains ``address``, or None: __module_address()."""
        return next((module for module in self._list if module.layout.contains(address)), None)

    def add(self, module: Module) -> None:
        """Insert a new module at the head of the list."""
        self._list.insert(0, module)

    def remove(self, module: Module) -> None:
        """Remove a module from the list."""
        self._list.remove(module)

    def find_symbol(self, name: str) -> FoundSymbol | None:
        """A symbol that the kernel or a formed module exports: find_symbol()."""
        if (symbol := self._k.symbols.find(name)) is not None:
            return symbol
        for module in self._list:
            if module.state is not ModuleState.UNFORMED and (symbol := module.exports.get(name)) is not None:
                return symbol
        return None

    def set_state(self, module: Module, state: ModuleState) -> None:
        """Set a module's state, in guest memory too."""
        module.state = state
        if module.address:
            self._k.memory.set_u32(module.address + self._state, state.value)

    def notify_going(self, module: Module) -> None:
        """Call the module notifiers for a module that goes, the kernel's own first; undo its patches."""
        self._k.srcu.module_going(module)
        self.notifiers.call(ModuleState.GOING.value, module.address)
        klp_module_going(self._k, module)

    # -- references -----------------------------------------------------------------------------------

    def exit_function(self, module: Module) -> int:
        """The address of its exit function, 0 if it has none: a loaded module may replace it."""
        return self._k.memory.u64(module.address + self._k.types.offset("module", "exit"))

    def refcount(self, module: Module) -> int:
        """module_refcount(): references without MODULE_REF_BASE; -1 while it is being unloaded."""
        return self._k.memory.s32(module.address + self._refcnt) - MODULE_REF_BASE

    def set_refcount(self, module: Module, count: int) -> None:
        """Store the reference count, which includes MODULE_REF_BASE."""
        self._k.memory.set_u32(module.address + self._refcnt, count)

    def get(self, module: Module) -> bool:
        """try_module_get()."""
        count = self._k.memory.s32(module.address + self._refcnt)
        if module.state is ModuleState.GOING or count == 0:
            return False
        self.set_refcount(module, count + 1)
        return True

    def put(self, module: Module) -> None:
        """module_put()."""
        count = self._k.memory.s32(module.address + self._refcnt)
        if count <= 0:
            warn(self._k, _PUT_TOO_OFTEN)
            return
        self.set_refcount(module, count - 1)

    def use(self, user: Module, owner: Module) -> bool:
        """ref_module(): make ``user`` depend on ``owner``; False if ``owner`` is not live yet."""
        if owner in user.uses:
            return True
        if owner.state is ModuleState.COMING or not self.get(owner):
            return False
        owner.users.insert(0, user)
        user.uses.insert(0, owner)
        return True

    def drop_uses(self, module: Module) -> None:
        """module_unload_free(): drop all dependencies of the module."""
        free_module_usages(self._k, module)
        for owner in module.uses:
            owner.users.remove(module)
            self.put(owner)
        module.uses.clear()

    # -- names ----------------------------------------------------------------------------------------

    def symbol_at(self, address: int) -> tuple[str, int, int, str] | None:
        """The module symbol that contains an address: name, offset and size in bytes, module's name."""
        if (module := self.of_code(address)) is None:
            return None
        layout, starts = module.layout, module.layout.symbol_starts
        first, end = layout.symbol_bounds(address)
        index = bisect.bisect_right(starts, address) - 1
        if index < 0 or starts[index] < first:
            return None
        if index + 1 < len(starts) and starts[index + 1] < end:
            end = starts[index + 1]
        size = (end - starts[index]) & (1 << 64) - 1
        return layout.symbol_names[index], address - starts[index], size, module.name

    def proc_modules(self) -> str:
        """The contents of /proc/modules, proc(5)."""
        words = {ModuleState.GOING: "Unloading", ModuleState.COMING: "Loading", ModuleState.LIVE: "Live"}
        lines = []
        for module in self._list:
            if module.state is ModuleState.UNFORMED:
                continue
            used_by = "".join(f"{user.name}," for user in module.users)
            if module.init and not self.exit_function(module):
                used_by += "[permanent],"
            size = module.layout.core_size + module.layout.init_size
            line = f"{module.name} {size} {self.refcount(module)} {used_by or '-'} {words[module.state]}"
            line += f" {module.layout.core:#018x}"
            lines.append(f"{line} {module.flags()}" if module.taints else line)
        return "".join(line + "\n" for line in lines)

    def linked_in(self) -> str:
        """The list at the end of an oops report: "Modules linked in: ..."."""
        names = [
            module.name + module.flags() for module in self._list if module.state is not ModuleState.UNFORMED
        ]
        line = "Modules linked in:" + "".join(f" {name}" for name in names)
        return line + (f" [last unloaded: {self.last_unloaded}]" if self.last_unloaded else "")


@export()
def try_module_get(k: Core, module: Ptr) -> Bool:
    """``bool try_module_get(struct module *module)``."""
    found = k.modules.at(module) if module else None
    return found is None if not module else found is not None and k.modules.get(found)


@export("__module_get")
def module_get(k: Core, module: Ptr) -> None:
    """void __module_get(struct module *module): unconditional, even while the module is being unloaded."""
    if module and (found := k.modules.at(module)) is not None:
        k.modules.set_refcount(found, k.modules.refcount(found) + MODULE_REF_BASE + 1)


@export()
def module_put(k: Core, module: Ptr) -> None:
    """void module_put(struct module *module)."""
    if module and (found := k.modules.at(module)) is not None:
        k.modules.put(found)


@export()
def module_refcount(k: Core, module: Ptr) -> Int:
    """``int module_refcount(struct module *mod)``."""
    found = k.modules.at(module)
    return k.modules.refcount(found) if found is not None else -1


@export("__module_put_and_kthread_exit")
def module_put_and_kthread_exit(k: Core, module: Ptr, code: Long) -> None:
    """void __noreturn __module_put_and_kthread_exit(struct module *mod, long code)."""
    module_put(k, module)
    k.kthreads.exit(code)


@export("__symbol_get", gpl=True)
def symbol_get(k: Core, name: CStr) -> Ptr:
    """void *__symbol_get(const char *symbol): its address, with a reference to its owner, or NULL."""
    symbol = k.modules.find_symbol(name.decode("latin-1"))
    if symbol is None:
        return 0
    if not symbol.gpl:
        k.printk(f"failing symbol_get of non-GPLONLY symbol {symbol.name}.\n", 4)
        return 0
    owner = k.modules[symbol.owner] if symbol.owner else None
    if owner is not None and (owner.state is ModuleState.COMING or not k.modules.get(owner)):
        return 0
    return symbol.address


@export("__symbol_put")
def symbol_put(k: Core, name: CStr) -> None:
    """void __symbol_put(const char *symbol): a symbol that no one exports is a bug."""
    symbol = k.modules.find_symbol(name.decode("latin-1"))
    k.percpu.add_preempt(1)
    if symbol is None:
        k.crash.bug(_NO_SYMBOL)
    if symbol.owner:
        k.modules.put(k.modules[symbol.owner])
    k.percpu.add_preempt(-1)


@export(gpl=True)
def symbol_put_addr(k: Core, address: Ptr) -> None:
    """void symbol_put_addr(void *addr): an address that is neither the kernel's nor a module's is a bug."""
    if (module := k.modules.of_code(address)) is not None:
        k.modules.put(module)
    elif k.kallsyms.lookup(address) is None:
        k.crash.bug(_NO_MODULE)


@export("__module_address")
def module_address(k: Core, address: Ptr) -> Ptr:
    """``struct module *__module_address(unsigned long addr)``."""
    module = k.modules.of_code(address)
    return module.address if module is not None else 0


@export()
def register_module_notifier(k: Core, block: Ptr) -> Int:
    """``int register_module_notifier(struct notifier_block *nb)``."""
    return k.modules.notifiers.register(block)


@export()
def unregister_module_notifier(k: Core, block: Ptr) -> Int:
    """``int unregister_module_notifier(struct notifier_block *nb)``."""
    return k.modules.notifiers.unregister(block)
