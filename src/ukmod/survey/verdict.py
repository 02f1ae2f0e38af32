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
MEANINGS = {
    "clean": "loaded, ran and unloaded",
    "refused": "its init function returned an error, as most drivers' do without their hardware",
    "dangling": "something was still pending or registered after unloading",
    "leak": "memory was lost each time",
    "misuse": "memory was misused",
    "warning": "the kernel warned",
    "stays": "it cannot be unloaded",
    "rejected": "the kernel refused the file",
    "unsupported": "a symbol is missing",
    "timeout": "it did not end",
    "oops": "it crashed",
    "emulator": "the emulator failed",
}
"""The words of a survey's table, and what they mean, best first: see ModuleVerdict.classification."""
CLASSES = tuple(MEANINGS)
"""The classes that a survey counts, best first."""
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


FINE = ("clean", "refused")
"""The classes of a module that behaves as it should without its hardware."""
_TEXTS = ("warnings", "leaks", "reports", "log", "dangling")
"""The members of a verdict that are lines of text."""


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
        """The verdict from its asdict() or JSON. TypeError, ValueError or KeyError for other values."""
        texts = {name: tuple(values[name]) for name in _TEXTS if name in values}
        found = cls(**{**values, **texts, "requests": tuple(map(_request, values["requests"]))})
        lines = [line for name in texts for line in texts[name]]
        strings = [found.name, found.kind, found.cause, found.blemish, found.unload, *lines]
        if not all(isinstance(one, str) for one in strings):
            raise TypeError("a text is not one")
        if found.kind not in KINDS or not isinstance(found.seconds, (int, float)):
            raise ValueError("there is no such outcome")
        return found

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
    def reason(self) -> str:
        """Why it is in its class, worded equally for all modules of one reason; empty if it is clean."""
        if self.classification in ("leak", "dangling", "misuse", "warning"):
            return self.blemish
        if self.classification == "stays":
            return self.unload
        return f"needs {self.cause}" if self.kind == "dependency" else self.cause

    @property
    def fine(self) -> bool:
        """True if it behaved as it should without its hardware."""
        return self.classification in FINE


def _request(values: Mapping[str, Any]) -> Request:
    return Request(**{**values, "resolved": tuple(values["resolved"]), "loaded": tuple(values["loaded"])})
