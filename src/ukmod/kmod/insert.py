"""Carry out a plan: give the kernel the modules, run the install commands."""

from __future__ import annotations

import errno
import os

from ukmod.errors import LoadError, UkmodError
from ukmod.kmod.host import (
    INIT_COMPRESSED_FILE,
    INIT_IGNORE_MODVERSIONS,
    INIT_IGNORE_VERMAGIC,
    LOG_ERR,
    LOG_INFO,
    silent,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ukmod.kmod.context import Context
    from ukmod.kmod.host import Host, LibraryLog
    from ukmod.kmod.loaded import State
    from ukmod.kmod.modfile import ModuleFile
    from ukmod.kmod.plans import Step, Target

__all__ = ["carry_out", "insert_file", "run_command", "run_shell"]


def carry_out(
    target: Target,
    context: Context,
    host: Host,
    *,
    state: State,
    show: Callable[[Step], None] | None = None,
    force: int = 0,
    dry_run: bool = False,
    ignore_loaded: bool = False,
    first_time: bool = False,
) -> None:
    """Do a target's steps in order; LoadError with the errno of the first required one that fails.

    Whether a module is loaded is asked again before each step: it may have come in the meantime. ``show``
    is called with each step before it is done. ``force`` is INIT_IGNORE_MODVERSIONS and
    INIT_IGNORE_VERMAGIC;
    ``first_time`` makes it an error (EEXIST) if the module asked for is there already.
    """
    if target.loaded and first_time:
        raise LoadError("Module already in kernel", errno=errno.EEXIST, subject=target.module)
    for step in target.steps:
        try:
            if not ignore_loaded and _is_loaded(step, context, state):
                raise _failure(step, errno.EEXIST)
            if show is not None:
                show(step)
            if not dry_run:
                _do(step, context, host, force)
        except LoadError as error:
            if error.errno == errno.EEXIST and step.reason == target.reason and first_time:
                raise
            if error.errno != errno.EEXIST and step.required:
                raise


def _is_loaded(step: Step, context: Context, state: State) -> bool:
    builtin = step.action == "builtin" or (step.path is None and context.tree.is_builtin(step.module))
    return builtin or state.initstate(step.module) == "live"


def _do(step: Step, context: Context, host: Host, force: int) -> None:
    if step.command is not None:
        run_command("install", step.command, step.module, step.options, host, log=context.log)
    elif step.path is None:
        text = f"could not find module by name='{step.module}'"
        context.log(LOG_ERR, "kmod_module_insert_module", text)
        raise _failure(step, errno.ENOENT)
    else:
        insert_file(host, step.path, step.options, force=force, log=context.log, name=step.module)


def run_command(kind: str, command: str, module: str, options: str, host: Host, *, log: LibraryLog) -> None:
    """Run an install command of modprobe.d(5); LoadError(EINVAL) if it does not end with status 0.

    ``$CMDLINE_OPTS`` in it stands for the options.
    """
    command = command.replace("$CMDLINE_OPTS", options)
    status = run_shell(command, module, host)
    if status == -1:
        text = f"Could not run {kind} command '{command}' for module {module}"
    elif exit_code := status >> 8 & 0xFF:
        text = f"Error running {kind} command '{command}' for module {module}: retcode {exit_code}"
    else:
        return
    log(LOG_ERR, "command_do", text)
    raise LoadError(text, errno=errno.EINVAL, subject=module)


def run_shell(command: str, module: str, host: Host) -> int:
    """Run a command with MODPROBE_MODULE in its environment; returns its wait status, or -1."""
    host.environ["MODPROBE_MODULE"] = module
    try:
        return host.system(command)
    finally:
        host.environ.pop("MODPROBE_MODULE", None)


def insert_file(
    host: Host, path: str, params: str = "", *, force: int = 0, log: LibraryLog = silent, name: str = ""
) -> None:
    """Load a module from its file; LoadError with the kernel's errno if that fails.

    The kernel gets the file itself where it can read it; otherwise the image unpacked here, which is also
    the way for kernels before finit_module(2) (3.8).
    """
    try:
        with host.open_module(path) as file:
            compressed = file.compression
            if compressed and compressed != host.compression():
                _insert_image(host, file, params, force, log)
                return
            try:
                host.finit_module(file, params, force | (INIT_COMPRESSED_FILE if compressed else 0))
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
                _insert_image(host, file, params, force, log)
    except OSError as error:
        number = error.errno or errno.EINVAL
    except UkmodError as error:
        log(LOG_ERR, "kmod_file_get_contents", str(error))
        number = error.errno
    else:
        return
    log(LOG_INFO, "kmod_module_insert_module", f"Failed to insert module '{path}': {os.strerror(number)}")
    raise LoadError("could not insert the module", errno=number, subject=name or path)


def _insert_image(host: Host, file: ModuleFile, params: str, force: int, log: LibraryLog) -> None:
    image = file.contents()
    if force & (INIT_IGNORE_MODVERSIONS | INIT_IGNORE_VERMAGIC):
        from ukmod.kmod.strip import strip_versions

        try:
            elf = file.elf()
        except UkmodError as error:  # of which libkmod says no more than this
            raise OSError(error.errno, os.strerror(error.errno)) from error
        try:
            image = strip_versions(
                elf,
                modversions=bool(force & INIT_IGNORE_MODVERSIONS),
                vermagic=bool(force & INIT_IGNORE_VERMAGIC),
            )
        except UkmodError as error:
            reason = os.strerror(error.errno)
            log(LOG_ERR, "do_init_module", f"Failed to strip version information: {reason}")
            raise OSError(error.errno, reason) from error
    host.init_module(image, params)


def _failure(step: Step, number: int) -> LoadError:
    return LoadError("could not insert the module", errno=number, subject=step.module)
