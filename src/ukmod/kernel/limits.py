"""The limits of what a machine can be asked for, on the command line and in Python."""

from __future__ import annotations

MAX_HZ = 10_000
"""Ticks a second; no kernel can be configured with more than 1,000."""
MAX_SECONDS = 10**9
"""Virtual seconds, some 30 years: what the clock, in nanoseconds, can count to."""
