"""``ukmod fits``, judged by a kernel image's module loader: it loads what fits, and refuses what does not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tests.golden import modules
from tests.real.debian import find

from ukmod import Kernel, cli
from ukmod.errors import LoadError
from ukmod.kmod.elf import Elf

pytestmark = pytest.mark.real


def changed(data: bytes, symbol: str) -> bytes:
    """A module with another version of a symbol."""
    crc = Elf(data).versions()[symbol]
    entry = struct.pack("<Q", crc) + symbol.encode() + b"\0"
    assert entry in data
    return data.replace(entry, struct.pack("<Q", crc ^ 1) + entry[8:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        ("_printk", ""),
        ("module_layout", ""),
        (b"SMP preempt", b"SMP prempt_"),
        (b"_printk\0", b"_xrintk\0"),
    ],
)
def test_what_fits_is_loaded_and_what_does_not_is_refused(
    tmp_path: Path, old: bytes | str, new: bytes
) -> None:
    kernel = find()
    assert kernel is not None
    data = modules()["ok_dep"].read_bytes()
    file = tmp_path / "ok_dep.ko"
    file.write_bytes(changed(data, old) if isinstance(old, str) else data.replace(old, new) if old else data)
    status = cli.main(["ukmod", "fits", "--kernel", str(kernel.vmlinuz), str(file)])
    with Kernel(image=str(kernel.vmlinuz)) as k:
        try:
            k.insmod(str(file))
        except LoadError:
            assert status in (1, 2)
            assert old
        else:
            assert status == 0
            assert not old
