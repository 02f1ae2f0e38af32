"""Structs that the tests' modules do not use, so that their kernel's types do not describe them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.kernel.conftest import assert_own_code_is_sound, layouts
from tests.machine.btfwriter import BtfWriter

from ukmod.kernel.core import Core
from ukmod.machine.types import Btf, Types, TypeSource


def layouts_with(**structs: Mapping[str, int]) -> Types:
    """The layouts of conftest and those of other structs: the sizes of their members in bytes, in order."""
    btf = BtfWriter()
    byte = btf.integer("unsigned char", 1)
    kinds = {size: btf.integer(f"u{8 * size}", size) for size in (2, 4, 8)}
    for struct, sizes in structs.items():
        members, at = list[tuple[str, int, int]](), 0
        for name, size in sizes.items():
            members.append((name, kinds[size] if size in kinds else btf.array(byte, size), 8 * at))
            at += size
        btf.aggregate(struct, at, *members)
    return Types([*layouts()._sources, TypeSource(Btf(btf.data()))])


@contextmanager
def kernel_with(**structs: Mapping[str, int]) -> Iterator[Core]:
    """A kernel that knows these structs, too."""
    with Core(layouts_with(**structs)) as k:
        yield k
        assert_own_code_is_sound(k)
