"""``ukmod profile``: make a profile of a kernel's struct layouts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ukmod.cli import command_lines
from ukmod.cli.document import print_document
from ukmod.errors import UsageError
from ukmod.kmod.elf import Elf
from ukmod.machine.types.btf import Btf
from ukmod.machine.types.graph import Graph
from ukmod.machine.types.profile import cut, write_profile
from ukmod.machine.types.select import read_file, types_of

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Write the profile; the exit status."""
    options = command_lines.profile().parse_args(argv)
    data = read_file(options.file)
    graph, found = _graph_and_vermagic(data, options.file)
    vermagic = options.vermagic or found
    if not vermagic:
        raise UsageError("does not say its vermagic: give it with --vermagic", subject=options.file)
    release = vermagic.partition(" ")[0]
    digest = hashlib.sha256(graph.raw if isinstance(graph, Btf) else data).hexdigest()
    made = cut(graph, release=release, vermagic=vermagic, digest=digest)
    write_profile(made, options.output)
    if options.json:
        stamp = made.stamp
        about = {"release": stamp.release, "vermagic": stamp.vermagic, "digest": stamp.digest}
        print_document("profile", {"profile": options.output, **about})
    return 0


def _graph_and_vermagic(data: bytes, path: str) -> tuple[Graph, str]:
    graph, image = types_of(data, path)
    if image is not None:
        return graph, image.vermagic
    if data.startswith(b"\x7fELF"):
        return graph, next((value for key, value in Elf(data, path).modinfo() if key == "vermagic"), "")
    return graph, ""
