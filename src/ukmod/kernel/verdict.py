"""What a survey is told and what it finds: values that go between processes, and into a journal."""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE = 60.0
"""Seconds of host time: enough for all but what hangs."""
KINDS = ("loads", "refuses", "rejected", "dependency", "unknown symbol", "oops", "stuck", "panic", "emulator")
"""What may come of a module, the best first."""


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
    """Seconds of host time that one module may take."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one module."""

    name: str
    kind: str
    """One of KINDS."""
    cause: str = ""
    """Why, in words that are the same for all modules with the same cause; "ENODEV" for a refusal."""
    unload: str = ""
    """"ok", or why it could not be unloaded; empty if it was not loaded."""
    warnings: int = 0
    leaks: int = 0
    reports: int = 0
    seconds: float = 0.0
    """Of host time, without what it needs."""

    @property
    def fine(self) -> bool:
        """It did what a kernel without its hardware would see it do."""
        return self.kind in ("loads", "refuses")
