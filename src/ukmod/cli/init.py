"""``ukmod run --root ROOT --init``: the root's own init in an emulated kernel, at the host's terminal."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

from ukmod.cli.host_end import host_input, shown_at
from ukmod.cli.progress import Progress
from ukmod.cli.run import find_modules, kernel_of
from ukmod.cli.terminal import one_line_warnings, write_lines
from ukmod.errors import KernelPanic, PatienceError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.image.choice import AUTO
from ukmod.kernel.limits import WAIT
from ukmod.kernel.printk import Record
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.user.init import boot_init
from ukmod.kernel.user.line import HostLine
from ukmod.kernel.user.provide import provide
from ukmod.kernel.user.stdio import OutputSink
from ukmod.kmod.visible import escape


def main(options: argparse.Namespace) -> int:
    """Run the command; its exit status."""
    tree, named = find_modules(options, options.kernel[0] if options.kernel else None)
    if given := [params for _, params in named if params]:
        raise UsageError("is no module; parameters are for insmod there", subject=given[0].split()[0])
    image = options.kernel[0] if options.kernel else AUTO
    with one_line_warnings("ukmod run"), kernel_of(options, image, tree) as k:
        modules = k.open_modules(file for file, _ in named)
        with Progress("bringing up the kernel image"):
            k.boot(modules, programs=True)
            if modules:
                provide(k.process, k.core.release, modules)
        sys.stdout.flush()
        reason, is_orderly = _booted(k, options.seconds)
        write_lines([f"ukmod run: {reason}"], sys.stderr)
        return 0 if is_orderly and not k.oopses else 1


def _booted(k: Kernel, seconds: float | None) -> tuple[str, bool]:
    """Boot init at the host's terminal, and run the machine to its end: why it has ended, and if in order."""
    is_terminal = os.isatty(0)
    show = partial(shown_at, 1)
    limit = WAIT if seconds is None and not is_terminal else seconds
    with host_input() as host:
        newline = "\r\n" if is_terminal else "\n"
        k.on_record(lambda record: _log(record, show, newline))
        line = HostLine(k.core, host)
        try:
            reason = boot_init(k.core, line.text, show, limit)
        except (KernelPanic, PatienceError) as error:
            return f"the machine stopped: {error}", False
        finally:
            k.core.sched.outside = None
    if reason is None:
        return f"init has not ended after {k.core.clock.now / NSEC_PER_SEC:g} virtual seconds", False
    return str(reason), True


def _log(record: Record, show: OutputSink, newline: str) -> None:
    """Show a line of the log, as the console does."""
    show((escape(record.dmesg()).replace("\n", newline) + newline).encode(errors="backslashreplace"))
