"""Sysctls that concern modules: kernel/sysctl.c, Documentation/admin-guide/sysctl/kernel.rst."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from errno import EINVAL
from typing import TYPE_CHECKING

from ukmod.errors import UsageError
from ukmod.kernel.kmod import KMOD_PATH_LEN

if TYPE_CHECKING:
    from ukmod.kernel.core import Kernel


class Sysctl:
    """Sysctls by dotted name, as text: ``k.sysctl["kernel.modprobe"] = "/sbin/modprobe"``."""

    def __init__(self, kernel: Kernel) -> None:
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
            "kernel.panic": lambda value: setattr(k.crash, "panic_timeout", int(value)),
            "kernel.panic_on_oops": lambda value: setattr(k.crash, "panic_on_oops", bool(int(value))),
            "kernel.panic_on_warn": lambda value: setattr(k.crash, "panic_on_warn", bool(int(value))),
            "kernel.printk": self._set_printk,
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._get())

    def __getitem__(self, name: str) -> str:
        if (get := self._get().get(name)) is None:
            raise UsageError(f"there is no sysctl '{name}'", subject=name)
        return get()

    def __setitem__(self, name: str, value: str) -> None:
        if (store := self._set().get(name)) is None:
            reason = "it is read-only" if name in self._get() else "there is no such sysctl"
            raise UsageError(f"cannot set '{name}': {reason}", subject=name)
        store(value)

    def write(self, name: str, text: str) -> None:
        """What writing to /proc/sys does: a newline ends the value. Raises OSError (EINVAL)."""
        try:
            self[name] = text.partition("\n")[0]
        except ValueError as error:
            raise OSError(EINVAL, str(error), name) from error

    def _set_modprobe(self, value: str) -> None:
        self._k.requests.modprobe_path = value[: KMOD_PATH_LEN - 1]

    def _set_modules_disabled(self, value: str) -> None:
        if int(value) != 1:
            raise ValueError("once set it cannot be taken back")
        self._k.modules.disabled = True

    def _set_printk(self, value: str) -> None:
        self._k.log.console_loglevel = int(value.split(maxsplit=1)[0])
