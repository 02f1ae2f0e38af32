"""Modules of the host in the machine's /lib/modules, where its own modprobe and insmod find them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from ukmod.kernel.user.put import put
from ukmod.kmod import depmod
from ukmod.kmod.names import modname_from_path

if TYPE_CHECKING:
    from ukmod.kernel.trees import Loadable
    from ukmod.kernel.user.process import UserProcess

_PLACE: Final = "extra"
_INDEX: Final = "modules.dep"


def provide(process: UserProcess, release: str, modules: Iterable[Loadable]) -> str:
    """Put modules, and those that they need, below /lib/modules/``release``; returns their directory there.

    They are indexed if that tree had no index: a root that has one keeps it. Raises OSError.
    """
    tree = f"/lib/modules/{release}"
    files = {modname_from_path(file.path): file for one in modules for file in (*one.needs, one.file)}
    with TemporaryDirectory() as root:
        directory = os.path.join(root, tree[1:], _PLACE)
        os.makedirs(directory)
        for name, module in files.items():
            with open(os.path.join(directory, f"{name}.ko"), "xb") as file:
                file.write(module.contents())
        if not _is_indexed(process, tree):
            depmod(root, release)
        put(process, os.path.join(root, tree[1:]), tree)
    return f"{tree}/{_PLACE}"


def _is_indexed(process: UserProcess, tree: str) -> bool:
    try:
        return _INDEX in process.listdir(tree)
    except OSError:
        return False
