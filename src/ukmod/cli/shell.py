"""``ukmod shell [MODULE.ko ...]``: a shell in an emulated kernel, with the modules at hand."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.cli import command_lines
from ukmod.cli.host_end import host_input, shown_at, size_of
from ukmod.cli.progress import Progress
from ukmod.cli.run import find_modules
from ukmod.cli.static import is_static
from ukmod.cli.terminal import one_line_warnings
from ukmod.errors import NotFoundError, UsageError
from ukmod.kernel.api import Kernel
from ukmod.kernel.image.choice import AUTO
from ukmod.kernel.trees import Loadable
from ukmod.kernel.user.provide import provide
from ukmod.machine.image.installed import installed

if TYPE_CHECKING:
    from ukmod.kernel.user.process import UserProcess

SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh")
"""The shells that a root may have, the best first."""
BUSYBOX: Final = "/bin/busybox"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = command_lines.shell().parse_args(argv)
    busybox = _busybox() if options.root is None else None
    tree, named = find_modules(options, options.kernel)
    if given := [params for _, params in named if params]:
        raise UsageError("is no module; parameters are for insmod, in the shell", subject=given[0].split()[0])
    image = options.kernel or (AUTO if named or tree is not None or options.root else _newest())
    with (
        one_line_warnings("ukmod shell"),
        Kernel(
            tree=tree,
            image=image,
            memory=options.memory,
            patience=options.patience,
            root=options.root,
            snapshot=options.snapshot,
        ) as k,
    ):
        modules = k.open_modules(file for file, _ in named)
        with Progress("bringing up the kernel image"):
            k.boot(modules, programs=True)
            shell, directory = _furnish(k, busybox, modules)
        words = [shell, *(("-c", options.command) if options.command is not None else ())]
        env = {"HOME": "/root", "TERM": os.environ.get("TERM", "dumb"), "PATH": _PATH, "PWD": directory}
        return interact_with_host(k, words, env, directory)


def _newest() -> str:
    """The newest kernel of this machine, for a shell without modules."""
    kernels = installed()
    if not kernels:
        raise NotFoundError(
            "no kernel on this machine: `ukmod kernel fetch 6.12` gets one, --kernel names one"
        )
    return kernels[0].image


def _busybox() -> str:
    """The host's busybox. Raises NotFoundError without one that needs no libraries."""
    found = shutil.which("busybox")
    if found is None or not is_static(found):
        text = "a shell takes a busybox that is linked statically: install busybox-static, or give a --root"
        raise NotFoundError(text)
    return found


def _furnish(k: Kernel, busybox: str | None, modules: Sequence[Loadable]) -> tuple[str, str]:
    """Give the machine a shell, if its root has none, and the modules; the shell, and where it begins."""
    shell = next((path for path in SHELLS if _is_program(k.process, path)), "")
    if not shell and busybox is None:
        busybox = _busybox()
    if busybox is not None:
        k.put(busybox, BUSYBOX)
        k.process.symlink(os.path.basename(BUSYBOX), shell := "/bin/sh")
    if not modules:
        return shell, "/"
    return shell, provide(k.process, k.core.release, modules)


def _is_program(process: UserProcess, path: str) -> bool:
    try:
        return stat.S_ISREG(process.stat(path).st_mode)
    except OSError:
        return False


def interact_with_host(k: Kernel, words: Sequence[str], env: Mapping[str, str], directory: str) -> int:
    """Run a program of the machine that has this process's own standard streams; its exit status.

    If standard input is a terminal, it is the program's, too. Raises OSError.
    """
    from ukmod.kernel.user.program import status_of
    from ukmod.kernel.user.shell import interact

    is_terminal = os.isatty(0)
    sys.stdout.flush()
    with host_input() as host:
        shows = [partial(shown_at, descriptor) for descriptor in ((1,) if is_terminal else (1, 2))]
        size = size_of(0) if is_terminal else None
        return status_of(interact(k.core, words, env, host, shows, size, directory))
