"""The kernel's parameters, as the kernel reads its command line, and what they say about loading modules.

The rules are those of next_arg() and parse_args() in Linux's lib/cmdline.c and kernel/params.c, and of the
parameters' own readers in kernel/module/main.c and init/main.c. modprobe reads the same line by other rules:
see :mod:`ukmod.kmod.cmdline`.
"""

from __future__ import annotations

import re

from ukmod.kmod.nextarg import SPACES, next_arg
from ukmod.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ukmod.kmod.config import Source

__all__ = ["BootArguments", "KernelPolicy", "kernel_arguments", "kstrtobool", "place_of", "policy_of"]

_LONGEST_VALUE = 1024
"""param_set_charp() refuses a value that is longer."""
_TRUE, _FALSE = frozenset("yYtT1"), frozenset("nNfF0")


@record
class BootArguments:
    """A kernel command line, and where it is from.

    ``condition`` says in which case it is to be considered, at ``source``.
    """

    text: str
    source: Source
    condition: str = "if it is booted by this entry"


@record
class KernelPolicy:
    """The parameters that make a kernel refuse modules, each with the place that says so.

    ``denied`` are names of module_blacklist=, ``initcalls`` functions of initcall_blacklist=; ``disabled`` is
    set if no module can be loaded at all, ``disabled_later`` if that is so once the system has come up,
    ``enforced`` if unsigned modules are refused, and ``enforced_if_built`` are parameters that ask for it: a
    kernel may not be built for them.
    """

    denied: tuple[tuple[str, Source], ...] = ()
    initcalls: tuple[tuple[str, Source], ...] = ()
    disabled: tuple[str, Source] | None = None
    disabled_later: tuple[str, Source] | None = None
    enforced: tuple[str, Source] | None = None
    enforced_if_built: tuple[tuple[str, Source], ...] = ()


def kernel_arguments(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield (name, value) of each parameter; the value is None without a ``=``.

    A lone ``--`` ends them: what follows is for init.
    """
    rest = text.partition("\0")[0].encode("utf-8", "surrogateescape").lstrip(SPACES)
    while rest:
        arg = next_arg(rest)
        rest = arg.rest
        if arg.name == b"--" and arg.value is None:
            return
        yield _text(arg.name), None if arg.value is None else _text(arg.value)


def _text(part: bytes) -> str:
    return part.decode("utf-8", "surrogateescape")


def policy_of(arguments: BootArguments) -> KernelPolicy:
    """Return what a command line says about loading modules."""
    source = arguments.source
    denied: list[str] = []
    initcalls: list[str] = []
    asked: list[str] = []
    flags: dict[str, str] = {}
    for name, value in kernel_arguments(arguments.text):
        parameter = name.replace("-", "_")
        if parameter == "module_blacklist" and value is not None and len(value) <= _LONGEST_VALUE:
            denied = value.split(",")  # the last one counts
        elif parameter == "initcall_blacklist" and value is not None:
            initcalls += value.split(",")  # all count
        elif parameter == "nomodule" and (is_set := _boolean(value)) is not None:
            flags[parameter] = name if is_set else ""
        elif parameter == "module.sig_enforce" and _boolean(value):
            asked.append(name)  # it cannot be taken back
        elif parameter == "lockdown" and value in {"integrity", "confidentiality"}:
            asked.append(f"{name}={value}")
        elif re.fullmatch("sysctl[./]kernel[./]modules_disabled", name) and value == "1":
            flags["sysctl"] = name
    disabled = flags.get("nomodule") or flags.get("sysctl")
    return KernelPolicy(
        denied=tuple([(name, source) for name in denied if name]),
        initcalls=tuple([(name, source) for name in initcalls if name]),
        disabled=(disabled, source) if disabled else None,
        enforced_if_built=tuple([(what, source) for what in asked]),
    )


def place_of(entries: Iterable[tuple[str, Source]], name: str) -> Source | None:
    """Return where the first entry for a name is."""
    return next((source for known, source in entries if known == name), None)


def kstrtobool(value: str) -> bool | None:
    """Read a flag: its first letter decides, or the first two of "on" and "off". None if it is neither."""
    if value[:1] in _TRUE or value[:2].lower() == "on":
        return True
    return False if value[:1] in _FALSE or value[:2].lower() == "of" else None


def _boolean(value: str | None) -> bool | None:
    """Read a parameter of type bool, which is set if it has no value."""
    return True if value is None else kstrtobool(value)
