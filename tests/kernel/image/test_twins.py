"""Functions of the image and those in Python do the same, on arguments at random.

Results, pointers, and what the arguments hold afterwards are compared. Those in Python are mostly one of
Python's own functions, so that both are checked.
"""

from __future__ import annotations

import pytest
from tests.kernel.image.computing import Image, Run
from tests.kernel.twins import recorded
from tests.kernel.twins.tables import TWINS
from tests.kernel.twins.twin import Twin

pytestmark = pytest.mark.real


@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_the_image_and_python_agree(run: Run, twin: Twin) -> None:
    assert run(lambda image: image.differences(twin)) == []


def test_a_difference_would_be_found(run: Run) -> None:
    """strcpy() and strcat() agree where the destination is empty, and only there."""
    cases = [(bytes(9), b"a\0"), (b"b" + bytes(8), b"a\0")]

    def compare(image: Image) -> tuple[list[str], list[str]]:
        return image.both("strcpy", cases, returns="void *", native="strcat")

    native, ours = run(compare)
    assert native == ["&0+0 0+0:61", "&0+0 0+1:61"]
    assert ours == ["&0+0 0+0:61", "&0+0 0+0:61"]


def test_what_is_recorded_is_what_the_image_does(run: Run) -> None:
    found = run(lambda image: {str(twin): image.kept(twin) for twin in TWINS})
    assert found == recorded.outcomes()
