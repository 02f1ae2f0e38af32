"""Checks before a module is loaded: vermagic, licence, symbol versions and namespaces.

Each check prints the kernel's message and raises LoadError (kernel/module/main.c, version.c).
"""

from __future__ import annotations

from errno import EINVAL, ENOEXEC
from typing import TYPE_CHECKING, Final, NoReturn

from ukmod.errors import LoadError
from ukmod.kernel.kern_levels import KERN_ERR, KERN_NOTICE, KERN_WARNING
from ukmod.kmod.elf import SHF_ALLOC, SHT_NOBITS
from ukmod.kmod.host import INIT_IGNORE_MODVERSIONS, INIT_IGNORE_VERMAGIC
from ukmod.kmod.linkage import GPL_COMPATIBLE, is_for, licence

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.main import Module
    from ukmod.kernel.module.symbols import FoundSymbol
    from ukmod.kmod.elf import Elf

MANGLED: Final = INIT_IGNORE_MODVERSIONS | INIT_IGNORE_VERMAGIC
LOCKDEP_NOW_UNRELIABLE: Final = frozenset("PF")
"""Taints after which the kernel does not trust its lock debugging."""
_WRONG_SIZE: Final = (
    ".gnu.linkonce.this_module section size must match the kernel's built struct module size at run time"
)
_ONE_MODINFO: Final = "Only one .modinfo section must exist."
_ONE_STRUCT: Final = (
    "Only one .gnu.linkonce.this_module section must exist.",
    "Exactly one .gnu.linkonce.this_module section must exist.",
)
"""As kernels word it, each by one of these."""
_NO_SIZE: Final = ".gnu.linkonce.this_module section must have a size set"
_NO_MEMORY: Final = ".gnu.linkonce.this_module must occupy memory during process execution"
_FORCED: Final = "%s: %s: kernel tainted.\n"
"""The kernel's message. If an image does not contain a message like this one, it lacks the feature."""


def check_struct_module(k: Core, module: Module, size: int) -> None:
    """Check that the module's struct module matches this kernel's. Raises LoadError (ENOEXEC).

    Both the CRC of all structs that module loading uses (check_modstruct_version()) and the size in bytes
    must match. Since v6.3 elf_validity_check() checks the size first. An older kernel with CONFIG_MODVERSIONS
    detects a mismatch by the CRC; one without would accept the module, which helps nobody, so the size is
    checked here too.
    """
    is_right = size == k.types.sizeof("module")
    if not is_right and has_text(k, _WRONG_SIZE):
        _refuse_size(k, module, size)
    if (layout := k.symbols.find("module_layout")) is not None:
        try:
            check_version(k, module, layout)
        except LoadError as error:
            raise LoadError(error.message, errno=ENOEXEC, subject=module.name) from error
    if not is_right:
        _refuse_size(k, module, size)


def wrong_modinfo(k: Core, elf: Elf) -> str:
    """The kernel's message about several .modinfo sections, which kernels refuse since v6.3; else ""."""
    several = sum(section.name == ".modinfo" for section in elf.sections) > 1
    return _ONE_MODINFO if several and k.image is not None and has_text(k, _ONE_MODINFO) else ""


def wrong_struct_sections(k: Core, elf: Elf, name: str) -> str:
    """The kernel's message about the sections of struct module, as elf_validity_check() has it since v6.3.

    Empty for what it accepts, and for an older kernel. ``name`` is the module's.
    """
    found = [section for section in elf.sections if section.name == ".gnu.linkonce.this_module"]
    is_one = len(found) == 1
    if is_one and found[0].type != SHT_NOBITS and found[0].flags & SHF_ALLOC:
        return ""  # as all but damaged ones: the image is not searched
    one = next((text for text in _ONE_STRUCT if k.image is not None and has_text(k, text)), "")
    if not one:
        return ""
    wrong = _NO_SIZE if is_one and found[0].type == SHT_NOBITS else _NO_MEMORY
    return f"module {name}: {wrong if is_one else one}"


def _refuse_size(k: Core, module: Module, size: int) -> NoReturn:
    k.printk(f"module {module.name}: {_WRONG_SIZE}\n", KERN_ERR)
    text = f"its struct module has {size} bytes, this kernel's {k.types.sizeof('module')}"
    raise LoadError(text, errno=ENOEXEC, subject=module.name)


def has_text(k: Core, text: str) -> bool:
    """True if this kernel has the message ``text``; without an image, it has those of every version."""
    return k.image is None or k.image.image.has_text(text)


def _same_magic(module: str, kernel: str, *, versions: bool) -> bool:
    """True if the vermagic matches; with symbol versions, its first word, the release, may differ."""
    if versions:
        module, kernel = module.partition(" ")[2], kernel.partition(" ")[2]
    return module == kernel


def check_modinfo(k: Core, module: Module, flags: int) -> None:
    """check_modinfo(): check vermagic and taint the kernel. Raises LoadError (ENOEXEC)."""
    info, name = module.modinfo, module.name
    magic = info.get("vermagic", [""])[0] if not flags & INIT_IGNORE_VERMAGIC else ""
    if not magic:
        force(k, module, "bad vermagic")
    elif k.vermagic is None:
        k.vermagic = magic
    elif not _same_magic(magic, k.vermagic, versions=module.has_versions):
        k.printk(f"{name}: version magic '{magic}' should be '{k.vermagic}'\n", KERN_ERR)
        raise LoadError(f"built for '{magic}', this kernel is '{k.vermagic}'", errno=ENOEXEC, subject=name)
    if "intree" not in info:
        if not k.taint.has("O"):
            k.printk(f"{name}: loading out-of-tree module taints kernel.\n", KERN_WARNING)
        taint(k, module, "O")
    if "staging" in info:
        taint(k, module, "C")
        text = "module is from the staging directory, the quality is unknown, you have been warned."
        k.printk(f"{name}: {text}\n", KERN_WARNING)
    if "livepatch" in info and k.image is not None:
        _check_livepatch(k, module)
    terms = licence(info.get("license", ()))
    if terms not in GPL_COMPATIBLE:
        if not k.taint.has("P"):
            k.printk(f"{name}: module license '{terms}' taints kernel.\n", KERN_WARNING)
        taint(k, module, "P")
    if "test" in info:
        if not k.taint.has("N"):
            k.printk(f"{name}: loading test module taints kernel.\n", KERN_WARNING)
        taint(k, module, "N")


def _check_livepatch(k: Core, module: Module) -> None:
    """check_modinfo_livepatch(). Raises LoadError (ENOEXEC)."""
    if not k.types.has("module", "klp"):
        text = "module is marked as livepatch module, but livepatch support is disabled"
        k.printk(f"{module.name}: {text}\n", KERN_ERR)
        raise LoadError("is a live patch; livepatch support is disabled", errno=ENOEXEC, subject=module.name)
    taint(k, module, "K")
    k.printk(f"{module.name}: tainting kernel with TAINT_LIVEPATCH\n", KERN_NOTICE)


def taint(k: Core, module: Module, letter: str) -> None:
    """add_taint_module()."""
    if letter in LOCKDEP_NOW_UNRELIABLE:
        k.crash.debug_locks_off()
    k.taint.add(letter)
    module.taints.add(letter)


def force(k: Core, module: Module, reason: str) -> None:
    """try_to_force_load(): refused without CONFIG_MODULE_FORCE_LOAD. Debian sets it."""
    if not (k.force_load and has_text(k, _FORCED)):
        raise LoadError(f"{reason}; forced loading is off", errno=ENOEXEC, subject=module.name)
    if not k.taint.has("F"):
        k.printk(_FORCED % (module.name, reason), KERN_WARNING)
    taint(k, module, "F")


def check_licence(k: Core, module: Module, symbol: FoundSymbol) -> bool:
    """True if the module's licence allows the symbol; to a proprietary module, GPL-only ones do not exist."""
    if symbol.gpl and "P" in module.taints:
        return False
    if symbol.gpl:
        module.uses_gpl_only = True
    owner = k.modules.find(symbol.owner)
    if owner is None or "P" not in owner.taints:
        return True
    about = f"symbols {symbol.name} from proprietary module {owner.name}"
    if module.uses_gpl_only:
        k.printk(f"{module.name}: module using GPL-only symbols uses {about}.\n", KERN_ERR)
        return False
    if "P" not in module.taints:
        k.printk(f"{module.name}: module uses {about}, inheriting taint.\n", KERN_WARNING)
        module.taints.add("P")
    return True


def check_version(k: Core, module: Module, symbol: FoundSymbol) -> None:
    """check_version(): check that the module was built against this version. Raises LoadError (EINVAL)."""
    if symbol.crc is None:
        return
    if not module.has_versions:
        force(k, module, symbol.name)
        return
    crc = module.versions.get(symbol.name)
    if crc == symbol.crc:
        return
    if crc is None:
        k.printk(f"{module.name}: no symbol version for {symbol.name}\n", KERN_WARNING)
    else:
        k.printk(f"{module.name}: disagrees about version of symbol {symbol.name}\n", KERN_WARNING)
    raise LoadError(f"symbol {symbol.name} has a different version", errno=EINVAL, subject=module.name)


def check_namespace(k: Core, module: Module, symbol: FoundSymbol) -> None:
    """verify_namespace_is_imported(). Raises LoadError (EINVAL)."""
    space = symbol.namespace
    if not space or space in module.namespaces or is_for(space, module.name):
        return
    text = f"module uses symbol ({symbol.name}) from namespace {symbol.namespace}, but does not import it."
    k.printk(f"{module.name}: {text}\n", KERN_ERR)
    raise LoadError(text, errno=EINVAL, subject=module.name)
