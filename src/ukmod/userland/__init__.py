"""The programs a usermode helper can execute, in process.

A program is a Python function of its process: it gets arguments, an environment and the system calls of the
emulated kernel, and nothing of the host. What it returns is its exit status.
"""

from ukmod.userland.process import Process, Program, Syscalls
from ukmod.userland.programs import Programs

__all__ = ["Process", "Program", "Programs", "Syscalls"]
