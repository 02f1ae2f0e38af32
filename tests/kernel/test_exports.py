"""The table of files that export kernel functions is complete."""

from __future__ import annotations

from pathlib import Path

import ukmod.kernel
from ukmod.kernel.exports import SUBSYSTEMS, kernel_functions
from ukmod.kernel.image.internal import PARTS

HERE = Path(ukmod.kernel.__file__).parent


def test_every_file_that_exports_functions_is_named() -> None:
    marked = {
        ".".join(path.relative_to(HERE).with_suffix("").parts)
        for path in HERE.rglob("*.py")
        if any(line.startswith("@export(") for line in path.read_text().splitlines())
    }
    of_images = {name for name in marked if name.startswith("image.internal.")}
    assert marked - of_images <= set(SUBSYSTEMS)
    assert len(of_images) == len(PARTS)


def test_a_name_may_be_exported_otherwise_than_its_twin() -> None:
    functions = kernel_functions()
    assert functions["kfree"][1] is functions["kfree_const"][1]
    assert not functions["kfree"][0].image_first
    assert functions["kfree_const"][0].image_first
