"""Functions that several tools share."""

from __future__ import annotations

from ukmod.kmod.tools.getopt import LongOption
from ukmod.kmod.tree import MODULE_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ukmod.kmod.host import Host

__all__ = ["SHARED_OPTIONS", "default_dirname", "options_text"]

SHARED_OPTIONS = (
    LongOption("syslog", "s"),
    LongOption("verbose", "v"),
    LongOption("version", "V"),
    LongOption("help", "h"),
)
"""The options of insmod, rmmod and lsmod alike."""


def default_dirname(host: Host) -> str:
    """Return the running kernel's module directory."""
    return f"{MODULE_DIRECTORY}/{host.release()}"


def options_text(words: Sequence[str]) -> str | None:
    """Join a module's options; a value with a blank in it is quoted, unless it is already."""
    if not words:
        return None
    text = ""
    for word in words:
        name, equals, value = word.partition("=")
        if text:
            text += " "
        if equals and " " in value and value[0] not in "\"'":
            text += f'{name}="{value}"'
        else:
            text += word
    return text
