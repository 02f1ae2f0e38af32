"""The steps of a request as values, for diagrams and diagnosis."""

from __future__ import annotations

from collections import deque

from ukmod.kernel.limits import MAX_TRACE
from ukmod.kernel.time.clock import Clock
from ukmod.record import record, replace


@record
class TraceStep:
    """One step: at ``time`` (nanoseconds since boot), task ``pid`` named ``comm`` did ``what``.

    ``what`` is one of STEPS. What takes time begins with one step and ends with another.
    """

    time: int
    pid: int
    comm: str
    what: str
    detail: str = ""
    caller: int = 0
    """The pid of the task on whose behalf a worker starts a helper; 0 in other steps."""
    child: int = 0
    """The pid of the task that a worker starts, and that becomes the helper; 0 in other steps."""


ENDS = {
    "request_module": "request_module returns",
    "execve": "exit",
    "finit_module": "finit_module returns",
    "init": "init returns",
}
"""Steps that take time, and the step that ends each. Its detail is the result, empty after a crash."""
STEPS = (*ENDS, *ENDS.values(), "queue_work", "kernel_thread", "live")


@record
class Request:
    """One call of request_module()."""

    time: int
    """When it was made, in nanoseconds since boot."""
    pid: int
    comm: str
    caller: str
    """The function, offset and module that made it."""
    name: str
    """The requested name."""
    wait: bool
    result: int
    """The result: 0, a wait status, or a negative errno."""
    resolved: tuple[str, ...] = ()
    """The files that the helper, modprobe, asked the kernel to load, in order.

    Empty if the module is already loaded, or no module has that name.
    """
    loaded: tuple[str, ...] = ()
    """Modules that its helper loaded and that became live, in order."""
    helper: int = 0
    """The pid of modprobe; 0 if none was started."""


_ASKED, _LIVE = "finit_module", "live"
"""The steps of a helper that determine the result of its request."""


class Trace:
    """The latest steps and requests of a run.

    A module is credited to the request whose helper, or a process started by that helper, loaded it. Requests
    may overlap, and a module's init function may make requests of its own.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.steps: deque[TraceStep] = deque(maxlen=MAX_TRACE)
        self._requests: deque[Request] = deque(maxlen=MAX_TRACE)
        self._helper_of: dict[int, int] = {}
        """By pid: the pid of the usermode helper that the process is, or descends from."""
        self._deeds: dict[int, deque[TraceStep]] = {}
        """By the helper's pid: its steps that concern loading. The latest helpers come last."""

    def clear(self) -> None:
        """Discard all steps and requests."""
        for kept in (self.steps, self._requests, self._helper_of, self._deeds):
            kept.clear()

    def step(
        self, pid: int, comm: str, what: str, detail: str = "", *, caller: int = 0, child: int = 0
    ) -> None:
        """Record a step at the current time; see TraceStep."""
        step = TraceStep(self._clock.now, pid, comm, what, detail, caller, child)
        self.steps.append(step)
        if what in (_ASKED, _LIVE) and (helper := self._helper_of.get(pid)) is not None:
            if helper not in self._deeds and len(self._deeds) == MAX_TRACE:
                del self._deeds[next(iter(self._deeds))]
            self._deeds.setdefault(helper, deque(maxlen=MAX_TRACE)).append(step)

    def helper(self, pid: int) -> None:
        """Record that a process is a usermode helper."""
        self._helper_of[pid] = pid
        self._deeds.pop(pid, None)  # of a helper that had this pid before

    def forked(self, parent: int, child: int) -> None:
        """Record that a process has started another one, on behalf of the same helper."""
        if (helper := self._helper_of.get(parent)) is not None:
            self._helper_of[child] = helper

    def ended(self, pid: int) -> None:
        """Record that a process has ended, so that its pid may become another's."""
        self._helper_of.pop(pid, None)

    def request(self, request: Request) -> None:
        """Record a request that has returned."""
        self._requests.append(request)

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests that have returned, each with the modules that its helper has loaded so far."""
        return tuple(map(self._so_far, self._requests))

    def _so_far(self, request: Request) -> Request:
        resolved, loaded = (
            tuple(step.detail for step in self._deeds.get(request.helper, ()) if step.what == what)
            for what in (_ASKED, _LIVE)
        )
        return replace(request, resolved=resolved, loaded=loaded)
