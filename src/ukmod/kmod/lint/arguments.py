"""Words of the kernel's command line that are meant to keep modules out, or to set their parameters."""

from __future__ import annotations

from ukmod.kmod.cmdline import module_parameters
from ukmod.kmod.kernelargs import kernel_arguments
from ukmod.kmod.lint.finding import Finding
from ukmod.kmod.lint.lines import ConfigLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ukmod.kmod.kernelargs import BootArguments
    from ukmod.kmod.lint.meaning import MeaningLinter

__all__ = ["argument_findings"]


def argument_findings(boot: BootArguments, linter: MeaningLinter) -> Iterator[Finding]:
    """Yield what is wrong with a kernel command line, as far as it is about modules."""
    lists = [value for name, value in kernel_arguments(boot.text) if _is_list(name) and value is not None]
    for number, value in enumerate(lists):
        words = f"module_blacklist={value}"
        if number < len(lists) - 1:
            text = "the last module_blacklist= counts alone"
            about = tuple(value.split(","))
            fix = f"module_blacklist={','.join(lists)}"
            yield Finding("shadowed", "error", boot.source, words, text, fix, about)
        else:
            yield from _names(boot, "module_blacklist", value, linter)
    for module, parameter in module_parameters(boot.text):
        name, _, value = parameter.partition("=")
        if module == "modprobe" and name == "blacklist":
            yield from _names(boot, "modprobe.blacklist", value, linter)
            continue
        line = ConfigLine(boot.source, (f"{module}.{parameter}",), parameter, "", None)
        yield from linter.option_findings(line, linter.module(module), parameter)


def _is_list(name: str) -> bool:
    return name.replace("-", "_") == "module_blacklist"


def _names(boot: BootArguments, key: str, value: str, linter: MeaningLinter) -> Iterator[Finding]:
    words = f"{key}={value}"
    for name in value.split(","):
        plain = name.strip('"').replace("-", "_")
        line = ConfigLine(boot.source, (words,), words, key, None)
        if plain != name and linter.knows(plain):
            text = f"{name} matches nothing: here a name has no dash and no quote"
            yield Finding("spelling", "error", boot.source, words, text, words.replace(name, plain), (plain,))
        elif name:
            yield from linter.name_findings(line, name)
