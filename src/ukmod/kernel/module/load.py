"""finit_module(): from a file's bytes to a live module (load_module() of kernel/module/main.c)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EBUSY, EEXIST, EINTR, ENOENT, ENOEXEC, ENOMEM, EPERM
from typing import TYPE_CHECKING, Final

from ukmod.errors import FormatError, LimitError, LoadError
from ukmod.kernel import params
from ukmod.kernel.bug import Site, warn
from ukmod.kernel.image import modules as image_modules
from ukmod.kernel.image.sysfs import mod_sysfs_setup
from ukmod.kernel.kern_levels import KERN_ERR, KERN_NOTICE, KERN_WARNING
from ukmod.kernel.lib.printf_spec import signed
from ukmod.kernel.livepatch import klp_module_coming, klp_module_going
from ukmod.kernel.module import check as module_check
from ukmod.kernel.module import kallsyms
from ukmod.kernel.module import layout as module_layout
from ukmod.kernel.module.main import MODULE_NAME_LEN, MODULE_REF_BASE, Module, ModuleState
from ukmod.kernel.module.pending import pending_in
from ukmod.kernel.module.symbols import FoundSymbol
from ukmod.kernel.module.unload import free_module, unlink
from ukmod.kernel.module.validity import complaint
from ukmod.kernel.notifier import notifier_to_errno
from ukmod.kernel.oops import hashed
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE, TaskExitError
from ukmod.kernel.x86.tsc import wire_module
from ukmod.kmod.elf import EM_X86_64, ET_REL, SHF_ALLOC, Elf, Section
from ukmod.kmod.host import INIT_IGNORE_MODVERSIONS
from ukmod.kmod.linkage import KFLAGSTAB, KSYM_FLAG_GPL_ONLY
from ukmod.machine.relocate import RelocationOverflowError, RelocationRefusedError

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kmod.modfile import ModuleFile

_IMBALANCE: Final = Site("init/main.c", 1284, "do_one_initcall")
_NAMED = 20
"""How many unknown symbols an error names. The log has all of them, as the kernel's."""
_SYMBOL_WAIT = 30
"""How long to wait for a symbol of a module that is still being initialised, in seconds."""


ModuleArguments = str | Callable[[], str]
"""The parameters of a module as one string, or a function that reads them when their turn has come.

The function raises LoadError if it cannot.
"""


def load_module(k: Core, file: ModuleFile, args: ModuleArguments, *, flags: int = 0) -> Module:
    """Load a module from its file, run its init function, and make it live.

    Raises LoadError with the errno of finit_module(2); the
    kernel's own message is in the log.
    """
    k.modules.check_permission(file.path)
    elf, signed = _open(k, file)
    module = _prepare(k, elf, file.path, flags)
    # The keys this kernel trusts are not known, so signatures of in-tree modules are assumed to be valid. A
    # module whose versions are ignored is not the one that was signed.
    module.signed = signed and "intree" in module.modinfo and not flags & module_check.MANGLED
    _reserve_place(k, module)
    undo: list[Callable[[], None]] = [lambda: k.modules.drop_uses(module), lambda: _unlink(k, module)]
    try:
        _link_in(k, module, elf)
        text = args if isinstance(args, str) else args()
        _form(k, module, elf)
        undo.insert(0, lambda: k.modules.set_state(module, ModuleState.GOING))
        _coming(k, module)
        undo.insert(0, lambda: _going(k, module))
        undo.insert(0, lambda: params.destroy_params(k, module))
        _parse_args(k, module, text)
        mod_sysfs_setup(k, module)
    except BaseException as error:
        if not isinstance(error, TaskExitError):  # after an oops the module stays as it is, as in the kernel
            for step in undo:
                step()
        raise
    _initialise(k, module, elf)
    return module


# -- reading --------------------------------------------------------------------------------------------


def _open(k: Core, file: ModuleFile) -> tuple[Elf, bool]:
    """elf_validity_check() on the module without its appended signature."""
    path = file.path
    try:
        signature = file.signature()
        wrong = _complaint(k, file, signature.module_size if signature is not None else None)
        elf = file.elf()
        if elf.type != ET_REL:
            text = f"an ELF file of type {elf.type} is not a relocatable object file ({ET_REL})"
            raise FormatError(text, path=path)
        if elf.machine != EM_X86_64:
            raise FormatError(f"built for machine {elf.machine}, this one is x86-64 ({EM_X86_64})", path=path)
        if not elf.fits(signature.module_size if signature is not None else len(elf)):
            raise FormatError("a section lies beyond the end of the module", path=path)
        if wrong:
            raise FormatError(wrong, path=path)
        name = dict(elf.modinfo()).get("name") or "(missing .modinfo section or name field)"
        if wrong := module_check.wrong_modinfo(k, elf):
            k.printk(f"{wrong}\n", KERN_ERR)
            raise FormatError(wrong, path=path)
        if not elf.symbols:
            k.printk(f"{name}: module has no symbols (stripped?)\n", KERN_WARNING)
            raise FormatError("the module has no symbol table (stripped?)", path=path)
        if wrong := module_check.wrong_struct_sections(k, elf, name):
            k.printk(f"{wrong}\n", KERN_ERR)
            raise FormatError(wrong, path=path)
        this_module = elf.section(".gnu.linkonce.this_module")
        if this_module is None or not this_module.flags & SHF_ALLOC:
            k.printk(f"{name}: No module found in object\n", KERN_WARNING)
            raise FormatError("no .gnu.linkonce.this_module section: this is not a kernel module", path=path)
    except FormatError as error:
        raise LoadError(error.message, errno=ENOEXEC, subject=path) from error
    return elf, signature is not None


def _complaint(k: Core, file: ModuleFile, size: int | None) -> str:
    """Log and return the message of this kernel's elf_validity_check(); "" for a valid file.

    ``size`` is that of the file without its signature, in bytes; None if it has none.
    """
    source = file.source()
    wrong = complaint(source, len(source) if size is None else size)
    if wrong is None or not module_check.has_text(k, wrong.format):
        return ""
    k.printk(f"{wrong}\n", KERN_ERR)
    return str(wrong)


def _prepare(k: Core, elf: Elf, path: str, flags: int) -> Module:
    """Do all checks that precede the module's entry into the list."""
    modinfo: dict[str, list[str]] = {}
    for key, value in elf.modinfo():
        modinfo.setdefault(key, []).append(value)
    name = modinfo.get("name", [""])[0] or _name_in_struct(k, elf)
    if not name or len(name) >= MODULE_NAME_LEN:
        raise LoadError(f"'{name}' is not a valid module name", errno=ENOEXEC, subject=path)
    if name in k.modules.blacklist:
        k.printk(f"Module {name} is blacklisted\n", KERN_ERR)
        raise LoadError("the kernel's command line forbids it: module_blacklist=", errno=EPERM, subject=name)
    module = Module(name, path, module_layout.ModuleLayout(), modinfo=modinfo, since=k.clock.now)
    module.has_versions = elf.section("__versions") is not None and not flags & INIT_IGNORE_MODVERSIONS
    module.versions = elf.versions() if module.has_versions else {}
    module.namespaces = frozenset(modinfo.get("import_ns", ()))
    module_check.check_struct_module(k, module, _this_module(elf).size)
    k.adopt(elf, module)
    try:
        module.layout = module_layout.allocate(k, elf, name)
        if k.shadow is not None:
            k.shadow.allow(module.layout.core, module.layout.core_size)
            k.shadow.allow(module.layout.init, module.layout.init_size)
        module_check.check_modinfo(k, module, flags)
    except FormatError as error:
        raise LoadError(error.message, errno=ENOEXEC, subject=name) from error
    except LimitError as error:
        raise LoadError(error.message, errno=ENOMEM, subject=name) from error
    except LoadError:
        module_layout.free(module.layout, k.module_area, k.percpu)
        raise
    return module


def _name_in_struct(k: Core, elf: Elf) -> str:
    data, offset = elf.section_data(_this_module(elf)), k.types.offset("module", "name")
    return bytes(data[offset : offset + MODULE_NAME_LEN]).split(b"\0")[0].decode("latin-1")


def _this_module(elf: Elf) -> Section:
    """The section of struct module, whose presence _open() has checked."""
    section = elf.section(".gnu.linkonce.this_module")
    assert section is not None
    return section


def _reserve_place(k: Core, module: Module) -> None:
    """add_unformed_module(): names are unique; a second module waits until the first is loaded or fails."""
    modules = k.modules
    old = modules.find(module.name)
    if old is not None:
        if old.state in (ModuleState.COMING, ModuleState.UNFORMED):

            def finished() -> bool:
                found = modules.find(module.name)
                return found is None or found.state in (ModuleState.LIVE, ModuleState.GOING)

            interrupted = modules.waiters.wait_event(finished, TASK_INTERRUPTIBLE) < 0
            old = modules.find(module.name)
            if interrupted:
                module_layout.free(module.layout, k.module_area, k.percpu)
                raise LoadError(
                    "interrupted while a module of that name was loading", errno=EINTR, subject=module.name
                )
        module_layout.free(module.layout, k.module_area, k.percpu)
        live = old is not None and old.state is ModuleState.LIVE
        message = (
            "already loaded"
            if live
            else "a module of that name has just failed to load, or is being unloaded"
        )
        raise LoadError(message, errno=EEXIST if live else EBUSY, subject=module.name)
    modules.add(module)
    if not module.signed and k.types.has("module", "sig_ok"):  # CONFIG_MODULE_SIG
        if not k.taint.has("E"):
            text = "module verification failed: signature and/or required key missing - tainting kernel"
            k.printk(f"{module.name}: {text}\n", KERN_NOTICE)
        module_check.taint(k, module, "E")


def _unlink(k: Core, module: Module) -> None:
    kallsyms.unlist_module(k, module)
    image_modules.free_btf_data(k, module)
    image_modules.free_modinfo(k, module)
    unlink(k, module)


# -- linking --------------------------------------------------------------------------------------------


def _link_in(k: Core, module: Module, elf: Elf) -> None:
    """simplify_symbols(), apply_relocations(), and reading struct module."""
    missing: list[tuple[str, int]] = []

    def resolve(name: str, weak: bool) -> int:  # noqa: FBT001 - a callback
        symbol, error = _resolve(k, module, name)
        if symbol is not None:
            return symbol.address
        if not weak or error:
            errno = error or ENOENT
            k.printk(f"{module.name}: Unknown symbol {name} (err {-errno})\n", KERN_WARNING)
            missing.append((name, errno))
        return 0

    def warn(text: str) -> None:
        k.printk(f"{module.name}: {text}\n", KERN_WARNING)

    try:
        values = module_layout.symbol_values(elf, module.layout, resolve, warn)
        if missing:
            names = ", ".join(name for name, _ in missing[:_NAMED])
            if len(missing) > _NAMED:
                names += f" and {len(missing) - _NAMED} more"
            raise LoadError(f"unknown symbol {names}", errno=missing[-1][1], subject=module.name)
        module_layout.fill(elf, module.layout, values, k.memory, k.percpu.base)
    except RelocationOverflowError as error:
        k.printk(f"module: overflow in relocation type {error.kind} val {error.value:x}\n", KERN_ERR)
        k.printk(f"module: `{module.name}' likely not compiled with -mcmodel=kernel\n", KERN_ERR)
        raise LoadError(error.message, errno=ENOEXEC, subject=module.name) from error
    except RelocationRefusedError as error:
        loc = hashed(k, error.place)
        k.printk(error.log.format(module=module.name, loc=loc) + "\n", KERN_ERR)
        raise LoadError(error.message, errno=ENOEXEC, subject=module.name) from error
    except FormatError as error:
        raise LoadError(error.message, errno=ENOEXEC, subject=module.name) from error
    module_layout.index_symbols(elf, module.layout, values)
    _read_struct(k, module, elf)
    if k.image is not None:
        kallsyms.list_module(k, module)
        kallsyms.add_kallsyms(k, module, elf, values)
        if "livepatch" in module.modinfo:
            kallsyms.copy_module_elf(k, module, elf)


def _resolve(k: Core, module: Module, name: str) -> tuple[FoundSymbol | None, int]:
    """resolve_symbol_wait(): a symbol, or the errno for the message (0 if there is no such symbol)."""
    modules = k.modules
    found: tuple[FoundSymbol | None, int] = (None, EBUSY)

    def ready() -> bool:
        nonlocal found
        found = _resolve_now(k, module, name)
        return found[1] != EBUSY

    if not ready() and modules.waiters.wait_event(ready, TASK_INTERRUPTIBLE, _SYMBOL_WAIT * k.clock.hz) <= 0:
        symbol = modules.find_symbol(name)
        owner = symbol.owner if symbol is not None else ""
        k.printk(f"{module.name}: gave up waiting for init of module {owner}.\n", KERN_WARNING)
    return found


def _resolve_now(k: Core, module: Module, name: str) -> tuple[FoundSymbol | None, int]:
    symbol = k.modules.find_symbol(name)
    if symbol is None or not module_check.check_licence(k, module, symbol):
        return None, 0
    try:
        module_check.check_version(k, module, symbol)
        module_check.check_namespace(k, module, symbol)
    except LoadError as error:
        return None, error.errno
    owner = k.modules.find(symbol.owner)
    if owner is not None and not k.modules.use(module, owner):
        return None, EBUSY if owner.state is ModuleState.COMING else ENOENT
    return symbol, 0


def _read_struct(k: Core, module: Module, elf: Elf) -> None:
    """Fill in struct module, and read what the kernel needs from it and its sections."""
    memory, offset, layout = k.memory, k.types.offset, module.layout
    module.address, _ = layout.sections[".gnu.linkonce.this_module"]
    module.init = memory.u64(module.address + offset("module", "init"))
    for head in ("list", "source_list", "target_list"):
        at = module.address + offset("module", head)
        memory.set_u64(at, at)
        memory.set_u64(at + 8, at)
    module.params, params_size = layout.sections.get("__param", (0, 0))
    module.param_count = params_size // k.types.sizeof("kernel_param") if params_size else 0
    memory.set_u64(module.address + offset("module", "kp"), module.params)
    memory.set_u32(module.address + offset("module", "num_kp"), module.param_count)
    # One reference while init runs, in addition to MODULE_REF_BASE.
    k.modules.set_refcount(module, MODULE_REF_BASE + 1)
    k.modules.set_state(module, ModuleState.UNFORMED)
    module_layout.fill_struct(k.types, layout, module.address, memory)
    if k.image is not None:
        image_modules.fill_struct(k, module, elf)
    for suffix, gpl in (("", False), ("_gpl", True)):
        module.exports.update(_exports(k, module, suffix, gpl=gpl))


def _exports(k: Core, module: Module, suffix: str, *, gpl: bool) -> dict[str, FoundSymbol]:
    """The symbols in __ksymtab or __ksymtab_gpl: three relative offsets each (include/linux/export.h)."""
    memory, sections = k.memory, module.layout.sections
    start, size = sections.get("__ksymtab" + suffix, (0, 0))
    crcs, crcs_size = sections.get("__kcrctab" + suffix, (0, 0))
    flags, flags_size = sections.get(KFLAGSTAB + suffix, (0, 0))
    found = {}
    for n in range(size // 12):
        value, name, namespace = (at + memory.s32(at) for at in range(start + 12 * n, start + 12 * n + 12, 4))
        text = memory.cstring(name).decode("latin-1")
        space = memory.cstring(namespace).decode("latin-1") if namespace != start + 12 * n + 8 else ""
        crc = memory.u32(crcs + 4 * n) if 4 * n < crcs_size else None
        gpl_only = gpl or (n < flags_size and bool(memory.u8(flags + n) & KSYM_FLAG_GPL_ONLY))
        found[text] = FoundSymbol(text, value & (1 << 64) - 1, gpl_only, space, crc, module.name)
    return found


# -- starting -------------------------------------------------------------------------------------------


def _form(k: Core, module: Module, elf: Elf) -> None:
    """complete_formation(): check for duplicate exports, protect the memory, set the state to COMING."""
    for name in module.exports:
        if (other := k.modules.find_symbol(name)) is not None:
            text = f"exports duplicate symbol {name} (owned by {other.owner or 'kernel'})"
            k.printk(f"{module.name}: {text}\n", KERN_ERR)
            raise LoadError(text, errno=ENOEXEC, subject=module.name)
    layout = module.layout
    wire_module(k, module, elf)
    module_layout.protect(elf, layout, k.memory)
    k.cpu.flush_icache(layout.core, layout.core_text_end - layout.core)
    k.cpu.flush_icache(layout.init, layout.init_text_end - layout.init)
    k.modules.set_state(module, ModuleState.COMING)


def _coming(k: Core, module: Module) -> None:
    """prepare_coming_module(): apply live patches, call the notifiers; each of them may refuse the module."""
    if error := klp_module_coming(k, module):
        raise LoadError("a live patch of it refused it", errno=-error, subject=module.name)
    k.srcu.module_coming(module)
    answer = k.modules.notifiers.call_robust(
        ModuleState.COMING.value, ModuleState.GOING.value, module.address
    )
    if errno := notifier_to_errno(answer):
        k.srcu.module_going(module)
        klp_module_going(k, module)
        raise LoadError("a module notifier refused it", errno=errno, subject=module.name)


def _going(k: Core, module: Module) -> None:
    k.modules.set_state(module, ModuleState.GOING)
    k.modules.notify_going(module)


def _parse_args(k: Core, module: Module, args: str) -> None:
    text = args.encode("utf-8", "surrogateescape")
    error = params.parse_args(k, module.name, text, module.params, module.param_count)
    if error:
        raise LoadError(f"invalid parameters '{args}'", errno=-error, subject=module.name)


def _initialise(k: Core, module: Module, elf: Elf) -> None:
    """do_init_module()."""
    modules, owner = k.modules, k.sched.task()
    owner.owner, before = module.name, owner.owner
    k.trace.step(
        owner.pid, k.tasks.comm(owner), "init", k.kallsyms.sprint(module.init) if module.init else "none"
    )
    try:
        _construct(k, module)
        result = _do_one_initcall(k, module) if module.init else 0
    finally:
        owner.owner = before
    k.trace.step(owner.pid, k.tasks.comm(owner), "init returns", str(result))
    if result < 0:
        pending = pending_in(k, module)
        modules.set_state(module, ModuleState.GOING)
        k.rcu.synchronize()  # wait for everyone who may have seen it live
        modules.put(module)
        modules.notify_going(module)
        free_module(k, module, pending)
        raise LoadError(f"its init function returned {result}", errno=-result, subject=module.name)
    if result > 0:
        text = f"'{module.name}'->init suspiciously returned {result}, it should follow 0/-E convention\n"
        k.printk(f"do_init_module: {text}do_init_module: loading module anyway...\n", KERN_WARNING)
        k.crash.dump_stack()
    modules.set_state(module, ModuleState.LIVE)
    k.trace.step(owner.pid, k.tasks.comm(owner), "live", module.name)
    modules.notifiers.call(ModuleState.LIVE.value, module.address)
    if not _async_probe_requested(k, module):
        k.async_calls.synchronize()
    modules.put(module)
    module_layout.protect_after_init(elf, module.layout, k.memory)
    k.slab.settle(module)
    module_layout.free_init(module.layout, k.module_area)
    module_layout.fill_struct(k.types, module.layout, module.address, k.memory)
    image_modules.free_btf_data(k, module)
    modules.waiters.wake_all()


def _construct(k: Core, module: Module) -> None:
    """do_mod_ctors(): with CONFIG_CONSTRUCTORS, as KASAN's checks of variables need it."""
    if not k.types.has("module", "ctors"):
        return
    start, size = module.layout.sections.get(".ctors") or module.layout.sections.get(".init_array", (0, 0))
    for at in range(start, start + size, 8):
        k.cpu.call(k.memory.u64(at))


def _async_probe_requested(k: Core, module: Module) -> bool:
    if not k.types.has("module", "async_probe_requested"):
        return False
    return bool(k.memory.u8(module.address + k.types.offset("module", "async_probe_requested")))


def _do_one_initcall(k: Core, module: Module) -> int:
    count = k.percpu.preempt_count()
    result = signed(k.cpu.call(module.init), 4)
    if k.percpu.preempt_count() != count:
        k.percpu.set_preempt(count)
        name = k.kallsyms.sprint(module.init)
        warn(k, _IMBALANCE, f"initcall {name} returned with preemption imbalance ")
    return result
