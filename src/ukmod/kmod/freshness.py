"""Whether what was read is still what lies there: for programs that run on, as udev does."""

from __future__ import annotations

from ukmod.kmod.tree import INDEXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from ukmod.kmod.host import Files
    from ukmod.kmod.tree import Tree

__all__ = ["Freshness"]


class Freshness:
    """When a tree's indexes, and its configuration's directories, last changed.

    Make it before the tree is read, so that no change is missed::

        fresh = Freshness(tree)
        context = Context.open(tree)
        ...
        if fresh.verdict() == "recreate":
            context = Context.open(tree)
    """

    __slots__ = ("_config", "_files", "_indexes")

    def __init__(self, tree: Tree, config_paths: Sequence[str] | None = None) -> None:
        """``config_paths`` are those :meth:`Context.open` was given, if it was."""
        self._files = tree.files
        self._config = _times(tree.files, tree.config_paths if config_paths is None else config_paths)
        self._indexes = _times(tree.files, [f"{tree.dirname}/{name}.bin" for name in INDEXES])

    def verdict(self) -> Literal["ok", "reload", "recreate"]:
        """Say what to do: nothing ("ok"), :meth:`Tree.unload`, for an index is another ("reload"), or open a
        new context, for the configuration is ("recreate"): libkmod's kmod_validate_resources().

        A file of the configuration that is changed in place shows only if its own path was given. Unlike
        libkmod's, this notices what was not there before.
        """
        if _times(self._files, self._config) != self._config:
            return "recreate"
        return "ok" if _times(self._files, self._indexes) == self._indexes else "reload"


def _times(files: Files, paths: Sequence[str] | dict[str, int | None]) -> dict[str, int | None]:
    """Return when each path last changed, in ns; None for one that is not there."""
    return {path: _time(files, path) for path in paths}


def _time(files: Files, path: str) -> int | None:
    try:
        return files.stat(path).st_mtime_ns
    except OSError:
        return None
