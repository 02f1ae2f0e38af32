"""zstd for tests, from wherever this Python has it: the standard library (since 3.14) or its backport."""

from __future__ import annotations

try:
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    from backports import zstd  # type: ignore[no-redef, unused-ignore]

__all__ = ["zstd"]
