"""The kernel command lines that a system may boot with, from its boot loader's files.

Read are GRUB's grub.cfg, the Boot Loader Specification's loader entries (also those that GRUB shows), unified
kernel images, and the labels of EXTLINUX, SYSLINUX and U-Boot. Only what belongs to the kernel in question
counts: an entry names its image, which has the release in its name, or lies in a directory of that name.
Where no boot loader is installed yet, the command line is the one that kernel-install(8) will use.
"""

from __future__ import annotations

import os
import re
import shlex
import struct

from ukmod.kmod.config import Source
from ukmod.kmod.kernelargs import BootArguments
from ukmod.kmod.regular import MODULE_LIMIT, open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kmod.host import Files

__all__ = ["BOOT_DIRECTORIES", "boot_arguments"]

BOOT_DIRECTORIES = ("/boot", "/efi", "/boot/efi")
"""The places of the boot partition, and of the EFI system partition."""
_GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub/grub.cfg", "/grub2/grub.cfg")
_EXTLINUX = (
    *("/boot/extlinux/extlinux.conf", "/extlinux/extlinux.conf", "/boot/extlinux.conf"),
    *("/boot/syslinux/syslinux.cfg", "/syslinux/syslinux.cfg", "/boot/isolinux/isolinux.cfg"),
)
_LINUX = frozenset(("linux", "linux16", "linuxefi"))
_GRUB_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LIMIT = 1 << 22
"""Bytes of a text that are looked at."""


def boot_arguments(files: Files, root: str, release: str) -> list[BootArguments]:
    """Return the command lines of all entries that boot a release's kernel, each different one once.

    ``root`` is the system's. If no entry names the release, those count that name no release at all.
    """
    root = root.rstrip("/")
    entries = [*_grub(files, root), *_loader_entries(files, root), *_unified_images(files, root)]
    entries += _extlinux(files, root)
    entries = entries or list(_kernel_install(files, root, release))
    fitting = [one for one in entries if _is_of(one[0], release, files, root)]
    if not fitting:
        fitting = [one for one in entries if not re.search(r"\d\.\d", one[0])]
    found: dict[str, BootArguments] = {}
    for _kernel, arguments in fitting:
        found.setdefault(arguments.text, arguments)
    return list(found.values())


def _is_of(kernel: str, release: str, files: Files, root: str) -> bool:
    """Tell whether the path of an image, or a release, is that of a release's kernel."""
    for path in (kernel, _target(kernel, files, root)):
        name = path.rpartition("/")[2].removesuffix(".efi")
        if name in {release, f"vmlinuz-{release}", f"vmlinux-{release}", f"kernel-{release}"}:
            return True
        if name.endswith((f"-{release}", f"-{release}.gz")) or release in path.split("/"):
            return True
    return False


def _target(kernel: str, files: Files, root: str) -> str:
    """Return where the path of an image leads, if it is a link such as /vmlinuz."""
    for place in (root + kernel, f"{root}/boot{kernel}"):
        try:
            real = os.path.realpath(files.real(place)) if not root else files.real(place)
            files.stat(place)
        except OSError:
            continue
        return real
    return kernel


def _text(files: Files, path: str) -> str:
    try:
        return os.fsdecode(files.read(path)[:_LIMIT])
    except OSError:
        return ""


def _names(files: Files, directory: str) -> list[str]:
    try:
        return sorted(files.listdir(directory))
    except OSError:
        return []


# GRUB


def _grub_configurations(files: Files, root: str) -> list[str]:
    """Return the paths of GRUB's configuration files, those of EFI systems included."""
    vendors = _names(files, f"{root}/boot/efi/EFI")
    paths = [*_GRUB, *(f"/boot/efi/EFI/{vendor}/grub.cfg" for vendor in vendors)]
    return [root + path for path in paths if _text(files, root + path)]


def _grub(files: Files, root: str) -> Iterator[tuple[str, BootArguments]]:
    for path in _grub_configurations(files, root):
        variables = _environment(files, f"{os.path.dirname(path)}/grubenv")
        for number, words in _grub_commands(_text(files, path)):
            _set_variable(words, variables)
            if len(words) > 1 and words[0] in _LINUX:
                given = [_expanded(word, variables) for word in words[2:]]
                yield words[1], BootArguments(" ".join(map(_quoted, given)), Source(path, number))


def _grub_variables(files: Files, root: str) -> dict[str, str]:
    """Return the variables that loader entries may name: GRUB's environment counts more than its commands."""
    variables: dict[str, str] = {}
    for path in _grub_configurations(files, root):
        for _number, words in _grub_commands(_text(files, path)):
            _set_variable(words, variables)
    for directory in ("/boot/grub", "/boot/grub2"):
        variables |= _environment(files, f"{root}{directory}/grubenv")
    return variables


def _grub_commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the last line and the words of each command."""
    number = 0
    for line in text.replace("\\\n", "\0").split("\n"):
        number += 1 + line.count("\0")
        yield number, _grub_words(line.replace("\0", " "))


def _set_variable(words: list[str], variables: dict[str, str]) -> None:
    if len(words) == 2 and words[0] == "set" and "=" in words[1]:
        name, _, value = words[1].partition("=")
        variables[name] = _expanded(value, variables)


def _grub_words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def _quoted(word: str) -> str:
    """Return a word as GRUB hands it on: in quotes if it has a blank, but not if it is several parameters."""
    is_one = "=" in word.partition(" ")[0] and word.count("=") == 1
    return f'"{word}"' if " " in word and is_one else word


def _environment(files: Files, path: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in _text(files, path).splitlines() if not line.startswith("#")]
    return {name: value for name, equals, value in pairs if equals}


def _expanded(text: str, variables: dict[str, str]) -> str:
    """Replace variables; one that is not set is empty, as in GRUB."""
    return _GRUB_VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


# EXTLINUX, SYSLINUX, and U-Boot, which reads the same file


def _extlinux(files: Files, root: str) -> Iterator[tuple[str, BootArguments]]:
    """Yield each label's kernel with its command line: its own APPEND, or the one before all labels."""
    for path in _EXTLINUX:
        common, kernel, given = "", "", BootArguments("", Source(root + path))
        in_label = False
        for number, line in enumerate(_text(files, root + path).splitlines(), 1):
            keyword, _, value = line.strip().replace("\t", " ").partition(" ")
            word, value = keyword.lower(), value.strip()
            if word == "label":
                if kernel:
                    yield kernel, given
                kernel, given, in_label = "", BootArguments(common, Source(root + path, number)), True
            elif word == "append":
                text = "" if value == "-" else value
                common = common if in_label else text
                given = BootArguments(text, Source(root + path, number))
            elif word in {"kernel", "linux"} and in_label:
                kernel = value
        if kernel:
            yield kernel, given


# The Boot Loader Specification


def _loader_entries(files: Files, root: str) -> Iterator[tuple[str, BootArguments]]:
    variables = _grub_variables(files, root)
    for boot in BOOT_DIRECTORIES:
        directory = f"{root}{boot}/loader/entries"
        for name in _names(files, directory):
            if name.endswith(".conf"):
                yield from _loader_entry(
                    _text(files, f"{directory}/{name}"), f"{directory}/{name}", variables
                )


def _loader_entry(text: str, path: str, variables: dict[str, str]) -> Iterator[tuple[str, BootArguments]]:
    """Yield the options of an entry for its image, and for its version."""
    fields: dict[str, list[str]] = {}
    where = 0
    for number, line in enumerate(text.splitlines(), 1):
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        if key and not key.startswith("#"):
            fields.setdefault(key, []).append(value.strip())
            where = number if key == "options" else where
    options = _expanded(" ".join(fields.get("options", [])), variables)
    image = fields.get("linux") or fields.get("efi") or fields.get("uki") or []
    for words in (image, fields.get("version", [])):
        if kernel := " ".join(words):
            yield kernel, BootArguments(options, Source(path, where))


def _kernel_install(files: Files, root: str, release: str) -> Iterator[tuple[str, BootArguments]]:
    for path in ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline"):
        text = _text(files, root + path).strip()
        if text:
            yield release, BootArguments(" ".join(text.split("\n")), Source(root + path))
            return


# Unified kernel images


def _unified_images(files: Files, root: str) -> Iterator[tuple[str, BootArguments]]:
    for boot in BOOT_DIRECTORIES:
        directory = f"{root}{boot}/EFI/Linux"
        for name in _names(files, directory):
            if not name.lower().endswith(".efi"):
                continue
            path = f"{directory}/{name}"
            sections = _sections(files, path)
            release = sections.get(".uname", "").strip() or name
            parts = [sections.get(".cmdline", "")]
            parts += [
                _sections(files, f"{path}.extra.d/{addon}").get(".cmdline", "")
                for addon in _names(files, f"{path}.extra.d")
                if addon.endswith(".addon.efi")
            ]
            text = " ".join([part.strip("\0 \n\t") for part in parts if part])
            yield release, BootArguments(text, Source(path))


def _sections(files: Files, path: str) -> dict[str, str]:
    """Return the text sections of a PE file that a boot stub reads; nothing of what is not one."""
    try:
        descriptor = open_regular(files.real(path), MODULE_LIMIT)
    except OSError:
        return {}
    try:
        head = os.pread(descriptor, 4096, 0)
        at = int.from_bytes(head[0x3C:0x40], "little")
        if head[:2] != b"MZ" or head[at : at + 4] != b"PE\0\0":
            return {}
        count = int.from_bytes(head[at + 6 : at + 8], "little")
        table = at + 24 + int.from_bytes(head[at + 20 : at + 22], "little")
        found: dict[str, str] = {}
        for start in range(table, table + 40 * count, 40):
            entry = head[start : start + 40]
            name = entry[:8].rstrip(b"\0").decode("ascii", "replace")
            if name in {".cmdline", ".uname"} and name not in found:
                virtual, _, size, offset = struct.unpack_from("<4I", entry, 8)
                data = os.pread(descriptor, min(virtual, size, 1 << 16), offset)
                found[name] = os.fsdecode(data).partition("\0")[0]
    except (OSError, struct.error):
        return {}
    else:
        return found
    finally:
        os.close(descriptor)
