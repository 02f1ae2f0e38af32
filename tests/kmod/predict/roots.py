"""Roots whose links and files are not where one expects them, and what the C modprobe makes of them.

``tests/real/test_roots.py`` runs each of them in a root with the C modprobe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.kmod.predict.scenarios import BLOCKED, LOADED

_TREE = "usr/lib/modules/4.4.4"
_DENY = "install user /bin/false\n"


@dataclass(frozen=True)
class OddRoot:
    """A change to a root, a word, and whether its module is loaded then."""

    name: str
    change: Callable[[Path], None]
    word: str
    verdict: str


def _moved(source: str, to: str, link: str) -> Callable[[Path], None]:
    """Move a file or directory, and leave a link."""

    def change(root: Path) -> None:
        (root / to).parent.mkdir(parents=True, exist_ok=True)
        (root / source).rename(root / to)
        (root / source).symlink_to(link)

    return change


def _with(files: Mapping[str, str]) -> Callable[[Path], None]:
    """Add files, or put them in the place of others; a text "-> TARGET" is a link."""

    def change(root: Path) -> None:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if text.startswith("-> "):
                path.symlink_to(text[3:])
            else:
                path.write_text(text)

    return change


_CONF = "etc/modprobe.d/x.conf"
_UP = "../" * 9
ODD_ROOTS = (
    OddRoot("the release is an absolute link", _moved(_TREE, "opt/m", "/opt/m"), "al-user", LOADED),
    OddRoot("all of lib/modules is one", _moved("usr/lib/modules", "opt/m", "/opt/m"), "user", LOADED),
    OddRoot("the modules are one", _moved(f"{_TREE}/kernel", "opt/k", "/opt/k"), "user", LOADED),
    OddRoot("a module is one", _moved(f"{_TREE}/kernel/user.ko", "opt/u.ko", "/opt/u.ko"), "user", LOADED),
    OddRoot(
        "a dependency is one that goes up too far",
        _moved(f"{_TREE}/kernel/base.ko", "opt/b.ko", f"{_UP}opt/b.ko"),
        "mid",
        LOADED,
    ),
    OddRoot("an index is one", _moved(f"{_TREE}/modules.alias.bin", "opt/al", "/opt/al"), "al-user", LOADED),
    OddRoot(
        "the configuration is one",
        _with({"etc/modprobe.d": "-> /opt/c", "opt/c/x.conf": _DENY}),
        "user",
        BLOCKED,
    ),
    OddRoot("a chain", _with({_CONF: "-> /opt/x", "opt/x": "-> /opt/y", "opt/y": _DENY}), "user", BLOCKED),
    OddRoot(
        "the configuration as Kubernetes mounts it",
        _with({_CONF: "-> ..data/x.conf", "etc/modprobe.d/..data/x.conf": _DENY}),
        "user",
        BLOCKED,
    ),
    OddRoot("a link to itself", _with({"etc/modprobe.d": "-> modprobe.d"}), "user", LOADED),
    OddRoot(
        "a dependency whose file is gone",
        lambda root: (root / f"{_TREE}/kernel/base.ko").unlink(),
        "mid",
        BLOCKED,
    ),
    OddRoot(
        "a dependency of a dependency, gone",
        lambda root: (root / f"{_TREE}/kernel/base.ko").unlink(),
        "user",
        BLOCKED,
    ),
    OddRoot(
        "false is true",
        _with({_CONF: "install user /bin/false || modprobe -i user\n", "bin/false": "-> /bin/true"}),
        "user",
        BLOCKED,
    ),
    OddRoot(
        "a known program by another name",
        _with({_CONF: "install user /bin/allow && modprobe -i user\n", "bin/allow": "-> /bin/true"}),
        "user",
        LOADED,
    ),
    OddRoot(
        "a program that leads nowhere",
        _with({_CONF: "install user /bin/gone || modprobe -i user\n", "bin/gone": "-> /bin/nosuch"}),
        "user",
        LOADED,
    ),
)
