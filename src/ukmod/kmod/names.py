"""Names of modules and aliases: which spellings are one and the same.

The kernel knows modules by names without dashes (kbuild turns ``-`` into ``_``); users and file names have
both. "man modprobe(8)": "there is no difference between _ and - in module names".
"""

from __future__ import annotations

__all__ = [
    "KO_SUFFIXES",
    "is_module_file",
    "is_path",
    "modname_from_path",
    "normalize_alias",
    "normalize_modname",
]

KO_SUFFIXES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")
"""The endings of module files, plain and compressed."""


def normalize_modname(name: str) -> str:
    """Return a module's name as the kernel has it: up to the first dot, dashes as underscores."""
    return name.partition(".")[0].replace("-", "_")


def modname_from_path(path: str) -> str:
    """Return the module's name for a path, ``snd_pcm`` for ``/lib/.../snd-pcm.ko.xz``; empty for ``dir/``."""
    return normalize_modname(path.rpartition("/")[2])


def is_module_file(name: str) -> bool:
    """Tell whether a file name is that of a module; a bare ``.ko`` is not."""
    return name.endswith(KO_SUFFIXES) and name not in KO_SUFFIXES


def is_path(word: str) -> bool:
    """Tell whether a word of modprobe's command line is a path, and not a module's name or an alias."""
    return word.startswith(("/", "./"))


def normalize_alias(alias: str) -> str | None:
    """Turn dashes to underscores, but not inside a bracket expression: ``[0-9]`` is a range.

    None means that a bracket has no partner, and the alias can match nothing.
    """
    if "[" not in alias and "]" not in alias:
        return alias.replace("-", "_")
    parts: list[str] = []
    rest = alias
    while rest:
        plain, bracket, rest = rest.partition("[")
        if "]" in plain:
            return None
        parts.append(plain.replace("-", "_"))
        if bracket:
            inside, closing, rest = rest.partition("]")
            if not closing:
                return None
            parts.append(f"[{inside}]")
    return "".join(parts)
