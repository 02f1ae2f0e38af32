"""Devices, as a machine lists them, to the names that the kernel asks modprobe for (modaliases).

sysfs has a device's whole modalias. lspci and lsusb show a part of it: here a ``?`` stands for each digit
that is not known, so such a device may match more modules than the kernel would load for it.

The formats of modaliases are those of pci_uevent() and usb_uevent() in the kernel; the listings are those of
``lspci -n``, ``-nn``, ``-mmn``, ``-mmnn`` and ``-vmmn``, with or without ``-v``, and of ``lsusb`` with or
without ``-v``.
"""

from __future__ import annotations

import os
import re

from ukmod.errors import FormatError, NotFoundError
from ukmod.kmod.names import normalize_alias
from ukmod.kmod.regular import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["UNKNOWN", "matcher", "modaliases", "read_devices"]

UNKNOWN = "?"
"""Stands for a digit that a listing does not show."""

_MOST_FILES = 1 << 18
_LONGEST_MODALIAS = 1 << 12
_SLOT = r"(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]"
_ID = "([0-9a-fA-F]{4})"
_PCI_NUMBERS = re.compile(rf"{_SLOT} {_ID}: {_ID}:{_ID}\b")
_PCI_BOTH = re.compile(rf"{_SLOT} .*?\[{_ID}\]: .*\[{_ID}:{_ID}\]")
_PCI_MACHINE = re.compile(rf'{_SLOT} "')
_PCI_NAMES = re.compile(rf"{_SLOT} ")
_PCI_RECORD = re.compile(r"(Slot|Device|Class|Vendor|SVendor|SDevice|Rev|ProgIf):\t(.*)")
_SUBSYSTEM = re.compile(rf"\s+Subsystem: (?:.*\[)?{_ID}:{_ID}\b")
_PROG_IF = re.compile(r"\(prog-if ([0-9a-fA-F]{2})")
_USB = re.compile(rf"Bus \d+ Device \d+: ID {_ID}:{_ID}\b")
_USB_FIELD = re.compile(r"\s+(b[A-Z]\w+)\s+([0-9a-fA-F.x]+)")
_MODALIAS = re.compile(r"[A-Za-z][\w+-]*:\S.*")
_LISTED = re.compile(r"(?:\S*/modalias:|(?:\S*uevent:)?(?:E: )?MODALIAS=)(\S.*)")
_SYSFS_FILES = {"modalias", "uevent"}
_WORD = re.compile(r'"([^"]*)"|(\S+)')


def read_devices(path: str) -> list[str]:
    """Return the modaliases in a file, or in the files of a directory such as /sys/devices.

    Raises NotFoundError if it cannot be read, FormatError if it lists no device.
    """
    try:
        if os.path.isdir(path):
            found = list(dict.fromkeys(_of_sysfs(path)))
        else:
            found = modaliases(os.fsdecode(read_regular(path)), path)
    except OSError as error:
        raise NotFoundError(error.strerror or str(error), subject=path) from error
    if not found:
        wanted = "modaliases of sysfs, or what lspci -n, lspci -mmn or lsusb print"
        raise FormatError(f"lists no device: it should be {wanted}", path=path)
    return found


def modaliases(text: str, path: str = "") -> list[str]:
    """Return the modaliases of the devices that a text lists, each once, in order.

    Raises FormatError for what lspci prints without numbers.
    """
    lines = text.splitlines()
    return list(dict.fromkeys([*_whole(lines), *_pci(lines, path), *_pci_records(text), *_usb(lines)]))


def matcher(modalias: str) -> Callable[[str], bool]:
    """Return what tells whether an alias, a pattern of modules.alias, can match the device."""
    known = modalias.partition(UNKNOWN)[0]

    def matches(alias: str) -> bool:
        if alias[:4] != known[:4] and not any(char in alias[:4] for char in "*?[\\"):
            return False  # most aliases are another bus's
        pattern = normalize_alias(alias)
        if pattern is None:
            return False
        literal = re.split(r"[*?\[\\]", pattern, maxsplit=1)[0]
        if not known.startswith(literal[: len(known)]):
            return False
        return re.fullmatch(_regex(pattern), modalias) is not None

    return matches


def _regex(pattern: str) -> str:
    """A glob as a regular expression in which each part of one character also matches an unknown one."""
    parts: list[str] = []
    for part in re.findall(r"\[[!^]?\]?[^]]*\]|\\.|.", pattern, re.DOTALL):
        if part == "*":
            parts.append(".*")
        elif part == "?":
            parts.append(".")
        elif len(part) > 2 and part[0] == "[":
            is_negated = part[1] in "!^"
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", part[2 if is_negated else 1 : -1])
            parts.append(rf"(?:[^{inside}]|\?)" if is_negated else rf"[{inside}?]")
        else:
            parts.append(rf"(?:{re.escape(part[-1])}|\?)")
    return "".join(parts)


def _of_sysfs(directory: str) -> Iterator[str]:
    seen = 0
    for where, below, names in os.walk(directory):
        below.sort()
        for name in sorted(_SYSFS_FILES.intersection(names)):
            seen += 1
            if seen > _MOST_FILES:
                return
            try:
                text = os.fsdecode(read_regular(f"{where}/{name}", 1 << 16))
            except OSError:
                continue  # a device that goes away, or an attribute that only root may read
            yield from _whole(text.splitlines())


def _whole(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        listed = _LISTED.match(line)
        if listed is not None:
            found = listed[1].rstrip()
        elif _MODALIAS.fullmatch(line) and not re.match(rf".*:[ \t]|{_SLOT} ", line):
            found = line.rstrip()
        else:
            continue
        if len(found) <= _LONGEST_MODALIAS:
            yield found


# lspci


def _pci(lines: Iterable[str], path: str) -> Iterator[str]:
    device: dict[str, str] = {}
    for line in lines:
        began = _pci_device(line, path)
        if began:
            if device:
                yield _pci_modalias(device)
            device = began
        elif device and (subsystem := _SUBSYSTEM.match(line)):
            device |= {"SVendor": subsystem[1], "SDevice": subsystem[2]}
    if device:
        yield _pci_modalias(device)


def _pci_device(line: str, path: str) -> dict[str, str]:
    """The numbers in the first line of a device; none if it is not one."""
    if _PCI_MACHINE.match(line):
        return _machine_readable(line)
    found = _PCI_NUMBERS.match(line) or _PCI_BOTH.match(line)
    if found is None:
        if _PCI_NAMES.match(line):
            raise FormatError("shows no numbers: list the devices with lspci -n, -nn or -mmn", path=path)
        return {}
    device = {"Class": found[1], "Vendor": found[2], "Device": found[3]}
    if interface := _PROG_IF.search(line):
        device["ProgIf"] = interface[1]
    return device


def _machine_readable(line: str) -> dict[str, str]:
    """``00:1f.2 "0106" "8086" "2922" -r02 -p01 "1af4" "1100"``: what is not shown is zero."""
    words = [quoted or plain for quoted, plain in _WORD.findall(line)][1:]
    options = {word[:2]: word[2:] for word in words if word.startswith("-")}
    numbers = [_number(word) for word in words if not word.startswith("-")]
    names = ("Class", "Vendor", "Device", "SVendor", "SDevice")
    device = {name: number for name, number in zip(names, numbers, strict=False) if number}
    if len(device) < 3:
        return {}
    return {"SVendor": "0000", "SDevice": "0000", "ProgIf": "00", **device} | (
        {"ProgIf": options["-p"]} if "-p" in options else {}
    )


def _pci_records(text: str) -> Iterator[str]:
    """Devices of ``lspci -vmmn``: a line for each field, and an empty one after each device."""
    for block in re.split(r"\n\s*\n", text):
        fields = [match.groups() for line in block.splitlines() if (match := _PCI_RECORD.match(line))]
        if not fields or fields[0][0] not in ("Slot", "Device"):
            continue
        device = {name: _number(value) or value for name, value in fields if name != "Slot"}
        if {"Class", "Vendor", "Device"} <= {name for name, value in device.items() if _is_hex(value)}:
            yield _pci_modalias({"SVendor": "0000", "SDevice": "0000", "ProgIf": "00", **device})


def _number(word: str) -> str:
    """The four digits of ``8086`` or ``Intel Corporation [8086]``; empty if there are none."""
    found = re.fullmatch(rf"(?:.*\[)?{_ID}\]?", word)
    return found[1] if found else ""


def _is_hex(text: str) -> bool:
    return re.fullmatch("[0-9a-fA-F]+", text) is not None


def _pci_modalias(device: Mapping[str, str]) -> str:
    def digits(name: str, count: int) -> str:
        value = device.get(name, "")
        return value.upper().rjust(count, "0") if value else UNKNOWN * count

    kind = digits("Class", 4)
    return (
        f"pci:v{digits('Vendor', 8)}d{digits('Device', 8)}sv{digits('SVendor', 8)}sd{digits('SDevice', 8)}"
        f"bc{kind[:2]}sc{kind[2:]}i{digits('ProgIf', 2)}"
    )


# lsusb


def _usb(lines: Iterable[str]) -> Iterator[str]:
    device: dict[str, str] = {}
    interface: dict[str, str] = {}
    for line in lines:
        if found := _USB.match(line):
            yield from _usb_modalias(device, interface)
            device, interface = {"v": found[1], "p": found[2]}, {}
        elif device and (field := _USB_FIELD.match(line)):
            name, value = field[1], field[2]
            if name == "bInterfaceNumber" and interface:
                yield from _usb_modalias(device, interface)
                interface = {}
            _note(device, interface, name, value)
    yield from _usb_modalias(device, interface)


_USB_DEVICE = {"bDeviceClass": "dc", "bDeviceSubClass": "dsc", "bDeviceProtocol": "dp"}
_USB_INTERFACE = {
    "bInterfaceClass": "ic",
    "bInterfaceSubClass": "isc",
    "bInterfaceProtocol": "ip",
    "bInterfaceNumber": "in",
}


def _note(device: dict[str, str], interface: dict[str, str], name: str, value: str) -> None:
    """Take down a field of a descriptor; lsusb shows most of them in decimal."""
    fields, code = (
        (device, _USB_DEVICE[name]) if name in _USB_DEVICE else (interface, _USB_INTERFACE.get(name, ""))
    )
    if code and value.isdecimal() and int(value) < 256:
        fields[code] = f"{int(value):02X}"


def _usb_modalias(device: Mapping[str, str], interface: Mapping[str, str]) -> Iterator[str]:
    if not device:
        return
    fields = {**device, **interface}

    def digits(name: str, count: int) -> str:
        return fields.get(name, UNKNOWN * count).upper()

    yield (
        f"usb:v{digits('v', 4)}p{digits('p', 4)}d{UNKNOWN * 4}dc{digits('dc', 2)}dsc{digits('dsc', 2)}"
        f"dp{digits('dp', 2)}ic{digits('ic', 2)}isc{digits('isc', 2)}ip{digits('ip', 2)}in{digits('in', 2)}"
    )
