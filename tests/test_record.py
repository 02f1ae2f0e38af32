"""Records are values."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import pprint
from typing import Any

import pytest

from ukmod.kmod.config import Source
from ukmod.record import asdict, field, mutable, record


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
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'q'"):
        Point(1, q=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes from 2 to 3 positional arguments but 4 were given"):
        Point(1, 2, 3)  # type: ignore[call-arg]


def test_a_record_can_be_sent_to_another_process() -> None:
    source = Source("/etc/modprobe.d/a.conf", 3)
    assert pickle.loads(pickle.dumps(source)) == source


@mutable
class Counter:
    """State: a count, a list of its own, and a name by keyword alone."""

    count: int
    seen: list[int] = field(default_factory=list)
    name: str = field(default="x", kw_only=True, repr=False)


def test_state_changes_and_is_equal_to_itself_alone() -> None:
    counter = Counter(1)
    counter.count += 1
    assert counter.count == 2
    assert counter != Counter(2)
    assert len({counter, counter}) == 1


def test_a_default_that_is_made_belongs_to_one_object() -> None:
    first, second = Counter(1), Counter(1, name="y")
    first.seen.append(1)
    assert (second.seen, second.name) == ([], "y")
    assert repr(first) == "Counter(count=1, seen=[1])"
    with pytest.raises(TypeError):
        Counter(1, [], "y")


def test_what_takes_dataclasses_takes_these() -> None:
    point: Any = Point  # mypy would know no more of it after the next line
    assert dataclasses.is_dataclass(point)
    assert dataclasses.replace(Point(1), y=2) == Point(1, 2)
    assert dataclasses.asdict(Counter(1)) == {"count": 1, "seen": [], "name": "x"}
    assert [it.name for it in dataclasses.fields(Point)] == ["x", "y"]
    assert copy.deepcopy(Point(1)) == Point(1)


def test_a_record_within_itself_can_be_pickled() -> None:
    node = Counter(1)
    holder = Point(node, 2)  # type: ignore[arg-type]
    node.seen.append(holder)  # type: ignore[arg-type]
    found = pickle.loads(pickle.dumps(holder))
    assert found.x.seen[0] is found


def test_a_record_can_be_printed_prettily() -> None:
    """As pytest does where two of them differ."""
    point = Point(10**50, 10**50)
    assert pprint.pformat(point, width=60) == repr(point)


def test_asdict_is_that_of_dataclasses() -> None:
    @record
    class Outer:
        point: Point
        points: tuple[Point, ...]
        by_name: dict[str, list[Point]]

    outer = Outer(Point(1), (Point(2), Point(3)), {"a": [Point(4)]})
    assert asdict(outer) == dataclasses.asdict(outer)
