"""The settings and results of a survey: values that are sent between processes and written to a journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ukmod.kernel.trace import Request
from ukmod.record import record

PATIENCE = 60.0
"""Seconds of host CPU time: enough for all modules that do not hang. Debian's slowest, test_bpf, takes 28."""
KINDS = ("loads", "refuses", "rejected", "dependency", "unknown symbol", "oops", "stuck", "panic", "emulator")
"""The possible outcomes of trying a module, best first."""
CLASSES = (
    *("clean", "refused", "dangling", "leak", "misuse", "warning", "stays", "rejected"),
    *("unsupported", "timeout", "oops", "emulator"),
)
"""The classes that a survey counts, best first: see ModuleVerdict.classification."""
_CLASS_OF_KIND = {
    "refuses": "refused",
    "dependency": "refused",
    "rejected": "rejected",
    "unknown symbol": "unsupported",
    "oops": "oops",
    "stuck": "timeout",
    "panic": "oops",
    "emulator": "emulator",
}
PERMANENT = "it has no exit function and cannot be unloaded"
"""The error of delete_module() for a module that was not made to be unloaded."""


@record
class Settings:
    """The settings of a survey; a worker process gets no other input."""

    tree: str
    """The directory of modules."""
    image: str = ""
    """The kernel image; empty for the functions implemented in Python alone."""
    seconds: float = 1.0
    """Virtual seconds between loading and unloading."""
    patience: float = PATIENCE
    """The CPU time, in seconds on the host, allowed per module; so a busy host changes no verdict."""
    snapshot: bool = True
    """Whether to use the image's snapshot.

    A machine that has just been brought up has already translated code, which saves some 9 ms per module.
    """
    btf: str = ""
    """The kernel's BTF, for an image without it."""


@record
class ModuleVerdict:
    """The result for one module."""

    name: str
    kind: str
    """One of KINDS."""
    cause: str = ""
    """The reason, worded equally for all modules with the same cause; "ENODEV" for a refusal."""
    blemish: str = ""
    """The worst finding about a module that loads or refuses, worded likewise: "left kmalloc-64"."""
    unload: str = ""
    """"ok", or why it could not be unloaded; empty if it was not loaded."""
    warnings: tuple[str, ...] = ()
    """WARN()s raised while it was loaded, ran and was unloaded."""
    dangling: tuple[str, ...] = ()
    """Everything that it left running, pending or registered when it was unloaded."""
    leaks: tuple[str, ...] = ()
    """Memory lost with each load and unload of it, whoever allocated it."""
    reports: tuple[str, ...] = ()
    """Memory that it misused."""
    requests: tuple[Request, ...] = ()
    """Each request_module() made meanwhile."""
    log: tuple[str, ...] = ()
    """The lines logged while it and its dependencies were loaded, ran and were unloaded."""
    seconds: float = 0.0
    """Host CPU time without its dependencies: the only difference between two equal surveys."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModuleVerdict:
        """The verdict from its asdict() or JSON. Raises TypeError or KeyError for other values."""
        texts = {
            name: tuple(values[name])
            for name in ("warnings", "leaks", "reports", "log", "dangling")
            if name in values
        }
        return cls(**{**values, **texts, "requests": tuple(map(_request, values["requests"]))})

    @property
    def classification(self) -> str:
        """One of CLASSES: the worst that is known of the module.

        "clean": it loads and unloads without loss. "refused": its init function, or that of a dependency,
        returned an errno, as most drivers' do without their hardware. "stays": it cannot be unloaded, though
        it was made to be.
        """
        if self.kind in ("loads", "refuses"):
            if self.reports:
                return "misuse"
            if self.leaks:
                return "leak"
            if self.dangling:
                return "dangling"
            if self.warnings:
                return "warning"
        if self.kind == "loads":
            return "clean" if self.unload in ("ok", PERMANENT) else "stays"
        return _CLASS_OF_KIND[self.kind]

    @property
    def fine(self) -> bool:
        """True if it behaved as it should without its hardware."""
        return self.classification in ("clean", "refused")


def _request(values: Mapping[str, Any]) -> Request:
    return Request(**{**values, "resolved": tuple(values["resolved"]), "loaded": tuple(values["loaded"])})
