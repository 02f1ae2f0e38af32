"""The command line: ``ukmod COMMAND ...``, and kmod's tools under their own names.

A link named modprobe (or insmod, ...) to this program is that tool: ``ukmod tools link DIR`` makes them. Each
command is a module that is imported when it is called, since modprobe is a command too and has 30 ms.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COMMANDS", "FAILED", "MISUSED", "NOT_RUN", "main", "run_tool"]

COMMANDS = {
    "run": "load modules into an emulated kernel and watch them",
    "shell": "use modules in an emulated kernel, from a shell",
    "demo": "see request_module() at work, from the module's call to modprobe and back",
    "examples": "copy example modules and their sources into a directory",
    "profile": "make a profile of a kernel's struct layouts",
    "explain": "say why a module would, or would not, be loaded",
    "audit": "say by which routes modules can get into the kernel, and prove that they are blocked",
    "policy": "make, or check, a deny list of all modules except some",
    "lint": "find the lines of modprobe.d that do not do what they say",
    "closure": "list what a set of modules needs",
    "fits": "say whether module files fit a kernel, symbol by symbol",
    "graph": "draw what modules need: DOT, Mermaid, HTML",
    "survey": "load every module of a tree and count what happens",
    "kernel": "check what is taken for granted about a kernel image",
    "tools": "link kmod's tools into a directory",
}
"""Our own commands; ``ukmod NAME`` is ``ukmod.cli.NAME.main``."""

FAILED, MISUSED, NOT_RUN = 1, 2, 3
"""Exit statuses: a module misbehaved, or the answer is no; the command line makes no sense; the command could
not do its work. ``ukmod explain`` and ``ukmod audit`` have statuses of their own."""
_INTERRUPTED = 130  # what a shell makes of SIGINT
_USAGE = "usage: ukmod COMMAND [ARGUMENT...]\n\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what ``argv`` asks for and return its exit status.

    Without ``argv`` this is the process's main program, which a tool that is done may end.
    """
    ends = argv is None
    words = list(sys.argv if argv is None else argv)
    from ukmod.kmod.tools import OF_KMOD, TOOLS

    name = words[0].rpartition("/")[2]
    if name in TOOLS:
        return run_tool(name, words, ends=ends)
    arguments = words[1:]
    if arguments[:1] == ["depmod"] and any(word.startswith(("--strict", "--overlay")) for word in arguments):
        return _guarded("ukmod depmod", lambda: _strict_depmod(arguments[1:]), lambda: FAILED)
    if arguments and arguments[0] in TOOLS:
        return run_tool(arguments[0], arguments, ends=ends)
    if arguments and arguments[0] in OF_KMOD:
        return run_tool("kmod", ["kmod", *arguments], ends=ends)
    if arguments[:1] == ["help"] and len(arguments) > 1:
        return main([words[0], arguments[1], "--help"])
    if arguments and arguments[0] in COMMANDS:
        status = _guarded(
            f"ukmod {arguments[0]}",
            lambda: _run_command(arguments[0], arguments[1:]),
            lambda: _misused(arguments[0]),
        )
        if ends:
            from ukmod.kmod.linux import end_process

            end_process(status)
        return status
    return _guarded("ukmod", lambda: _answer(arguments, (*TOOLS, *OF_KMOD)))


def _answer(arguments: Sequence[str], tools: Sequence[str]) -> int:
    """Answer a command line that names no command: --version, --help, or a mistake."""
    if arguments[:1] in (["-V"], ["--version"]):
        from ukmod import __version__

        sys.stdout.write(f"ukmod {__version__}\n")
        return 0
    asked = arguments[:1] in (["-h"], ["--help"], ["help"])
    stream = sys.stdout if asked else sys.stderr
    if arguments and not asked:
        from ukmod.cli.terminal import near

        hint = near(arguments[0], (*COMMANDS, *tools))
        stream.write(f"ukmod: there is no command {arguments[0]!r}{hint}\n")
    stream.write(_help_text(tools))
    return 0 if asked else MISUSED


def run_tool(name: str, argv: Sequence[str], *, ends: bool = False) -> int:
    """Run one of kmod's tools on this machine; ``argv[0]`` is the name in its messages.

    With ``ends`` the process ends with it.
    """
    if ends:
        import gc

        gc.disable()  # a tool makes no cycles of objects that would be worth the search
    from ukmod.kmod.linux import LinuxHost

    host = LinuxHost(ends=ends)
    module = f"ukmod.kmod.tools.{name}"
    try:
        __import__(module)  # importlib.import_module() would cost modprobe a millisecond, for importlib
        status: int = sys.modules[module].main(argv, host)
    except KeyboardInterrupt:
        _die_of_interrupt()
        return _INTERRUPTED
    host.leave(status)
    return status


def _die_of_interrupt() -> None:
    """End as the C tools do, by the signal itself: a script that called us then ends too."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def _run_command(name: str, arguments: Sequence[str]) -> int:
    import gc
    from contextlib import redirect_stdout
    from importlib import import_module
    from io import StringIO

    from ukmod.cli.command_lines import command_line

    text = StringIO()  # argparse would keep to itself that its help cannot be written
    try:
        with redirect_stdout(text):
            command_line(name).parse_args(arguments)  # a mistake in it is one, whatever is installed
    finally:
        sys.stdout.write(text.getvalue())
    gc.disable()  # what is imported stays: there is nothing to be found in it
    command = import_module(f"ukmod.cli.{name}").main
    gc.freeze()
    gc.enable()
    status: int = command(arguments)
    return status


def _strict_depmod(arguments: Sequence[str]) -> int:
    from ukmod.cli.depmod import main

    return main(arguments)


def _misused(name: str) -> int:
    from ukmod.cli.command_lines import command_line

    return command_line(name).misused


def _guarded(program: str, work: Callable[[], int], misused: Callable[[], int] = lambda: MISUSED) -> int:
    """Do a command's work; whatever the user or the system did wrong is one line, and the exit status.

    ``misused`` returns that of a command line that makes no sense.
    """
    from ukmod.cli.terminal import prepare_streams, write_lines
    from ukmod.errors import UkmodError, UsageError

    prepare_streams()
    try:
        try:
            return work()
        finally:
            sys.stdout.flush()
    except UkmodError as error:
        about = f"{error.subject}: " if error.subject else ""
        write_lines([f"{program}: {about}{error.message}", *error.details], sys.stderr)
        return misused() if isinstance(error, UsageError) else NOT_RUN
    except BrokenPipeError:
        _forget_output()  # the reader has gone, `head` for example: it knows
        return NOT_RUN
    except OSError as error:
        _forget_output()
        where = f"{error.filename}: " if error.filename else ""
        if _is_output(error):
            where = "cannot write: "
        write_lines([f"{program}: {where}{error.strerror or error}"], sys.stderr)
        return NOT_RUN
    except MemoryError:
        sys.stderr.write(f"{program}: out of memory\n")
        return NOT_RUN
    except KeyboardInterrupt:
        return _INTERRUPTED


def _is_output(error: OSError) -> bool:
    """Is this what a full disk, or a standard output that is closed, gives?"""
    import errno

    return error.filename is None and error.errno in (errno.ENOSPC, errno.EBADF, errno.EIO, errno.EDQUOT)


def _forget_output() -> None:
    """Drop what is still buffered: Python would try to write it once more at its end, and complain."""
    import contextlib

    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()


def _help_text(tools: Sequence[str]) -> str:
    lines = [f"  {name:9} {text}\n" for name, text in COMMANDS.items()]
    return f"{_USAGE}commands:\n{''.join(lines)}\nkmod's tools, on any tree: {', '.join(tools)}\n"
