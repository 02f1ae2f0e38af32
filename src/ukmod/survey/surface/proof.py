"""The proof: each attempt is made in the emulated kernel, and the names that it asks for are noted."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ukmod.errors import ProcessError
from ukmod.kernel.api import Kernel
from ukmod.kernel.uapi import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, S_IFCHR
from ukmod.kmod.audit.surface import ANYBODY, DEVICE, NAMESPACE, ROOT, AskedName
from ukmod.survey.surface.attempts import ATTEMPTS, DEVICES, NAME
from ukmod.survey.surface.drivers import MAGIC, PROGRAM, SOUND_DEVICES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ukmod.kernel.user.process import UserProcess
    from ukmod.kmod.tree import Tree
    from ukmod.survey.surface.attempts import SystemCallAttempt

__all__ = ["asked_by", "prove"]

_USER: Final = 1000
_PATIENCE: Final = 600
"""Seconds for one attempt: opening a device may load many modules."""
_CALLER: Final = re.compile(r"(?P<function>[^+\s]+)(?:\+\S+)?(?: \[(?P<module>\w+)\])?")
_ORDER: Final = (ANYBODY, NAMESPACE, ROOT)


def prove(image: str, tree: Tree) -> tuple[AskedName, ...]:
    """Return the names that an image's kernel asks for, with the modules of a tree and its configuration.

    Raises what :class:`ukmod.Kernel` raises for an image that does not come up.
    """
    with Kernel(image=image, tree=tree, patience=_PATIENCE) as kernel:
        return asked_by(kernel)


def asked_by(kernel: Kernel, attempts: Sequence[SystemCallAttempt] = ATTEMPTS) -> tuple[AskedName, ...]:
    """Return the names that a kernel with an image asks for, by the least privilege that is enough.

    Modules that it asks for, and that there are, are loaded, and ask in their turn. All is tried by an
    ordinary user first, then by root in namespaces of its own, then by root.
    """
    _make_devices(kernel)
    found: dict[tuple[str, str, str], AskedName] = {}
    for needs in _ORDER:
        for attempt in attempts:
            for asked in _made(kernel, attempt, needs):
                found.setdefault((asked.name, asked.function, asked.owner), asked)
    return tuple(found.values())


def _make_devices(kernel: Kernel) -> None:
    process = kernel.process
    process.mkdir(f"/dev/{NAME}")
    devices = {str(number): one for number, one in enumerate(DEVICES)}
    devices |= {name: (S_IFCHR, *numbers) for name, numbers in SOUND_DEVICES.items()}
    for name, (kind, major, minor) in devices.items():
        path = f"/dev/{NAME}/{name}"
        process.mknod(path, kind | 0o666, os.makedev(major, minor))
        process.syscall("chmod", path, 0o666)
    process.write(PROGRAM, MAGIC)
    process.syscall("chmod", PROGRAM, 0o755)


def _made(kernel: Kernel, attempt: SystemCallAttempt, needs: str) -> Iterator[AskedName]:
    """Make an attempt with a privilege, and yield the names that the kernel asks for meanwhile."""

    def work(process: UserProcess) -> None:
        if needs == NAMESPACE:
            process.syscall("unshare", CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS)
        attempt.work(process)

    before = len(kernel.requests)
    with suppress(OSError, ProcessError):
        if needs == ROOT:
            kernel.spawn(work).result()
        else:
            kernel.spawn(work, uid=_USER, gid=_USER, caps=()).result()
    shown = DEVICE if attempt.has_device and needs == ANYBODY else needs
    for request in kernel.requests[before:]:
        caller = _CALLER.match(request.caller)
        function, owner = (caller["function"], caller["module"]) if caller else ("", None)
        yield AskedName(request.name, function, owner or "vmlinux", attempt.call, shown)
