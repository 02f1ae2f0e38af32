"""Limits of a process that tests set on themselves or on a process of theirs."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes: write(2) is cut short, then fails with EFBIG, as on a full disk.

    Python keeps the bytecode of a module that it imports meanwhile even if that write was cut short, and
    every later process fails with "marshal data too short". So no bytecode is written while the limit holds.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = kept
