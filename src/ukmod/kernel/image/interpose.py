"""Interposition: the entry of an image function that Python implements jumps to Python's stub.

Image code that allocates, sleeps, queues work or prints thus does so in this kernel, as a module does. A
function begins with ``call __fentry__``, five bytes that ftrace would patch, or with other instructions that
nothing jumps into. A five-byte jump is therefore safe if the function is long enough. It never overwrites an
instruction that the kernel itself patches (``sites``): if there is one, the jump lies behind it, and two
bytes at the entry lead there. What it overwrites in the function's body is no longer executed. A function
without room for a jump, as a kernel built for size has some, begins with a breakpoint instead.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Container, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from ukmod.errors import LayoutError, LimitError
from ukmod.kernel.export import Export
from ukmod.kernel.exports import kernel_functions
from ukmod.kernel.image.internal import internal_functions
from ukmod.kernel.image.map import MappedImage
from ukmod.kernel.image.sites import free_place, patched_sites
from ukmod.kernel.x86.kprobes import INT3
from ukmod.machine.abi import parameters, result
from ukmod.machine.image.callers import brings_up
from ukmod.machine.image.symbols import ImageSymbol
from ukmod.machine.stubs import JUMP_SIZE, RET
from ukmod.machine.types.layout import Kind, Prototype
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.machine.types.types import Types

SAME_AS: Final = {
    "native_queued_spin_lock_slowpath": "queued_spin_lock_slowpath",
    "__pv_queued_spin_lock_slowpath": "queued_spin_lock_slowpath",
    "synchronize_rcu_tasks": "synchronize_rcu",
    "vmalloc_huge": "__vmalloc",
    "__alloc_percpu_gfp": "__alloc_percpu",
    "_printk_deferred": "_printk",
}
"""Functions of the image that are replaced by a Python function of another name."""

RETURNS: Final = {
    "kernel_fpu_begin_mask": "no task's FPU state has to be saved: they all share the CPU's",
    "kernel_fpu_end": "the same",
    "fpregs_assert_state_consistent": "the same",
    "rt_mutex_setprio": "tasks have no priorities",
    "rt_mutex_pre_schedule": "workers are Python's, and need not be told that one of them sleeps",
    "rt_mutex_post_schedule": "the same",
    "preempt_schedule": "tasks are switched when they call the kernel, never elsewhere",
    "preempt_schedule_notrace": "the same",
    "rebuild_sched_domains": "there is one CPU, and no domain of it",
    "sched_dl_do_global": "the same; the bandwidth of deadlines is not shared out",
    "setup_per_zone_wmarks": "pages are Python's: zones have no watermarks",
    "print_cpu": "the run queue of sched/debug in debugfs is Python's",
    "rcu_read_unlock_special": "grace periods look for readers themselves; readers need not report",
    "rcu_note_context_switch": "the same",
    "kfree_rcu_scheduler_running": "RCU is Python's",
    "workqueue_set_min_active": "workqueues are Python's",
    "folio_add_lru": "memory is not reclaimed: pages need no order",
    "folio_add_lru_vma": "the same",
    "folio_mark_accessed": "the same",
    "vm_unmap_aliases": "the MMU's TLB is flushed whenever a mapping goes",
    "flush_tlb_all": "the same",
    "flush_tlb_kernel_range": "the same",
    "native_io_delay": "port 0x80 is not slow here",
    "clflush_cache_range": "there is no cache",
    "wbinvd_on_all_cpus": "the same",
    "wake_up_nohz_cpu": "a timer wakes its task itself",
    "wakeup_softirqd": "softirqs run at the next interrupt",
    "mcheck_cpu_init": "no machine checks",
    "touch_softlockup_watchdog": "this kernel has a watchdog of its own",
}
"""Functions patched to return at once, and why that is correct."""

_PART: Final = re.compile(r"(.+)\.part\.\d+")
"""A part that the compiler has moved out of a function."""
_SHORT_JUMP_SIZE: Final = 2
_SHORT_JUMP_RANGE: Final = 127


@record
class Replacement:
    """A function of images, by name, and the Python function that replaces it; None if it only returns."""

    name: str
    function: Callable[..., Any] | None
    adapts: bool = False
    """Python's function reads the image's prototype itself."""


def replacements(types: Types) -> tuple[Replacement, ...]:
    """All functions that are replaced in an image that has them, each name once; internal/ goes first.

    An image with these types keeps the others, such as the mutexes of PREEMPT_RT (``Export.unless``).
    """
    ours = kernel_functions()
    found = {name: Replacement(name, None) for name in RETURNS}
    for name, other in SAME_AS.items():
        exported, function = ours[other]
        found[name] = Replacement(name, function, exported.adapts)
    for name, (exported, function) in ours.items():
        if not (exported.native or exported.image_first or exported.left_to(types) or name in SAME_AS):
            found[name] = Replacement(name, function, exported.adapts)
    for name, (exported, function) in internal_functions().items():
        found[name] = Replacement(name, function, exported.adapts)
    return tuple(found.values())


def parts(symbols: Iterable[ImageSymbol], functions: Iterable[Replacement]) -> dict[str, str]:
    """The parts of functions that are replaced along with them: the names of both.

    The compiler moves the larger part of a function out of it, and callers that have inlined the rest call
    that part. It has the function's parameter if there is no more than one; of several, some may be left out.
    """
    whole = {
        function.name
        for function in functions
        if function.function is not None and len(parameters(function.function)[0]) <= 1
    }
    found = ((symbol.name, _PART.fullmatch(symbol.name)) for symbol in symbols)
    return {name: match[1] for name, match in found if match is not None and match[1] in whole}


def misfit(replacement: Replacement, types: Types) -> str:
    """How the image's prototype differs from what Python's function reads; empty if it does not.

    A static function may have no prototype in BTF; it is taken to fit.
    """
    prototype = types.prototype(replacement.name)
    if prototype is None or replacement.function is None or replacement.adapts:
        return ""
    why = difference(replacement.function, prototype)
    return f"{prototype}: {why}" if why else ""


def difference(function: Callable[..., Any], prototype: Prototype) -> str:
    """How a prototype differs from the types of a Python function; empty if it passes what is read."""
    mine, variadic = parameters(function)
    theirs = prototype.parameters
    if len(mine) > len(theirs):
        return f"{len(mine)} parameters are read"
    if variadic and not prototype.variadic:
        return "it is not variadic"
    for (name, kind), parameter in zip(mine, theirs, strict=False):
        if kind.size != parameter.type.size:
            return f"{name} is read as {kind.name}"
    if result(function) is None and prototype.returns.kind is not Kind.VOID:
        return "its result is not given"
    return ""


def interpose(k: Core, image: MappedImage) -> tuple[str, ...]:
    """Patch the entry of every function of the image that Python implements.

    A function that Python would read the wrong arguments of stays as it is. Returns what is wrong with each.
    Raises LayoutError if the image's init code calls one.
    """
    there = (function for function in replacements(k.types) if image.get(function.name) is not None)
    unfit = {function.name: why for function in there if (why := misfit(function, k.types))}
    for name, caller in brings_up(image.image, {image.address(name): name for name in unfit}).items():
        text = f"{unfit[name]}: {caller}() calls it, so that the kernel cannot be brought up"
        raise LayoutError(text, subject=image.image.path)
    sites = patched_sites(image.image)
    for name, address in _targets(k, image):
        if name.partition(".")[0] not in unfit:
            _lead(k, image, sites, name, address)
    for name in RETURNS:
        if (at := image.get(name)) is not None:
            k.memory.write(at, RET, force=True)
    k.cpu.flush_code()
    return tuple(unfit.values())


def _targets(k: Core, image: MappedImage) -> Iterator[tuple[str, int]]:
    """The functions to patch, and the addresses of the stubs that replace them."""
    wholes = parts(image.symbols, replacements(k.types))
    there = {name: [name] if image.get(name) is not None else [] for name in _names(k)}
    for part, whole in wholes.items():
        if whole in there:
            there[whole].append(part)
    inside = internal_functions()
    for name, found in there.items():
        if found and name in inside:
            exported, function = inside[name]
            address = k.symbols.add_function(Export(name, exported.gpl), function).address
        elif found:
            address = k.symbols.address(SAME_AS.get(name, name))
        yield from ((other, address) for other in found)


def _names(k: Core) -> Iterator[str]:
    """The functions that are replaced in this machine's image, if it has them."""
    yield from internal_functions()
    for name, (exported, _) in k.symbols.functions().items():
        if not (exported.native or k.symbols.is_images(exported) or name in SAME_AS):
            yield name
    yield from SAME_AS


def jump_place(sites: Container[int], function: int, size: int) -> int | None:
    """The offset of the jump in a function of ``size`` bytes: 0, or one that two bytes at the entry reach.

    None if there is no room for one, or if the kernel patches an instruction that each would overwrite.
    """
    room = min(size, _SHORT_JUMP_SIZE + _SHORT_JUMP_RANGE + JUMP_SIZE)
    place = free_place(sites, function, room, JUMP_SIZE)
    if not place:
        return place
    short = free_place(sites, function, _SHORT_JUMP_SIZE, _SHORT_JUMP_SIZE)
    return None if short is None else max(place, _SHORT_JUMP_SIZE)


def entry_code(sites: Container[int], function: int, size: int, target: int) -> dict[int, bytes] | None:
    """The code that leads from a function's entry to ``target``, by address: jumps, or else a breakpoint.

    None if the kernel patches the function's first instruction.
    """
    if (place := jump_place(sites, function, size)) is None:
        return None if free_place(sites, function, len(INT3), len(INT3)) is None else {function: INT3}
    jump = function + place
    code = {jump: b"\xe9" + struct.pack("<i", target - (jump + JUMP_SIZE))}
    return code | {function: bytes((0xEB, place - _SHORT_JUMP_SIZE))} if place else code


def _lead(k: Core, image: MappedImage, sites: Container[int], name: str, target: int) -> None:
    """Have a function of the image begin with a way to the stub of the Python function that replaces it."""
    at = image.address(name)
    code = entry_code(sites, at, image.symbols.size_at(at), target)
    if code is None:
        text = f"the function {name} cannot be replaced: the kernel patches its first instruction"
        raise LimitError(text, subject=image.image.path)
    if code.get(at) == INT3:
        image.breakpoints[at] = target
    for address, instruction in code.items():
        k.memory.write(address, instruction, force=True)
