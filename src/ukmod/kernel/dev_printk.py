"""Messages about devices, dev_err() and the like (drivers/base/core.c), and dynamic debug messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ukmod.kernel.export import export
from ukmod.kernel.lib.printf_spec import FormatType, Spec
from ukmod.kernel.lib.vsprintf import vformat
from ukmod.kernel.lib.vsprintf_pointer import error_name
from ukmod.kernel.printk import (
    LOGLEVEL_ALERT,
    LOGLEVEL_CRIT,
    LOGLEVEL_DEBUG,
    LOGLEVEL_EMERG,
    LOGLEVEL_ERR,
    LOGLEVEL_INFO,
    LOGLEVEL_NOTICE,
    LOGLEVEL_WARNING,
)
from ukmod.machine.abi import CStr, Int, Ptr, VarArgs

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

EPROBE_DEFER: Final = 517
PRINTK_INFO_SUBSYSTEM_LEN, PRINTK_INFO_DEVICE_LEN = 16, 48
"""Sizes in bytes, ends included, include/linux/dev_printk.h."""
_PLAIN = Spec(FormatType.PTR)


def _text(k: Core, pointer: int) -> str:
    return k.memory.cstring(pointer).decode("utf-8", "replace") if pointer else "(null)"


def _member(k: Core, address: int, struct: str, member: str) -> int:
    return k.memory.u64(address + k.types.offset(struct, member))


def driver_string(k: Core, device: int) -> int:
    """dev_driver_string(): the address of the name of its driver, else its bus, else its class; or 0."""
    for member, struct in (("driver", "device_driver"), ("bus", "bus_type"), ("class", "class")):
        if owner := _member(k, device, "device", member):
            return _member(k, owner, struct, "name")
    return 0


def dev_name(k: Core, device: int) -> str:
    """dev_name(): its name before registration, or its kobject's."""
    return _text(k, _member(k, device, "device", "init_name") or _member(k, device, "device", "kobj.name"))


def _subsystem(k: Core, device: int) -> str:
    for member, struct in (("class", "class"), ("bus", "bus_type")):
        if owner := _member(k, device, "device", member):
            return _text(k, _member(k, owner, struct, "name"))
    return ""


def _identifier(k: Core, device: int, subsystem: str) -> str:
    """DEVICE= of a record: b12:8, c127:3, n8 for a network interface, or +sound:card0."""
    number = k.memory.u32(device + k.types.offset("device", "devt"))
    if major := number >> 20:
        return f"{'b' if subsystem == 'block' else 'c'}{major}:{number & 0xFFFFF}"
    if subsystem == "net" and k.types.has("net_device", "ifindex"):
        interface = device - k.types.offset("net_device", "dev")
        return f"n{k.memory.u32(interface + k.types.offset('net_device', 'ifindex'))}"
    return f"+{subsystem}:{dev_name(k, device)}"


def emit(k: Core, level: int, device: int, text: bytes) -> int:
    """dev_printk_emit(): store a separate record, which identifies a device that has a class or bus."""
    subsystem = _subsystem(k, device)
    name = _identifier(k, device, subsystem) if subsystem else ""
    limits = PRINTK_INFO_SUBSYSTEM_LEN - 1, PRINTK_INFO_DEVICE_LEN - 1
    return k.log.store(text, level, subsystem=subsystem[: limits[0]], device=name[: limits[1]])


def _message(k: Core, level: int, device: int, text: bytes, prefix: str = "") -> None:
    """__dev_printk(): print with the driver's and the device's name in front.

    The prefix of a dynamic debug message is left out if there is no device.
    """
    if not device:
        k.log.store(b"(NULL device *): " + text, level)
        return
    driver = driver_string(k, device)
    who = f"{prefix}{_text(k, driver) if driver else ''} {dev_name(k, device)}: "
    emit(k, level, device, who.encode("utf-8", "surrogateescape") + text)


def _dev_level(name: str, level: int) -> Callable[..., Any]:
    @export(name, native=True)
    def message(k: Core, device: Ptr, fmt: CStr, args: VarArgs) -> None:
        """``void _dev_LEVEL(const struct device *dev, const char *fmt, ...)``."""
        _message(k, level, device, vformat(k, fmt, args))

    return message


dev_emerg = _dev_level("_dev_emerg", LOGLEVEL_EMERG)
dev_alert = _dev_level("_dev_alert", LOGLEVEL_ALERT)
dev_crit = _dev_level("_dev_crit", LOGLEVEL_CRIT)
dev_err = _dev_level("_dev_err", LOGLEVEL_ERR)
dev_warn = _dev_level("_dev_warn", LOGLEVEL_WARNING)
dev_notice = _dev_level("_dev_notice", LOGLEVEL_NOTICE)
dev_info = _dev_level("_dev_info", LOGLEVEL_INFO)


@export("_dev_printk", native=True)
def dev_printk(k: Core, level: CStr, device: Ptr, fmt: CStr, args: VarArgs) -> None:
    """``void _dev_printk(const char *level, const struct device *dev, const char *fmt, ...)``."""
    _message(k, int(level[1:2]) & 7 if level[1:2].isdigit() else -1, device, vformat(k, fmt, args))


@export(native=True)
def dev_printk_emit(k: Core, level: Int, device: Ptr, fmt: CStr, args: VarArgs) -> Int:
    """``int dev_printk_emit(int level, const struct device *dev, const char *fmt, ...)``."""
    return emit(k, level, device, vformat(k, fmt, args))


@export("dev_driver_string", native=True)
def dev_driver_string(k: Core, device: Ptr) -> Ptr:
    """``const char *dev_driver_string(const struct device *dev)``."""
    return driver_string(k, device) or k.lib.empty_string


def _probe(k: Core, level: int, device: int, error: int, text: bytes) -> int:
    if error != -EPROBE_DEFER:
        words = b"error " + error_name(k, error & (1 << 64) - 1, _PLAIN) + b": " + text
        _message(k, level, device, words)
    return error


@export(gpl=True, native=True)
def dev_err_probe(k: Core, device: Ptr, error: Int, fmt: CStr, args: VarArgs) -> Int:
    """``int dev_err_probe(const struct device *dev, int err, const char *fmt, ...)``: returns ``err``."""
    return _probe(k, LOGLEVEL_ERR, device, error, vformat(k, fmt, args))


@export(gpl=True, native=True)
def dev_warn_probe(k: Core, device: Ptr, error: Int, fmt: CStr, args: VarArgs) -> Int:
    """``int dev_warn_probe(const struct device *dev, int err, const char *fmt, ...)``: returns ``err``."""
    return _probe(k, LOGLEVEL_WARNING, device, error, vformat(k, fmt, args))


# -- dynamic debug: lib/dynamic_debug.c -------------------------------------------------------------------

_INCL_MODNAME, _INCL_FUNCNAME, _INCL_LINENO, _INCL_TID = 1 << 1, 1 << 2, 1 << 3, 1 << 4


def _prefix(k: Core, descriptor: int) -> str:
    """dynamic_emit_prefix(): the prefix that the call site's flags require."""
    # Bit-fields: 18 bits of line number; since v6.1 6 bits of class; 8 bits of flags.
    bits = k.memory.u32(descriptor + k.types.offset("_ddebug", "format") + 8)
    line = bits & 0x3_FFFF
    flags = bits >> (24 if k.types.has("_ddebug", "class_id") else 18) & 0xFF
    who = "<intr>" if k.sched.in_interrupt else f"[{k.log.caller().pid}]"
    tid = f"{who} " if flags & _INCL_TID else ""
    words = ""
    if flags & _INCL_MODNAME:
        words += _text(k, _member(k, descriptor, "_ddebug", "modname")) + ":"
    if flags & _INCL_FUNCNAME:
        words += _text(k, _member(k, descriptor, "_ddebug", "function")) + ":"
    if flags & _INCL_LINENO:
        words += f"{line}:"
    return tid + (words + " " if words else "")


@export("__dynamic_pr_debug", native=True)
def dynamic_pr_debug(k: Core, descriptor: Ptr, fmt: CStr, args: VarArgs) -> None:
    """``void __dynamic_pr_debug(struct _ddebug *, const char *fmt, ...)``: an enabled call site prints."""
    k.log.store(
        _prefix(k, descriptor).encode("utf-8", "surrogateescape") + vformat(k, fmt, args), LOGLEVEL_DEBUG
    )


@export("__dynamic_dev_dbg", native=True)
def dynamic_dev_dbg(k: Core, descriptor: Ptr, device: Ptr, fmt: CStr, args: VarArgs) -> None:
    """``void __dynamic_dev_dbg(struct _ddebug *, const struct device *, const char *fmt, ...)``."""
    _message(k, LOGLEVEL_DEBUG, device, vformat(k, fmt, args), prefix=_prefix(k, descriptor))
