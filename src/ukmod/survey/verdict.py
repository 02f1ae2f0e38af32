"""What a survey is told and what it finds: values that go between processes, and into a journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ukmod.kernel.trace import Request

PATIENCE = 60.0
"""Seconds of the host's CPU time: enough for all but what hangs. Debian's slowest, test_bpf, takes 28."""
KINDS = ("loads", "refuses", "rejected", "dependency", "unknown symbol", "oops", "stuck", "panic", "emulator")
"""What may come of a module, the best first."""
CLASSES = (
    *("clean", "refused", "leak", "misuse", "warning", "stays", "rejected"),
    *("unsupported", "timeout", "oops", "emulator"),
)
"""What a survey counts, the best first: see Verdict.classification."""
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
"""What delete_module() says of a module that was not made to be unloaded."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a survey is made; a worker process is told no more."""

    tree: str
    """The directory of modules."""
    image: str = ""
    """The kernel image; empty for what Python implements alone."""
    seconds: float = 1.0
    """Virtual seconds between loading and unloading."""
    patience: float = PATIENCE
    """Seconds of the host's CPU time that one module may take; so a busy host changes no verdict."""
    snapshot: bool = True
    """Begin with the image's snapshot. In a machine that has been brought up code is translated already:
    that is worth some 9 ms a module."""
    btf: str = ""
    """The kernel's BTF, for an image without."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one module."""

    name: str
    kind: str
    """One of KINDS."""
    cause: str = ""
    """Why, in words that are the same for all modules with the same cause; "ENODEV" for a refusal."""
    blemish: str = ""
    """The worst that is to be said of a module that loads or refuses, in such words: "left kmalloc-64"."""
    unload: str = ""
    """"ok", or why it could not be unloaded; empty if it was not loaded."""
    warnings: tuple[str, ...] = ()
    """WARN()s that came true while it was loaded, ran and was unloaded."""
    leaks: tuple[str, ...] = ()
    """Memory that is lost with each load and unload of it, whoever allocated it."""
    reports: tuple[str, ...] = ()
    """Memory that it misused."""
    requests: tuple[Request, ...] = ()
    """Each request_module() that was made meanwhile."""
    log: tuple[str, ...] = ()
    """The lines that were logged while it, and what it needs, was loaded, ran and was unloaded."""
    seconds: float = 0.0
    """Of the host's CPU time, without what it needs: the only thing that differs between two surveys."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Verdict:
        """The verdict that asdict(), and JSON, made this of. Raises TypeError or KeyError for others."""
        texts = {name: tuple(values[name]) for name in ("warnings", "leaks", "reports", "log")}
        return cls(**{**values, **texts, "requests": tuple(map(_request, values["requests"]))})

    @property
    def classification(self) -> str:
        """One of CLASSES: the worst that is known of the module.

        It is "clean" if it loads and unloads and loses nothing; "refused" if its init function, or that of a
        module it needs, returned an errno, as most drivers' do without their hardware. "stays": it cannot be
        unloaded, though it was made to be.
        """
        if self.kind in ("loads", "refuses"):
            if self.reports:
                return "misuse"
            if self.leaks:
                return "leak"
            if self.warnings:
                return "warning"
        if self.kind == "loads":
            return "clean" if self.unload in ("ok", PERMANENT) else "stays"
        return _CLASS_OF_KIND[self.kind]

    @property
    def fine(self) -> bool:
        """It did what a kernel without its hardware would see it do."""
        return self.classification in ("clean", "refused")


def _request(values: Mapping[str, Any]) -> Request:
    return Request(**{**values, "resolved": tuple(values["resolved"]), "loaded": tuple(values["loaded"])})
