"""Small module trees for depmod."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.elfwriter import module

RELEASE = "6.1"


def make_tree(
    root: Path,
    modules: Mapping[str, bytes | tuple[Sequence[str], Sequence[str]]],
    order: Sequence[str] | None = None,
) -> Path:
    """Write a tree for kernel 6.1 below ``root``, and return the module directory.

    ``modules`` maps a path to a file's bytes, or to (exported symbols, needed symbols).
    """
    directory = root / "lib/modules" / RELEASE
    directory.mkdir(parents=True)
    for path, content in modules.items():
        data = content if isinstance(content, bytes) else module(exports=content[0], needs=content[1])
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    (directory / "modules.order").write_text("".join(f"{path}\n" for path in (order or modules)))
    (directory / "modules.builtin").write_text("kernel/lib/crc-x.ko\n")
    (directory / "modules.builtin.modinfo").write_bytes(b"crc_x.alias=crypto-x\0crc_x.license=GPL\0")
    return directory


CHAIN: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "kernel/top.ko": ((), ("middle_do", "printk")),
    "kernel/middle.ko": (("middle_do",), ("base_do",)),
    "kernel/base-x.ko": (("base_do",), ()),
}
"""top needs middle needs base_x."""
