"""What the image's functions return for lengths of 0, those in Python return too."""

from __future__ import annotations

from typing import Final

import pytest
from tests.kernel.image.computing import Image, Run
from tests.kernel.zero_lengths import LEFT_OUT, Function, functions

from ukmod.machine.abi import ctype

pytestmark = pytest.mark.real

UNLIKE: Final = {
    "bitmap_cut": "the image's touches the first word",
    "copy_from_user_nofault": "the image's wants a process, and this is a kernel thread",
    "string_get_size": "this kernel's has no result",
}


def test_lengths_of_0_in_the_image(run: Run) -> None:
    """Results are compared, except for addresses of new objects."""

    def compare(image: Image) -> tuple[list[str], list[object]]:
        called, found = list[str](), list[object]()
        for function in functions():
            name = function.name
            if name in LEFT_OUT or name in UNLIKE or not function.native or not image.has(name):
                continue
            arguments = [item + b"\0" if isinstance(item, bytes) else item for item in function.arguments()]
            native, ours = image.both(name, [tuple(arguments)], returns=returns(function))
            called.append(name)
            if native != ours and function.result is not None:
                found.append((name, native, ours))
        return called, found

    called, found = run(compare)
    assert found == []
    assert len(called) > 100


def returns(function: Function) -> str:
    """The name of its result's type."""
    kind = function.call.__annotations__["return"]
    return "void" if kind == "None" else ctype(function.type_of("return")).name
