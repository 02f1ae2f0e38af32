"""delete_module(): unloading a live module (kernel/module/main.c)."""

from __future__ import annotations

from errno import EAGAIN, EBUSY, ENOENT
from typing import TYPE_CHECKING

from ukmod.errors import LoadError
from ukmod.kernel import params
from ukmod.kernel.image import modules as image_modules
from ukmod.kernel.image.sysfs import mod_sysfs_teardown
from ukmod.kernel.limits import MAX_REPORTS
from ukmod.kernel.module import kallsyms
from ukmod.kernel.module import layout as module_layout
from ukmod.kernel.module.main import Module, ModuleState
from ukmod.kernel.module.pending import pending_in, threads_in
from ukmod.kernel.module.pointers import pointers_to
from ukmod.kernel.uapi import O_TRUNC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kernel.core import Core
    from ukmod.kernel.module.dangling import Dangling


def delete_module(k: Core, name: str, flags: int = 0) -> None:
    """Run a module's exit function and free it.

    Raises LoadError with the errno of delete_module(2): ENOENT (not loaded), EAGAIN (in use; the kernel calls
    it EWOULDBLOCK), EBUSY (still initialising, already unloading, or without an exit function).
    """
    k.modules.check_permission(name)
    module = k.modules.find(name)
    if module is None:
        raise LoadError("not loaded", errno=ENOENT, subject=name)
    if module.users:
        users = " ".join(user.name for user in module.users)
        raise LoadError(f"in use by {users}", errno=EAGAIN, subject=name)
    if module.state is not ModuleState.LIVE:
        raise LoadError(f"its state is {module.state.name}", errno=EBUSY, subject=name)
    if module.init and not k.modules.exit_function(module) and not _force(k, flags):
        raise LoadError("it has no exit function and cannot be unloaded", errno=EBUSY, subject=name)
    count = k.modules.refcount(module)
    if count > 0 and not _force(k, flags):
        raise LoadError(f"in use ({count} references)", errno=EAGAIN, subject=name)
    if count <= 0:  # try_release_module_ref(): references held by others remain
        k.modules.set_refcount(module, 0)
    k.modules.set_state(module, ModuleState.GOING)
    _finish(k, module)


def _force(k: Core, flags: int) -> bool:
    """try_force_unload(): O_TRUNC unloads a module in use, if the kernel was built to allow that.

    It is called only where the module would be refused, so that only force taints.
    """
    if not (flags & O_TRUNC and k.force_unload):
        return False
    k.crash.debug_locks_off()
    k.taint.add("R")
    return True


def _finish(k: Core, module: Module) -> None:
    modules, task = k.modules, k.sched.task()
    if exit_function := modules.exit_function(module):
        task.owner, before = module.name, task.owner
        try:
            k.cpu.call(exit_function)
        finally:
            task.owner = before
    pending = pending_in(k, module)
    modules.notify_going(module)
    k.async_calls.synchronize()
    modules.last_unloaded = module.name + module.flags(state=False)
    free_module(k, module, pending)


def free_module(k: Core, module: Module, pending: Sequence[Dangling]) -> None:
    """free_module(): what is pending for it, and what still points to it, is recorded in ``k.dangling``."""
    modules = k.modules
    mod_sysfs_teardown(k, module)
    modules.set_state(module, ModuleState.UNFORMED)
    modules.drop_uses(module)
    params.destroy_params(k, module)
    kallsyms.unlist_module(k, module)
    k.rcu.synchronize()
    image_modules.free_btf_data(k, module)
    image_modules.free_modinfo(k, module)
    k.slab.settle(module, gone=True)
    k.dangling += _left_by(k, module, pending)
    del k.dangling[MAX_REPORTS:]
    unlink(k, module)


def unlink(k: Core, module: Module) -> None:
    """Remove a module from the list, free its memory, and wake tasks that wait to load it again."""
    k.modules.remove(module)
    k.lockdep.forget(module.layout.core, module.layout.core_size)
    module_layout.free(module.layout, k.module_area, k.percpu)
    k.modules.waiters.wake_all()


def _left_by(k: Core, module: Module, pending: Sequence[Dangling]) -> list[Dangling]:
    """Everything that a module leaves behind that is about to be freed; ``pending`` is what its exit left."""
    # The object of a pending call points to the module, and the kernel's lists to the object.
    known = {call.target for call in pending} | {f"to {call.target}" for call in pending}
    pointers = (one for one in pointers_to(k, module) if one.place not in known and one.target not in known)
    return [*threads_in(k, module), *pending, *pointers]
