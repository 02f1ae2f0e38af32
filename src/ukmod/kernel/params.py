"""Module parameters: kernel/params.c, and its users in kernel/module/main.c.

A parameter is a struct kernel_param in the module's ``__param`` section. It is set and read by the functions
in its ``ops``, either the module's own or those of params_ops.py, called in the same way as the kernel does.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EACCES, EINVAL, ENOENT, ENOSPC, EPERM
from typing import TYPE_CHECKING, Final

from ukmod.errors import LoadError, NotFoundError
from ukmod.kernel.export import export
from ukmod.kernel.kern_levels import KERN_ERR, KERN_NOTICE, KERN_WARNING
from ukmod.kernel.lib.kstrtox import parse_bool
from ukmod.kernel.lib.printf_spec import FormatType, Spec, signed
from ukmod.kernel.lib.vsprintf_text import string
from ukmod.kmod.nextarg import SPACES, next_arg
from ukmod.machine.abi import Ptr
from ukmod.machine.memory import PAGE_SIZE, page_align
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.module.main import Module

FL_NOARG: Final = 1 << 0
"""kernel_param_ops.flags: the parameter needs no value."""
FL_UNSAFE: Final = 1 << 0
"""kernel_param.flags: setting it taints the kernel."""
_LEVEL = -1
"""The level of module_param(); others belong to the boot stages."""
_READABLE, _WRITABLE = 0o444, 0o222


@record
class KernelParam:
    """A struct kernel_param and its address."""

    address: int
    name: str
    ops: int
    perm: int
    level: int
    flags: int
    arg: int
    """The object of ``ops``: the variable, or a struct kparam_array or kparam_string."""


@record
class Ops:
    """A struct kernel_param_ops: the addresses of its functions, or 0."""

    flags: int
    set: int
    get: int
    free: int


def read_param(k: Core, address: int) -> KernelParam:
    """The struct kernel_param at an address."""
    memory, at = k.memory, k.types.offset
    return KernelParam(
        address,
        memory.cstring(memory.u64(address + at("kernel_param", "name"))).decode("utf-8", "surrogateescape"),
        memory.u64(address + at("kernel_param", "ops")),
        memory.u16(address + at("kernel_param", "perm")),
        signed(memory.u8(address + at("kernel_param", "level")), 1),
        memory.u8(address + at("kernel_param", "flags")),
        memory.u64(address + at("kernel_param", "arg")),
    )


def read_ops(k: Core, address: int) -> Ops:
    """The struct kernel_param_ops at an address."""
    memory, at = k.memory, k.types.offset
    set_, get, free = (memory.u64(address + at("kernel_param_ops", name)) for name in ("set", "get", "free"))
    return Ops(memory.u32(address + at("kernel_param_ops", "flags")), set_, get, free)


def params_at(k: Core, address: int, count: int) -> Iterator[KernelParam]:
    """The ``count`` parameters of a ``__param`` section."""
    size = k.types.sizeof("kernel_param")
    return (read_param(k, address + n * size) for n in range(count))


def parse_args(k: Core, module_name: str, args: bytes, address: int, count: int) -> int:
    """Set a module's parameters from its arguments; returns 0, or the errno of the last refusal.

    A set function that returns more than 0 refuses the parameter, but not the module: the kernel takes the
    number for a pointer to the arguments after "--", and prints those.

    Like the kernel, it continues after a refused parameter. It calls the module's functions, so it needs a
    current task.
    """
    params = {_same(param.name): param for param in params_at(k, address, count)}
    texts = _Texts(k, args)
    error = 0
    rest = args.lstrip(SPACES)
    try:
        while rest:
            arg = next_arg(rest)
            rest = arg.rest
            if arg.name == b"--" and arg.value is None:
                if not error:
                    _ignored(k, module_name, rest.decode("utf-8", "replace"))
                break
            name = arg.name.decode("utf-8", "surrogateescape")
            param = params.get(_same(name))
            if param is None:
                _unknown(k, module_name, name, arg.value)
                continue
            value = texts.put(arg.value)
            if result := _parse_one(k, param, value):
                # Print the value as the set function left it: an array's cuts it in place.
                _complain(k, module_name, name, k.memory.cstring(value) if value else b"", result)
                error = result
    finally:
        texts.close()
    if error > 0:
        _ignored(k, module_name, string(k, error, Spec(FormatType.STR)).decode("utf-8", "replace"))
    return min(error, 0)


def _ignored(k: Core, module_name: str, arguments: str) -> None:
    k.printk(f"{module_name}: parameters '{arguments}' after `--' ignored\n", KERN_WARNING)


def _same(name: str) -> str:
    """The form in which names are compared: dashes and underscores are equivalent."""
    return name.replace("-", "_")


def _unknown(k: Core, module_name: str, name: str, value: bytes | None) -> None:
    """unknown_module_param_cb(): an unknown parameter is reported, but the module is not refused."""
    if name == "async_probe":
        _request_async_probe(k, module_name, value)
        return
    # The search for "dyndbg" cuts the name at its first dot, so the message has only that part.
    owner, dot, local = name.partition(".")
    if (local if dot else name) != "dyndbg":
        k.printk(f"{module_name}: unknown parameter '{owner}' ignored\n", KERN_WARNING)


def _request_async_probe(k: Core, module_name: str, value: bytes | None) -> None:
    """``mod->async_probe_requested``: loading such a module does not wait for its asynchronous calls."""
    if (module := k.modules.find(module_name)) is not None and k.types.has("module", "async_probe_requested"):
        k.memory.set_u8(module.address + k.types.offset("module", "async_probe_requested"), _requested(value))


def _requested(value: bytes | None) -> bool:
    """A value that is no bool asks for it too."""
    try:
        return value is None or parse_bool(value)
    except ValueError:
        return True


def _complain(k: Core, module_name: str, name: str, value: bytes, error: int) -> None:
    shown = value.decode("utf-8", "replace")
    if error == -ENOENT:
        k.printk(f"{module_name}: Unknown parameter `{name}'\n", KERN_ERR)
    elif error == -ENOSPC:
        k.printk(f"{module_name}: `{shown}' too large for parameter `{name}'\n", KERN_ERR)
    else:
        k.printk(f"{module_name}: `{shown}' invalid for parameter `{name}'\n", KERN_ERR)


def _parse_one(k: Core, param: KernelParam, value: int) -> int:
    if param.level != _LEVEL:
        return 0
    ops = read_ops(k, param.ops)
    if not value and not ops.flags & FL_NOARG:
        return -EINVAL
    return _set(k, param, ops, value)


def _set(k: Core, param: KernelParam, ops: Ops, value: int) -> int:
    if param.flags & FL_UNSAFE:
        k.printk(f"Setting dangerous option {param.name} - tainting kernel\n", KERN_NOTICE)
        k.taint.add("U")
    return signed(k.cpu.call(ops.set, value, param.address), 4)


class _Texts:
    """Guest memory for the values in ``args``, which exists while the parameters are being set."""

    def __init__(self, kernel: Core, args: bytes) -> None:
        # A value's NUL takes the place of a space or of the end of the string.
        self._k = kernel
        self._size = page_align(len(args) + 2)
        self._frame = kernel.memory.alloc_frames(self._size // PAGE_SIZE)
        self._next = self._start = kernel.memory.map_direct(self._frame, self._size)

    def put(self, value: bytes | None) -> int:
        """Store a value; returns its address, or 0 if there is no value."""
        if value is None:
            return 0
        address = self._next
        self._k.memory.write(address, value + b"\0")
        self._next += len(value) + 1
        return address

    def close(self) -> None:
        """Free the memory."""
        self._k.memory.unmap(self._start, self._size)
        self._k.memory.free_frames(self._frame, self._size // PAGE_SIZE)


# -- /sys/module/NAME/parameters --------------------------------------------------------------------------


def names(k: Core, module: Module) -> list[str]:
    """The parameters that have a file, that is those with permissions."""
    return [param.name for param in params_at(k, module.params, module.param_count) if param.perm]


def _find(k: Core, module: Module, name: str) -> KernelParam:
    for param in params_at(k, module.params, module.param_count):
        if param.name == name and param.perm:
            return param
    raise NotFoundError("no such parameter file", subject=f"/sys/module/{module.name}/parameters/{name}")


def read(k: Core, module: Module, name: str) -> str:
    """The contents of a parameter's file.

    Raises NotFoundError, or LoadError with the errno returned by ``get``, or EACCES for a file that is not
    readable. It calls the module's functions, so it needs a current task.
    """
    param = _find(k, module, name)
    if not param.perm & _READABLE:
        raise LoadError("the parameter may not be read", errno=EACCES, subject=name)
    get = read_ops(k, param.ops).get
    if not get:
        raise LoadError("the parameter cannot be read", errno=EPERM, subject=name)
    frame = k.memory.alloc_frames(1)
    buffer = k.memory.map_direct(frame, PAGE_SIZE)
    try:
        length = signed(k.cpu.call(get, buffer, param.address), 4)
        if length < 0:
            raise LoadError("the parameter cannot be read", errno=-length, subject=name)
        return k.memory.read(buffer, min(length, PAGE_SIZE)).decode("utf-8", "surrogateescape")
    finally:
        k.memory.unmap(buffer, PAGE_SIZE)
        k.memory.free_frames(frame, 1)


def write(k: Core, module: Module, name: str, text: str) -> int:
    """Write a parameter's file once: param_attr_store(). Raises NotFoundError.

    Returns 0, the negative errno of ``set``, or, if that is more than 0, the bytes that it says it has taken.

    A file without write permission is -EACCES even for root: see kernfs_fop_open().
    """
    param = _find(k, module, name)
    if not param.perm & _WRITABLE:
        return -EACCES
    ops = read_ops(k, param.ops)
    if not ops.set:
        return -EPERM
    value = text.encode("utf-8", "surrogateescape")
    texts = _Texts(k, value)
    try:
        return _set(k, param, ops, texts.put(value))
    finally:
        texts.close()


def destroy_params(k: Core, module: Module) -> None:
    """Free what the parameters of an unloaded module point to. Needs a current task."""
    for param in params_at(k, module.params, module.param_count):
        if free := read_ops(k, param.ops).free:
            k.cpu.call(free, param.arg)


@export(gpl=False)
def kernel_param_lock(k: Core, module: Ptr) -> None:
    """``void kernel_param_lock(struct module *mod)``: no lock needed, as parameters change only in calls."""
    del k, module


@export(gpl=False)
def kernel_param_unlock(k: Core, module: Ptr) -> None:
    """``void kernel_param_unlock(struct module *mod)``."""
    del k, module
