"""Functions of an image for the files of tracefs that list the functions that can be traced."""

from __future__ import annotations

from errno import ENODEV
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.machine.abi import Int

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@export("ftrace_avail_open", "ftrace_avail_addrs_open", "ftrace_enabled_open", "ftrace_touched_open")
def ftrace_avail_open(k: Core) -> Int:
    """int ftrace_avail_open(struct inode *inode, struct file *file): the image has no records of functions.

    What is traced is Python's: see kernel/ftrace.py. It is the errno of a kernel whose ftrace has failed.
    """
    del k
    return -ENODEV
