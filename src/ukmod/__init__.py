"""Linux's on-demand module loading, both halves of it, in Python.

The kernel half (``ukmod.Kernel``) needs the extra ``[machine]``; ``ukmod.kmod`` needs nothing. Names are
imported when first used, so that ``import ukmod`` costs what the caller uses and no more.
"""

from __future__ import annotations

__version__ = "0.1.0"
