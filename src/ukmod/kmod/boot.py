"""The kernel command lines that a system may boot with, from its boot loader's files.

Read are GRUB's grub.cfg, the Boot Loader Specification's loader entries (also those that GRUB shows), unified
kernel images, the labels of EXTLINUX, SYSLINUX and U-Boot, and what the Raspberry Pi and rEFInd read. Only
what belongs to the kernel in question counts: an entry names its image, which has the release in its name, or
lies in a directory of that name. Where no boot loader is installed yet, the command lines are those that
kernel-install(8) and grub-mkconfig(8) will use.
"""

from __future__ import annotations

import os
import re
from itertools import product

from ukmod.kmod.bootfiles import BOOT_DIRECTORIES, names_in, text_of
from ukmod.kmod.bootlines import boot_lines
from ukmod.kmod.config import Source
from ukmod.kmod.grub.defaults import grub_defaults
from ukmod.kmod.grub.execution import execute
from ukmod.kmod.grub.variables import ScriptVariables, environment_block, kernel_line
from ukmod.kmod.kernelargs import BootArguments
from ukmod.kmod.unified import unified_image, unified_images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ukmod.kmod.host import Files

__all__ = ["boot_arguments"]

_GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub/grub.cfg", "/grub2/grub.cfg")
_EXTLINUX = (
    *("/boot/extlinux/extlinux.conf", "/extlinux/extlinux.conf", "/boot/extlinux.conf"),
    *("/boot/syslinux/syslinux.cfg", "/syslinux/syslinux.cfg", "/boot/isolinux/isolinux.cfg"),
)
_LOADER_VARIABLE = re.compile(r"(?<!\\)\$(\w*) ?")


def boot_arguments(files: Files, root: str, release: str) -> list[BootArguments]:
    """Return the command lines of all entries that boot a release's kernel, each different one once.

    ``root`` is the system's. If no entry names the release, those count that name no release at all.
    """
    root = root.rstrip("/")
    entries = [*_grub(files, root), *unified_images(files, root), *_extlinux(files, root)]
    entries += boot_lines(files, root)
    if not entries:
        entries += _kernel_install(files, root, release)
        entries += [(release, arguments) for arguments in grub_defaults(files, root)]
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


# GRUB


def _grub_configurations(files: Files, root: str) -> list[str]:
    """Return the paths of GRUB's configuration files, those of EFI systems included."""
    vendors = names_in(files, f"{root}/boot/efi/EFI")
    paths = [*_GRUB, *(f"/boot/efi/EFI/{vendor}/grub.cfg" for vendor in vendors)]
    return [root + path for path in paths if text_of(files, root + path)]


def _grub(files: Files, root: str) -> Iterator[tuple[str, BootArguments]]:
    """Yield what GRUB's configuration starts, and then the loader entries that it shows."""
    environments = []
    for path in _grub_configurations(files, root):
        starts, shown = execute(files, root, path)
        environments += shown
        for one in starts:
            yield one.kernel, BootArguments(one.text, Source(path, one.line))
    yield from _loader_entries(files, root, environments)


# EXTLINUX, SYSLINUX, and U-Boot, which reads the same file


def _extlinux(files: Files, root: str) -> Iterator[tuple[str, BootArguments]]:
    """Yield each label's kernel with its command line: its own APPEND, or the one before all labels."""
    for path in _EXTLINUX:
        common, kernel, given = "", "", BootArguments("", Source(root + path))
        in_label = False
        for number, line in enumerate(text_of(files, root + path).splitlines(), 1):
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


def _loader_entries(
    files: Files, root: str, shown_by_grub: Sequence[ScriptVariables]
) -> Iterator[tuple[str, BootArguments]]:
    """Yield the entries, with GRUB's variables replaced as they are where it shows them.

    Without a configuration of GRUB that shows them, another loader does, as zipl: the variables are those of
    GRUB's environment.
    """
    environments = shown_by_grub or [_environment(files, root)]
    for boot in BOOT_DIRECTORIES:
        directory = f"{root}{boot}/loader/entries"
        for name in names_in(files, directory):
            if name.endswith(".conf"):
                path = f"{directory}/{name}"
                fields, line = _fields(text_of(files, path))
                texts = [*_options(fields.get("options", []), environments, is_grub=bool(shown_by_grub))]
                for kernel, given in _kernels(files, root + boot, fields, texts):
                    yield kernel, BootArguments(given, Source(path, line))


def _environment(files: Files, root: str) -> ScriptVariables:
    block: dict[str, str] = {}
    for directory in ("/boot/grub", "/boot/grub2"):
        block |= environment_block(files, f"{root}{directory}/grubenv")
    return ScriptVariables({name: (value,) for name, value in block.items()})


def _fields(text: str) -> tuple[dict[str, list[str]], int]:
    """Return the values of each key of an entry, and the number of the last line with options."""
    fields: dict[str, list[str]] = {}
    where = 0
    for number, line in enumerate(text.splitlines(), 1):
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        if key and not key.startswith("#"):
            fields.setdefault(key, []).append(value.strip())
            where = number if key == "options" else where
    return fields, where


def _kernels(
    files: Files, boot: str, fields: Mapping[str, Sequence[str]], texts: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield what an entry names its kernel by, its image and its version, with each command line.

    A unified image has a command line too: it counts without options, and, with Secure Boot, instead of them.
    """
    for key in ("efi", "uki"):
        for path in fields.get(key, []):
            if (image := unified_image(files, boot, boot + path)) is not None:
                release, own = image
                texts = [*own, *(texts if any(texts) else ())]
                yield from product((release,), texts)
    image_path = fields.get("linux") or fields.get("efi") or fields.get("uki") or []
    for words in (image_path, fields.get("version", [])):
        if kernel := " ".join(words):
            yield from product((kernel,), texts)


def _options(
    given: Sequence[str], environments: Sequence[ScriptVariables], *, is_grub: bool
) -> Iterator[str]:
    """Yield the command lines that an entry may come to.

    systemd-boot joins all lines with options. Fedora's GRUB takes the first one, or, of an entry without,
    the variable default_kernelopts; and it reads the result as its own words.
    """
    lines = dict.fromkeys((" ".join(given), *given[:1]) if is_grub else (" ".join(given),))
    for variables in environments:
        for line in lines if given or not is_grub else variables.of("default_kernelopts"):
            for text in variables.replaced(line, _LOADER_VARIABLE):
                yield kernel_line(text) if is_grub else text


def _kernel_install(files: Files, root: str, release: str) -> Iterator[tuple[str, BootArguments]]:
    """Yield what kernel-install(8) will use, with the lines that are comments to some versions of it."""
    for path in ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline"):
        lines = text_of(files, root + path).strip().split("\n")
        if any(lines):
            for text in (lines, [line for line in lines if not line.startswith("#")]):
                yield release, BootArguments(" ".join(text), Source(root + path))
            return
