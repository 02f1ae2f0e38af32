"""The text form of transcripts can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.steps import Insmod, Join, LogLine, Outcome, Rmmod, Sleep, Start, Sysctl
from tests.transcript import describe, log_of, parse, render

EXAMPLE = """\
# demo: an example
# of a header
> insmod rm_call name=nobody
= 0
<4>rm_call: request_module("nobody") returned 256
> read /proc/sys/kernel/modprobe
= 0
|
| /sbin/modprobe
> insmod oops
=
<0>Kernel panic - not syncing: so it goes
"""

_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.rstrip)
_outcomes = st.lists(
    st.builds(
        Outcome,
        step=_text.filter(bool),
        result=_text,
        output=st.lists(_text, max_size=3).map(tuple),
        log=st.lists(st.builds(LogLine, st.integers(0, 7), _text), max_size=3).map(tuple),
    ),
    max_size=4,
).map(tuple)


def test_a_transcript_is_read_by_line() -> None:
    first, second, third = parse(EXAMPLE)
    assert first == Outcome(
        "insmod rm_call name=nobody", "0", log=(LogLine(4, 'rm_call: request_module("nobody") returned 256'),)
    )
    assert second.output == ("", "/sbin/modprobe")
    assert third.result == ""
    assert log_of((first, third))[-1] == LogLine(0, "Kernel panic - not syncing: so it goes")


@given(_outcomes)
def test_what_is_written_is_read_back(found: tuple[Outcome, ...]) -> None:
    assert parse(render(found, header=("a header", ""))) == found


@pytest.mark.parametrize("line", ["= 0", "<4>text", "nonsense"])
def test_a_line_out_of_place_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        parse(line)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Insmod("ok_dep", "x=1"), "insmod ok_dep x=1"),
        (Insmod("ok_dep"), "insmod ok_dep"),
        (Start(Rmmod("ok_dep")), "start rmmod ok_dep"),
        (Sleep(0.5), "sleep 0.5"),
        (Sysctl("kernel.modprobe", ""), "sysctl kernel.modprobe="),
        (Join(), "join"),
    ],
)
def test_steps_are_named_as_a_person_would_type_them(step: Insmod, text: str) -> None:
    assert describe(step) == text
