"""The path of each request, from the steps of a trace."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ukmod.kernel.timeline import Arrow, Span, timeline
from ukmod.kernel.trace import STEPS, TraceStep

A, WORKER, HELPER, B = 10, 20, 30, 11
REQUEST = [
    TraceStep(1, A, "asker", "request_module", "m"),
    TraceStep(2, A, "asker", "queue_work", "khelper"),
    TraceStep(3, WORKER, "kworker", "kernel_thread", "/sbin/modprobe", caller=A, child=HELPER),
    TraceStep(4, HELPER, "modprobe", "execve", "/sbin/modprobe m"),
    TraceStep(5, HELPER, "modprobe", "finit_module", "m.ko"),
    TraceStep(6, HELPER, "modprobe", "init", "start [m]"),
    TraceStep(7, HELPER, "modprobe", "init returns", "0"),
    TraceStep(7, HELPER, "modprobe", "live", "m"),
    TraceStep(8, HELPER, "modprobe", "finit_module returns", "0"),
    TraceStep(9, HELPER, "modprobe", "exit"),
    TraceStep(10, A, "asker", "request_module returns", "0"),
]


def test_what_each_task_did_from_when_to_when() -> None:
    found = timeline(REQUEST)
    assert found.tasks == {A: "asker", WORKER: "kworker", HELPER: "modprobe"}
    assert found.spans == (
        Span(A, "request_module", "m", 1, 10, "0"),
        Span(WORKER, "kernel_thread", "/sbin/modprobe", 3, 4),
        Span(HELPER, "execve", "/sbin/modprobe m", 4, 9),
        Span(HELPER, "finit_module", "m.ko", 5, 8, "0"),
        Span(HELPER, "init", "start [m]", 6, 7, "0"),
    )
    assert found.depths == (0, 1, 2, 3, 4, 5, 5, 5, 4, 3, 0)


def test_arrows_lead_from_the_request_to_the_helper_to_init_and_back() -> None:
    assert timeline(REQUEST).arrows == (
        Arrow(A, 3, WORKER, 3, "helper"),
        Arrow(WORKER, 3, HELPER, 4, "program"),
        Arrow(HELPER, 4, HELPER, 6, "init"),
        Arrow(HELPER, 9, A, 10, "result"),
    )


def test_requests_at_the_same_time_are_told_apart() -> None:
    other = [
        TraceStep(
            step.time,
            {A: B, HELPER: 31}.get(step.pid, step.pid),
            step.comm,
            step.what,
            step.detail,
            B if step.caller else 0,
            31 if step.child else 0,
        )
        for step in REQUEST
    ]
    both = [step for pair in zip(REQUEST, other, strict=True) for step in pair]
    arrows = timeline(both).arrows
    assert [(one.pid, one.to_pid) for one in arrows if one.what == "helper"] == [(A, WORKER), (B, WORKER)]
    assert [(one.pid, one.to_pid) for one in arrows if one.what == "result"] == [(HELPER, A), (31, B)]


def test_a_step_without_an_end_lasts_until_the_last_step() -> None:
    found = timeline(REQUEST[:6])
    assert {span.what: span.end for span in found.spans} == {
        "request_module": 6,
        "kernel_thread": 4,
        "execve": 6,
        "finit_module": 6,
        "init": 6,
    }
    assert all(span.result == "" for span in found.spans)


def test_ends_whose_beginnings_are_not_kept_are_passed_over() -> None:
    found = timeline(REQUEST[6:])
    assert found.spans == ()
    assert found.arrows == ()


@given(
    st.lists(
        st.builds(
            TraceStep,
            st.integers(0, 5),
            st.integers(1, 4),
            st.text(max_size=3),
            st.sampled_from(STEPS),
            st.text(max_size=3),
            st.integers(0, 4),
            st.integers(0, 4),
        )
    )
)
def test_any_steps_give_a_timeline(steps: list[TraceStep]) -> None:
    steps.sort(key=lambda step: step.time)
    found = timeline(steps)
    assert len(found.depths) == len(steps)
    assert all(span.begin <= span.end for span in found.spans)
    assert all(arrow.time <= arrow.to_time for arrow in found.arrows)
