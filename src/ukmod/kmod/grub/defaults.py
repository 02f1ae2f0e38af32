"""The command lines that grub-mkconfig(8) will write into a grub.cfg that is not there yet.

/etc/default/grub and the files beside it are shell; grub-mkconfig reads them, and 10_linux makes an entry and
a recovery entry of each kernel. Files that do more than to set variables are left alone: nobody can tell.
"""

from __future__ import annotations

from ukmod.kmod.bootfiles import names_in, text_of
from ukmod.kmod.config import Source
from ukmod.kmod.grub.variables import kernel_line
from ukmod.kmod.kernelargs import BootArguments
from ukmod.kmod.sh.expansion import value_of
from ukmod.kmod.sh.parser import parse
from ukmod.kmod.sh.syntax import Chain, NotUnderstoodError, ShellSyntaxError, Simple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kmod.host import Files

__all__ = ["grub_defaults"]

_FILE, _DIRECTORY = "/etc/default/grub", "/etc/default/grub.d"
_COMMON, _NORMAL = "GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"
_RECOVERY, _NO_RECOVERY = "GRUB_CMDLINE_LINUX_RECOVERY", "GRUB_DISABLE_RECOVERY"
_WITHOUT_EFFECT = frozenset(("export", "unset", "true", ":"))


def grub_defaults(files: Files, root: str) -> Iterator[BootArguments]:
    """Yield the command lines of the entries that will be made; none if that cannot be known."""
    paths = [f"{root}{_FILE}"]
    paths += [
        f"{root}{_DIRECTORY}/{name}" for name in names_in(files, root + _DIRECTORY) if name.endswith(".cfg")
    ]
    values: dict[str, str | None] = {_RECOVERY: "single"}
    source = Source(paths[0])
    found = False
    for path in paths:
        text = text_of(files, path)
        found = found or bool(text)
        try:
            _assign(text, values)
        except (NotUnderstoodError, ShellSyntaxError):
            return
        if line := _line_of(text):
            source = Source(path, line)
    common, normal = values.get(_COMMON, ""), values.get(_NORMAL, "")
    if not found or common is None or normal is None:
        return
    yield BootArguments(kernel_line(f"{common} {normal}"), source)
    if values.get(_NO_RECOVERY) != "true":
        condition = "if the recovery entry is booted"
        yield BootArguments(kernel_line(f"{values[_RECOVERY] or ''} {common}"), source, condition)


def _assign(text: str, values: dict[str, str | None]) -> None:
    """Set the variables that a file sets; None for a value that is not known."""
    node = parse(text)
    for operator, command in node.items if isinstance(node, Chain) else ((";", node),):
        if operator != ";" or not isinstance(command, Simple):
            raise NotUnderstoodError(text)
        if command.words and command.words[0][0].text not in _WITHOUT_EFFECT:
            raise NotUnderstoodError(text)
        for name, word in command.assignments:
            values[name] = value_of(word, lambda one: values.get(one, ""))


def _line_of(text: str) -> int:
    """Return the number of the last line that sets a kernel command line, or 0."""
    numbers = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if line.lstrip().startswith((f"{_COMMON}=", f"{_NORMAL}="))
    ]
    return max(numbers, default=0)
