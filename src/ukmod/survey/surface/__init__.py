"""Proof of the attack surface: system calls that have the emulated kernel ask for modules."""

from __future__ import annotations

from ukmod.survey.surface.proof import asked_by, prove

__all__ = ["asked_by", "prove"]
