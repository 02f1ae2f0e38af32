"""Sysctls related to modules: kernel/sysctl.c, Documentation/admin-guide/sysctl/kernel.rst."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from errno import EINVAL, EPERM
from typing import TYPE_CHECKING, Final

from ukmod.errors import UsageError
from ukmod.kernel.coredump import CORENAME_MAX_SIZE
from ukmod.kernel.cred import CAP_SETPCAP, CAP_SYS_MODULE
from ukmod.kmod.nextarg import SPACES

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_NUMBER: Final = re.compile(rb"-?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)(?=[ \t\n]|$)")
_DIGITS: Final = 20
"""proc_get_long() refuses a number that takes more characters than this."""


def _numbers(text: str, count: int) -> list[int]:
    """The numbers that a vector of ``count`` takes from a text, in C's notation: do_proc_dointvec().

    There may be fewer, but at least one; what follows them is ignored. Raises ValueError.
    """
    left, found = text.encode("utf-8", "surrogateescape").lstrip(SPACES), list[int]()
    while left and len(found) < count:
        match = _NUMBER.match(left)
        if match is None or len(match[0]) > _DIGITS:
            raise ValueError(f"'{left.decode('utf-8', 'replace')}' is not a number")
        digits = match[1]
        base = 16 if digits[1:2] in (b"x", b"X") else 8 if digits[:1] == b"0" else 10
        found.append(int(digits, base) * (-1 if match[0].startswith(b"-") else 1))
        left = left[match.end() :].lstrip(SPACES)
    if not found:
        raise ValueError("there is no number")
    return found


def _int(text: str) -> int:
    """An int of 32 bits: proc_dointvec(). Raises ValueError."""
    value = _numbers(text, 1)[0]
    if not -(1 << 31) <= value < 1 << 31:
        raise ValueError(f"'{text}' is out of range")
    return value


class Sysctl:
    """Sysctls by dotted name, as text: ``k.sysctl["kernel.modprobe"] = "/sbin/modprobe"``."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel

    def _get(self) -> dict[str, Callable[[], str]]:
        k = self._k
        names = {
            "kernel.modprobe": lambda: k.requests.modprobe_path,
            "kernel.core_pattern": lambda: k.core_dump.pattern,
            "kernel.tainted": lambda: str(k.taint.mask),
            "kernel.modules_disabled": lambda: str(int(k.modules.disabled)),
            "kernel.osrelease": lambda: k.release,
            "kernel.panic": lambda: str(k.crash.panic_timeout),
            "kernel.panic_on_oops": lambda: str(int(k.crash.panic_on_oops)),
            "kernel.panic_on_warn": lambda: str(int(k.crash.panic_on_warn)),
            "kernel.usermodehelper.bset": lambda: _words(k.helpers.bset),
            "kernel.usermodehelper.inheritable": lambda: _words(k.helpers.inheritable),
        }
        if k.image is None:  # an image has the levels itself, for its syslog(2)
            names["kernel.printk"] = lambda: f"{k.log.console_loglevel}\t4\t1\t7"
        return names

    def _set(self) -> dict[str, Callable[[str], None]]:
        k = self._k
        return {
            "kernel.modprobe": self._set_modprobe,
            "kernel.core_pattern": self._set_core_pattern,
            "kernel.modules_disabled": self._set_modules_disabled,
            "kernel.panic": lambda value: setattr(k.crash, "panic_timeout", _int(value)),
            "kernel.panic_on_oops": lambda value: setattr(k.crash, "panic_on_oops", bool(_int(value))),
            "kernel.panic_on_warn": lambda value: setattr(k.crash, "panic_on_warn", bool(_int(value))),
            "kernel.usermodehelper.bset": lambda value: self._drop("bset", value),
            "kernel.usermodehelper.inheritable": lambda value: self._drop("inheritable", value),
            "kernel.printk": self._set_printk,
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._get())

    def __getitem__(self, name: str) -> str:
        if (get := self._get().get(name)) is None:
            raise UsageError("no such sysctl", subject=name)
        return get()

    def __setitem__(self, name: str, value: str) -> None:
        if (store := self._set().get(name)) is None:
            reason = "it is read-only" if name in self._get() else "no such sysctl"
            raise UsageError(f"cannot be set: {reason}", subject=name)
        try:
            store(value)
        except ValueError as error:
            raise UsageError(f"cannot be set: {error}", subject=name) from error

    def writable(self, name: str) -> bool:
        """True if the sysctl is writable."""
        return name in self._set()

    def write(self, name: str, text: str) -> None:
        """Handle a write to /proc/sys: a newline ends the value. Raises OSError (EINVAL)."""
        try:
            self[name] = text.partition("\n")[0]
        except UsageError as error:
            raise OSError(EINVAL, error.message, name) from error

    def _set_modprobe(self, value: str) -> None:
        self._k.requests.modprobe_path = value

    def _set_core_pattern(self, value: str) -> None:
        self._k.core_dump.pattern = value[: CORENAME_MAX_SIZE - 1]

    def _set_modules_disabled(self, value: str) -> None:
        if _int(value) != 1:
            raise ValueError("once set it cannot be cleared")
        self._k.modules.disabled = True

    def _set_printk(self, value: str) -> None:
        self._k.log.console_loglevel = _numbers(value, 4)[0]

    def _drop(self, name: str, value: str) -> None:
        """proc_cap_handler(): take capabilities from helpers. No write gives any back.

        A word that is missing stays as it is. Raises OSError (EPERM), ValueError.
        """
        k = self._k
        if not (k.creds.capable(CAP_SETPCAP) and k.creds.capable(CAP_SYS_MODULE)):
            raise OSError(EPERM, "the writer lacks CAP_SETPCAP or CAP_SYS_MODULE", name)
        old = getattr(k.helpers, name)
        kept = 0
        words = _numbers(value, 2)
        if min(words) < 0:
            raise ValueError("a negative number is no set of capabilities")
        for n, shift in enumerate((0, 32)):
            word = words[n] if n < len(words) else old >> shift
            kept |= (word & 0xFFFF_FFFF) << shift
        setattr(k.helpers, name, old & kept)


def _words(capabilities: int) -> str:
    """A set of capabilities as two numbers of 32 bits, the low one first."""
    return f"{capabilities & 0xFFFF_FFFF}\t{capabilities >> 32}"
