"""The limits of what a machine can be asked for, on the command line and in Python, and of what it keeps."""

from __future__ import annotations

MAX_HZ = 10_000
"""Ticks a second; no kernel can be configured with more than 1,000."""
MAX_REPORTS = 1_000
"""The number of warnings, of reports of misused memory and of dangling references that are kept.

Later warnings and reports are in the log only.
"""
MAX_TRACE = 10_000
"""The number of steps of usermode helpers, and of requests, that are kept: the latest."""
OOPS_LIMIT = 10_000
"""kernel.oops_limit: after so many oopses the kernel panics."""
PATIENCE = 300.0
"""Seconds of the host's CPU time: the default for how long one call of a machine may take."""
MEMORY = 1 << 30
"""The default size of RAM in bytes."""
MIN_MEMORY = 16 << 20
"""The minimum size of RAM in bytes: enough for a kernel without an image and a few modules."""
MAX_MEMORY = 64 << 30
"""The maximum size of RAM in bytes: what the direct map's page tables allow."""
MAX_SECONDS = 10**9
"""Virtual seconds, some 30 years: what the clock, in nanoseconds, can count to."""
WAIT = 300.0
"""Virtual seconds after which insmod(), rmmod(), call() and the like wait no longer."""
