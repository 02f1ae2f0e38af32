"""The kernel's answer to a module: refused, taken, or not to be known; decided on facts alone."""

from __future__ import annotations

from ukmod.kmod.kernelargs import kernel_arguments, place_of
from ukmod.kmod.objections import Note
from ukmod.kmod.parameters import EVERY_MODULE, is_bad_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kmod.kernelargs import KernelPolicy
    from ukmod.kmod.objections import ModuleFacts

__all__ = ["builtin_notes", "option_note", "option_notes", "policy_notes"]

_USUAL_NAMES = ("{}_init", "init_{}", "{}_module_init", "{}_mod_init", "{}_driver_init", "{}_init_module")
"""Names that init functions usually have, for the module of a name."""


def policy_notes(facts: ModuleFacts, policy: KernelPolicy) -> Iterator[Note]:
    """Yield why the kernel refuses a module, whatever is in its file."""
    if policy.disabled is not None:
        what, where = policy.disabled
        yield Note("modules-disabled", f"the kernel loads no module at all: {what}", fatal=True, source=where)
    source = place_of(policy.denied, facts.name)
    if source is not None:
        text = f"the kernel refuses {facts.name}: module_blacklist="
        yield Note("module-blacklist", text, fatal=True, source=source)
    source = place_of(policy.initcalls, facts.init) if facts.init else None
    if source is not None:
        text = f"the kernel does not run its init function: initcall_blacklist={facts.init}"
        yield Note("initcall-blacklist", text, fatal=True, source=source)
    if policy.enforced is not None and not facts.signed and facts.parameters is not None:
        what, where = policy.enforced
        yield Note("signature-enforced", f"not signed, and the kernel wants that: {what}", True, where)


def option_notes(facts: ModuleFacts, options: str) -> Iterator[Note]:
    """Yield the options of a module that the kernel ignores or refuses, with the reason."""
    for name, value in kernel_arguments(options):
        if (note := option_note(facts, name, value)) is not None:
            yield note


def option_note(facts: ModuleFacts, name: str, value: str | None) -> Note | None:
    """Return why the kernel ignores or refuses an option; None if it takes it, or if that is not known.

    ``value`` is None for an option without a ``=``.
    """
    parameter = name.replace("-", "_")
    if facts.parameters is None:
        return None
    if parameter not in facts.parameters:
        if parameter in EVERY_MODULE:
            return None
        return Note("parameter-unknown", f"it has no parameter {name}: the kernel ignores that")
    kind = facts.parameters[parameter]
    if not is_bad_value(kind, value):
        return None
    given = name if value is None else f"{name}={value}"
    text = f"the kernel refuses the option {given}: the parameter is of the type {kind}"
    return Note("parameter-value", text, fatal=True)


def builtin_notes(name: str, policy: KernelPolicy, functions: dict[str, str] | None) -> Iterator[Note]:
    """Yield why a built-in module may not work: its init function is on the kernel's list.

    ``functions`` are the init functions of built-in modules, with their modules; None if they are not known.
    A note is fatal where they are.
    """
    for function, source in policy.initcalls:
        is_own = functions is not None and functions.get(function) == name
        looks_so = functions is None and function in {one.format(name) for one in _USUAL_NAMES}
        if is_own or looks_so:
            text = f"the kernel does not run its init function: initcall_blacklist={function}"
            kind = "initcall-blacklist" if is_own else "initcall-blacklist-likely"
            likely = "" if is_own else " (as far as its name tells)"
            yield Note(kind, text + likely, fatal=is_own, source=source)
