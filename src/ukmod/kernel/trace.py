"""What happened on the way of a request, as values: for pictures of the path, and for the curious."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ukmod.kernel.time.clock import Clock


@dataclass(frozen=True, slots=True)
class Step:
    """One step: at ``time`` (nanoseconds since boot), task ``pid`` named ``comm`` did ``what``."""

    time: int
    pid: int
    comm: str
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of request_module()."""

    time: int
    """When it was made, in nanoseconds since boot."""
    pid: int
    comm: str
    caller: str
    """The function, offset and module that made it."""
    name: str
    """What it asked for."""
    wait: bool
    result: int
    """What it returned: 0, a wait status, or a negative errno."""
    resolved: tuple[str, ...] = ()
    """The files that the helper, modprobe, then asked the kernel to load, in order: none if the kernel has
    the module, or nothing has that name."""
    loaded: tuple[str, ...] = ()
    """Modules that became live through it, in order."""
    helper: int = 0
    """The process that was modprobe; 0 if there was none."""


class Trace:
    """The steps and requests of a run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.steps: list[Step] = []
        self.requests: list[Request] = []

    def step(self, pid: int, comm: str, what: str, detail: str = "") -> None:
        """Note a step, now."""
        self.steps.append(Step(self._clock.now, pid, comm, what, detail))
        for index, request in enumerate(self.requests):
            if request.helper == pid:
                self.requests[index] = self._so_far(request)

    def request(self, request: Request) -> None:
        """Note a request that has returned. If it did not wait, what its helper does later is added then."""
        self.requests.append(self._so_far(request))

    def _so_far(self, request: Request) -> Request:
        if request.wait or not request.helper:
            return request
        its = [step for step in self.steps if step.pid == request.helper]
        resolved, loaded = (
            tuple(step.detail for step in its if step.what == what) for what in ("finit_module", "live")
        )
        return replace(request, resolved=resolved, loaded=loaded)
