"""Patterns that select modules of a tree, as builders of images have them in their configuration.

=================  ==========================================================================================
``ext4``           a module's name; ``-`` and ``_`` are the same, here and in what follows
``snd-hda-*``      a glob without a slash: the module's name
``drivers/hid/*``  a glob with a slash: the file's path in the tree, or below its ``kernel`` directory
``=drivers/hid``   all modules below a directory, dracut's notation; ``drivers/hid/`` is the same
``re:hyperv?``     a regular expression of Python's, searched for in the path below ``kernel``, as by mkosi
=================  ==========================================================================================
"""

from __future__ import annotations

import re
from fnmatch import translate

from ukmod.errors import UsageError
from ukmod.kmod.names import KO_SUFFIXES, is_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Selects = Callable[[str, str], bool]
    """``selects(name, path)``: whether a pattern selects the module of that name and path in the tree."""

__all__ = ["is_pattern", "selector", "selector_of_any"]

_REGEX = "re:"
_KERNEL = "kernel/"
_LONGEST_REGEX = 1 << 12


def is_pattern(word: str) -> bool:
    """Tell whether a word is a pattern, and not a module's name, an alias or a path."""
    if is_path(word):
        return False
    return word.startswith((_REGEX, "=")) or word.endswith("/") or any(char in word for char in "*?[")


def selector(pattern: str) -> Selects:
    """Return what tells whether a pattern selects a module. UsageError if it is not a regular expression."""
    if pattern.startswith(_REGEX):
        return _by_regex(pattern.removeprefix(_REGEX))
    if pattern.startswith("=") or pattern.endswith("/"):
        directory = _alike(pattern.removeprefix("=").strip("/").removeprefix(_KERNEL)) + "/"
        return lambda _name, path: _alike(_below_kernel(path)).startswith(directory)
    if not any(char in pattern for char in "*?[/"):
        wanted = _alike(_without_suffix(pattern))
        return lambda name, _path: name == wanted
    matches = re.compile(translate(_alike_glob(_without_suffix(pattern)))).match
    if "/" not in pattern:
        return lambda name, _path: matches(name) is not None
    return lambda _name, path: any(
        matches(_alike(_without_suffix(spelled))) is not None for spelled in (path, _below_kernel(path))
    )


def selector_of_any(patterns: Iterable[str]) -> Selects:
    """Return what tells whether one of several patterns selects a module."""
    selectors = [selector(pattern) for pattern in patterns]
    return lambda name, path: any(selects(name, path) for selects in selectors)


def _by_regex(text: str) -> Selects:
    if len(text) > _LONGEST_REGEX:
        raise UsageError(f"is longer than {_LONGEST_REGEX} characters", subject=f"{_REGEX}{text[:20]}...")
    try:
        search = re.compile(text).search
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"is not a regular expression: {error}", subject=f"{_REGEX}{text}") from error
    return lambda _name, path: search(_below_kernel(path)) is not None


def _below_kernel(path: str) -> str:
    return path.removeprefix(_KERNEL)


def _without_suffix(path: str) -> str:
    return next((path.removesuffix(suffix) for suffix in KO_SUFFIXES if path.endswith(suffix)), path)


def _alike(text: str) -> str:
    return text.replace("-", "_")


def _alike_glob(pattern: str) -> str:
    """Turn dashes to underscores, except in a bracket expression, where they stand for ranges."""
    parts = re.split(r"(\[!?\]?[^]]*\])", pattern)
    return "".join(part if part.startswith("[") else _alike(part) for part in parts)
