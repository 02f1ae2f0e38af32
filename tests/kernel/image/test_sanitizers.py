"""Images with checkers that need memory of their own are refused before they run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.machine.btfwriter import small_kernel
from tests.machine.imagewriter import many_symbols, vmlinux

from ukmod.errors import MachineError
from ukmod.kernel.api import Kernel
from ukmod.kernel.image.sanitizers import refuse
from ukmod.machine.image.image import KernelImage


def image(directory: Path, *functions: str) -> Path:
    symbols = many_symbols()
    end = max(address for _, address in symbols.values())
    symbols |= {name: ("T", end + 16 * n) for n, name in enumerate(functions, 1)}
    path = directory / "vmlinux"
    path.write_bytes(vmlinux(btf=small_kernel().data(), symbols=symbols))
    return path


def test_an_image_whose_shadow_memory_is_unknown_is_refused_by_name(tmp_path: Path) -> None:
    path = image(tmp_path, "__msan_metadata_ptr_for_load_8")
    expected = r"was built with KMSAN \(CONFIG_KMSAN\)"
    with Kernel(image=path) as k, pytest.raises(MachineError, match=expected) as error:
        k.boot()
    assert error.value.subject == str(path)


def test_an_image_with_other_checkers_is_not_refused(tmp_path: Path) -> None:
    refuse(
        KernelImage(
            str(image(tmp_path, "lock_acquire", "__asan_load8", "kmemleak_alloc", "debug_object_init"))
        )
    )
