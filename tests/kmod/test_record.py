"""Records are values."""

from __future__ import annotations

import pickle

import pytest

from ukmod.kmod.config import Source
from ukmod.kmod.record import record


@record
class Point:
    """Two numbers, the second optional."""

    x: int
    y: int = 7

    def swapped(self) -> Point:
        return Point(self.y, self.x)


def test_fields_are_given_by_place_or_name() -> None:
    assert Point(1) == Point(x=1) == Point(1, 7) == Point(1, y=7)
    assert Point(1, 2).swapped() == Point(2, 1)


def test_a_record_is_frozen() -> None:
    with pytest.raises(AttributeError, match="frozen"):
        Point(1).x = 2
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]


def test_a_record_is_comparable_and_hashable_and_shows_its_fields() -> None:
    assert Point(1) != Point(2)
    assert Point(1) != (1, 7)  # type: ignore[comparison-overlap]
    assert len({Point(1), Point(1, 7), Point(2)}) == 2
    assert repr(Point(1)) == "Point(x=1, y=7)"


def test_a_record_matches_patterns() -> None:
    match Point(3, 4):
        case Point(x, 4):
            assert x == 3


def test_wrong_fields_are_errors() -> None:
    with pytest.raises(TypeError, match="needs 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no field 'q'"):
        Point(1, q=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes 2 values"):
        Point(1, 2, 3)  # type: ignore[call-arg]


def test_a_record_can_be_sent_to_another_process() -> None:
    source = Source("/etc/modprobe.d/a.conf", 3)
    assert pickle.loads(pickle.dumps(source)) == source
