"""Sysctls related to modules: kernel/sysctl.c, Documentation/admin-guide/sysctl/kernel.rst."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from errno import EINVAL
from typing import TYPE_CHECKING, Final

from ukmod.errors import UsageError
from ukmod.kernel.kmod import KMOD_PATH_LEN

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

_NUMBER: Final = re.compile(r"\s*-?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\s*", re.ASCII)


def _int(text: str) -> int:
    """An int in C's notation and of 32 bits, as accepted by proc_dointvec(). Raises ValueError."""
    if (match := _NUMBER.fullmatch(text)) is None:
        raise ValueError(f"'{text}' is not a number")
    digits = match[1]
    value = int(digits, 16 if digits[1:2] in ("x", "X") else 8 if digits[0] == "0" else 10)
    value = -value if "-" in text else value
    if not -(1 << 31) <= value < 1 << 31:
        raise ValueError(f"'{text}' is out of range")
    return value


class Sysctl:
    """Sysctls by dotted name, as text: ``k.sysctl["kernel.modprobe"] = "/sbin/modprobe"``."""

    def __init__(self, kernel: Core) -> None:
        self._k = kernel

    def _get(self) -> dict[str, Callable[[], str]]:
        k = self._k
        return {
            "kernel.modprobe": lambda: k.requests.modprobe_path,
            "kernel.tainted": lambda: str(k.taint.mask),
            "kernel.modules_disabled": lambda: str(int(k.modules.disabled)),
            "kernel.osrelease": lambda: k.release,
            "kernel.panic": lambda: str(k.crash.panic_timeout),
            "kernel.panic_on_oops": lambda: str(int(k.crash.panic_on_oops)),
            "kernel.panic_on_warn": lambda: str(int(k.crash.panic_on_warn)),
            "kernel.printk": lambda: f"{k.log.console_loglevel}\t4\t1\t7",
        }

    def _set(self) -> dict[str, Callable[[str], None]]:
        k = self._k
        return {
            "kernel.modprobe": self._set_modprobe,
            "kernel.modules_disabled": self._set_modules_disabled,
            "kernel.panic": lambda value: setattr(k.crash, "panic_timeout", _int(value)),
            "kernel.panic_on_oops": lambda value: setattr(k.crash, "panic_on_oops", bool(_int(value))),
            "kernel.panic_on_warn": lambda value: setattr(k.crash, "panic_on_warn", bool(_int(value))),
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
        self._k.requests.modprobe_path = value[: KMOD_PATH_LEN - 1]

    def _set_modules_disabled(self, value: str) -> None:
        if _int(value) != 1:
            raise ValueError("once set it cannot be cleared")
        self._k.modules.disabled = True

    def _set_printk(self, value: str) -> None:
        self._k.log.console_loglevel = _int((value.split(maxsplit=1) or [""])[0])
