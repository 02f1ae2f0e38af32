"""The programs that commands of modprobe.d use, as far as their effect on modules is known."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "HARMLESS",
    "MATTER",
    "SHELLS",
    "WRAPPERS",
    "plain_name",
    "played_by",
    "status_of",
    "unwrapped",
]

DIRECTORIES = ("/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")
"""The directories of the system's own programs, and of those that an administrator put before them."""

_SYSTEM = DIRECTORIES[:4]

SHELLS = frozenset(("sh", "dash", "ash", "bash", "ksh", "mksh", "zsh"))
WRAPPERS = frozenset(("env", "nice", "ionice", "nohup", "setsid", "command", "stdbuf"))
"""Programs that run another, which is their first argument apart from options and variables."""

_NO_EFFECT = """
    test [ logger sleep date cat grep egrep fgrep ls touch mkdir rmdir chmod chown ln rm cp mv head
    tail wc cut tr id uname lsmod modinfo basename dirname readlink realpath stat pidof pgrep wall
    mknod which hostname tty sync depmod cd umask sort uniq tee expr seq wait type pwd printf
"""
HARMLESS = frozenset(_NO_EFFECT.split())
"""Programs that load and unload nothing, with an exit status that depends on what they find."""

MATTER = frozenset(("PATH", "IFS", "MODPROBE_OPTIONS", "LD_PRELOAD", "LD_LIBRARY_PATH", "ENV", "BASH_ENV"))
"""Variables that change what programs do."""

_ALWAYS = {":": 0, "true": 0, "false": 1, "echo": 0}
_WITHOUT_ARGUMENTS = frozenset(("umask", "wait"))
_KMOD = frozenset(("modprobe", "insmod", "rmmod"))
_OTHER_MODPROBES = re.compile(r"busybox|toybox")
"""Their modprobe is not kmod's: it has other options, and reads less of modprobe.d."""
_KNOWN = frozenset((*SHELLS, *WRAPPERS, *HARMLESS, *_ALWAYS, *_KMOD))
_BY_CALLED_NAME = re.compile(r"(busybox|toybox|kmod|killall5|[a-z-]*coreutils)(\W.*)?")
"""Files that are many programs: the name that they are called by says which one."""


def plain_name(path: str) -> str:
    """Return a program's name, for a path to where the system has its own; any other path as it is."""
    directory, slash, name = re.sub("/+", "/", path).rpartition("/")
    return name if not slash or directory in _SYSTEM else path


def played_by(file: str, name: str) -> str | None:
    """Return the program that a file is when it is called by a name, as a link may do; None if not known."""
    file = file.removesuffix(".debianutils")
    if name in _KMOD and _OTHER_MODPROBES.match(file):
        return None
    if file == name or _BY_CALLED_NAME.fullmatch(file):
        return name
    return file if file in _KNOWN else None


def status_of(name: str, arguments: Sequence[str | None]) -> int | None:
    """Return the exit status of a program that changes nothing, if it is always the same."""
    if name in _ALWAYS:
        return _ALWAYS[name]
    if name in _WITHOUT_ARGUMENTS:
        return 0 if not arguments or (name == "umask" and arguments[0] in {"0", "022", "0022"}) else None
    if name == "printf":
        return 0 if arguments and arguments[0] and not set(arguments[0]) & set("%\\-") else None
    if name == "sleep":
        is_time = len(arguments) == 1 and re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", arguments[0] or "")
        return 0 if is_time else None
    if name == "[":
        return _test(arguments[:-1]) if arguments[-1:] == ["]"] else 2
    return _test(arguments) if name == "test" else None


def _test(words: Sequence[str | None]) -> int | None:
    """Return the exit status of test(1), if it depends on known words alone."""
    if None in words:
        return None
    if list(words[:1]) == ["!"] and len(words) > 1:
        inner = _test(words[1:])
        return None if inner is None else int(not inner)
    if len(words) == 0:
        return 1
    if len(words) == 1:
        return int(not words[0])
    if len(words) == 2 and words[0] in {"-n", "-z"}:
        return int(bool(words[1]) == (words[0] == "-z"))
    if len(words) == 3 and words[1] in {"=", "=="}:
        return int(words[0] != words[2]) if words[1] == "=" else None  # dash has no ==
    if len(words) == 3 and words[1] == "!=":
        return int(words[0] == words[2])
    return None


def unwrapped(name: str, arguments: Sequence[str | None]) -> list[str | None] | None:
    """Return the command that a program such as nice(1) runs; None if that is not known."""
    words = list(arguments)
    if name == "env":
        while words and words[0] is not None and "=" in words[0]:
            if words[0].partition("=")[0] in MATTER:
                return None
            del words[0]
    elif name == "nice" and words[:1] == ["-n"]:
        if not re.fullmatch(r"[-+]?[0-9]{1,4}", (words[1:2] or [None])[0] or ""):
            return None
        del words[:2]
    elif name == "command" and words[:1] != ["-p"] and words[:1] and (words[0] or "").startswith("-"):
        return None
    if not words or words[0] is None or words[0].startswith("-"):
        return None
    return words
