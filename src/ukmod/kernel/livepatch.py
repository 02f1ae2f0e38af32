"""Live patches of modules that come and go: kernel/livepatch/core.c, which is the image's own.

A patch may be there before the module that it patches. The module loader tells the image of each module, also
so that a later patch finds the module (``klp_alive``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.lib.printf_spec import signed

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.main import Module


def klp_module_coming(k: Core, module: Module) -> int:
    """int klp_module_coming(struct module *mod): apply the patches of a module; 0, or a negative errno."""
    if k.image is None or (function := k.image.get("klp_module_coming")) is None:
        return 0
    return signed(k.cpu.call(function, module.address), 4)


def klp_module_going(k: Core, module: Module) -> None:
    """void klp_module_going(struct module *mod): undo the patches of a module."""
    if k.image is not None and (function := k.image.get("klp_module_going")) is not None:
        k.cpu.call(function, module.address)
