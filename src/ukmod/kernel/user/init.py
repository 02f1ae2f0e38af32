"""Process 1 executes the root's own init: kernel_init() of init/main.c."""

from __future__ import annotations

import os
from errno import ENOENT
from functools import partial
from typing import TYPE_CHECKING, Final

from ukmod.errors import ProgramTimeoutError, Reboot, UsageError
from ukmod.kernel.boot_parameters import boot_parameters
from ukmod.kernel.kern_levels import KERN_ERR, KERN_INFO
from ukmod.kernel.lib.err import is_err
from ukmod.kernel.pid import PIDTYPE_PGID, PIDTYPE_SID
from ukmod.kernel.sched.core import TASK_INTERRUPTIBLE
from ukmod.kernel.signal import SIGNAL_UNKILLABLE
from ukmod.kernel.time.clock import NSEC_PER_SEC
from ukmod.kernel.uapi import O_PATH, O_RDWR
from ukmod.kernel.user.console import SerialConsole, enable_console
from ukmod.kernel.user.process import image_of
from ukmod.kernel.user.program import become_user, execve
from ukmod.kernel.user.stdio import InputSource, OutputSink
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core
    from ukmod.kernel.image.map import MappedImage

INITRAMFS: Final = "/init"
INITS: Final = ("/sbin/init", "/etc/init", "/bin/init", "/bin/sh")
"""The programs that are tried in turn if the root has no /init and the command line names none."""
_ENVIRONMENT: Final = ("HOME=/", "TERM=linux")
_NO_INIT: Final = (
    "No working init found.  Try passing init= option to kernel."
    " See Linux Documentation/admin-guide/init.rst for guidance."
)


@record
class Ended:
    """The orderly end of a machine that its init has run."""

    console: bytes
    """Everything that was written to the console."""
    reason: Reboot
    """Whether it was restarted, halted or powered off."""


def run_init(k: Core, *, stdin: bytes, timeout: float) -> Ended:
    """Boot the root's init and run the machine to its end; ``stdin`` is typed at the console.

    Raises ProgramTimeoutError after ``timeout`` virtual seconds, and KernelPanic.
    """
    parts, output = [stdin], bytearray()

    def keep(data: bytes) -> bool:
        output.extend(data)
        return True

    reason = boot_init(k, lambda: parts.pop() if parts else b"", keep, timeout)
    if reason is None:
        text = f"has not ended after {timeout:g} virtual seconds"
        raise ProgramTimeoutError(text, "init", stdout=bytes(output))
    return Ended(bytes(output), reason)


def boot_init(k: Core, source: InputSource, show: OutputSink, timeout: float | None) -> Reboot | None:
    """Boot the root's init, with the host at its console, and run the machine to its end.

    Returns None if that takes more than ``timeout`` virtual seconds, or if nothing can happen any more.

    Raises KernelPanic, and UsageError if it has been booted, or without a console.
    """
    image = image_of(k)
    if k.tasks.kernel_init is not None:
        raise UsageError("this machine's init has been started")
    enable_console(k, image)
    console = SerialConsole(k, source, show)
    k.tasks.kernel_init = partial(_kernel_init, k, image)
    k.sched.wake(k.tasks.init, TASK_INTERRUPTIBLE)
    try:
        k.sched.run(lambda: False, None if timeout is None else k.clock.now + round(timeout * NSEC_PER_SEC))
    except Reboot as reason:
        return reason
    finally:
        console.disconnect()
    return None


def _kernel_init(k: Core, image: MappedImage) -> int:
    """The part of kernel_init() from which on there is user space. Panics if there is no init."""
    task = k.sched.task()
    k.tasks.become_process(task)
    thread = become_user(k, image)
    for kind in (PIDTYPE_PGID, PIDTYPE_SID):
        k.pids.join(task, kind, k.pids.of(k.idle))
    _make_unkillable(k, image)
    _open_console(k, image)
    if not _starts(k, image):
        k.crash.panic(_NO_INIT)
    thread.run()


def _make_unkillable(k: Core, image: MappedImage) -> None:
    """The part of copy_process() for the first process of a pid namespace."""
    task = k.sched.task()
    reaper = image.address("init_pid_ns") + k.types.offset("pid_namespace", "child_reaper")
    k.memory.set_u64(reaper, task.address)
    signal = k.memory.u64(task.address + k.types.offset("task_struct", "signal"))
    flags = signal + k.types.offset("signal_struct", "flags")
    k.memory.set_u32(flags, k.memory.u32(flags) | SIGNAL_UNKILLABLE)


def _open_console(k: Core, image: MappedImage) -> None:
    """console_on_rootfs()."""
    if not (file := _opened(k, image, "/dev/console", O_RDWR)):
        k.printk("Warning: unable to open an initial console.\n", KERN_ERR)
        return
    for descriptor in range(3):
        k.cpu.call(image.address("replace_fd"), descriptor, file, 0)
    k.cpu.call(image.address("fput"), file)


def _opened(k: Core, image: MappedImage, path: str, flags: int) -> int:
    """filp_open(): a struct file, or 0."""
    text = os.fsencode(path) + b"\0"
    name = k.slab.kernel_object(len(text))
    k.memory.write(name, text)
    file = k.cpu.call(image.address("filp_open"), name, flags, 0)
    k.slab.kfree(name)
    return 0 if is_err(file) else file


def _exists(k: Core, image: MappedImage, path: str) -> bool:
    """init_eaccess()."""
    if file := _opened(k, image, path, O_PATH):
        k.cpu.call(image.address("fput"), file)
    return bool(file)


def _starts(k: Core, image: MappedImage) -> bool:
    """Execute the first program that can be. Panics if the one that the command line names cannot."""
    boot = boot_parameters(k.cmdline)
    first = boot.get("rdinit") or INITRAMFS
    if _exists(k, image, first):
        if not (error := _execute(k, image, first)):
            return True
        k.printk(f"Failed to execute {first} (error -{error})\n", KERN_ERR)
    if named := boot.get("init"):
        if error := _execute(k, image, named):
            k.crash.panic(f"Requested init {named} failed (error -{error}).")
        return True
    return any(_is_tried(k, image, path) for path in INITS)


def _is_tried(k: Core, image: MappedImage, path: str) -> bool:
    """try_to_run_init_process()."""
    error = _execute(k, image, path)
    if error and error != ENOENT:
        k.printk(f"Starting init: {path} exists but couldn't execute it (error -{error})\n", KERN_ERR)
    return not error


def _execute(k: Core, image: MappedImage, path: str) -> int:
    """run_init_process(): 0, or the errno for which it could not be executed."""
    k.printk(f"Run {path} as init process\n", KERN_INFO)
    try:
        execve(k, image, path, [path], _ENVIRONMENT)
    except OSError as error:
        return error.errno or ENOENT
    return 0
