"""request_module(): kernel/kmod.c."""

from __future__ import annotations

from errno import ENAMETOOLONG, ENOENT, ETIME
from typing import TYPE_CHECKING, Final

from ukmod.kernel.bug import Site, warn_once
from ukmod.kernel.export import export
from ukmod.kernel.kern_levels import KERN_WARNING
from ukmod.kernel.lib import vsprintf
from ukmod.kernel.lib.ratelimit import RateLimit
from ukmod.kernel.module.main import MODULE_NAME_LEN
from ukmod.kernel.sched.core import TASK_KILLABLE
from ukmod.kernel.sched.waiters import Waiters
from ukmod.kernel.trace import Request
from ukmod.kernel.umh import UMH_KILLABLE, UMH_WAIT_EXEC, UMH_WAIT_PROC
from ukmod.machine.abi import Bool, CStr, Int, VarArgs

if TYPE_CHECKING:
    from ukmod.kernel.core import Core

MAX_KMOD_CONCURRENT: Final = 50
"""The maximum number of concurrent modprobe processes."""
MAX_KMOD_ALL_BUSY_TIMEOUT: Final = 5
"""How long a further request waits for one of them, in seconds."""
KMOD_PATH_LEN: Final = 256
_FROM_ASYNC: Final = Site("kernel/kmod.c", 136, "__request_module")
ENVIRONMENT: Final = ("HOME=/", "TERM=linux", "PATH=/sbin:/usr/sbin:/bin:/usr/bin")


class Requests:
    """The state of request_module(): the path of modprobe and the number of requests in progress."""

    def __init__(self, kernel: Core, modprobe_path: str = "/sbin/modprobe") -> None:
        self._k = kernel
        self._modprobe_path = modprobe_path
        self._free = MAX_KMOD_CONCURRENT
        self._waiters = Waiters(kernel)
        self._throttled = RateLimit(kernel, "__request_module")
        self._refused = RateLimit(kernel, "__request_module")
        self._killed = RateLimit(kernel, "__request_module")

    @property
    def modprobe_path(self) -> str:
        """sysctl kernel.modprobe, up to KMOD_PATH_LEN bytes; if empty, no module is loaded on request."""
        at = self._k.image.get("modprobe_path") if self._k.image is not None else None
        if at is None:
            return self._modprobe_path
        return self._k.memory.cstring(at, KMOD_PATH_LEN).decode("utf-8", "surrogateescape")

    @modprobe_path.setter
    def modprobe_path(self, path: str) -> None:
        text = path.encode("utf-8", "surrogateescape")[: KMOD_PATH_LEN - 1]
        self._modprobe_path = text.decode("utf-8", "surrogateescape")
        if self._k.image is not None and (at := self._k.image.get("modprobe_path")) is not None:
            self._k.memory.write(at, text + b"\0")

    def request(self, name: str, *, wait: bool = True, caller: str = "") -> int:
        """__request_module(): have modprobe load ``name``.

        Returns 0 (which does not guarantee that the module is loaded), modprobe's wait status, or a negative
        errno: -ENOENT (no modprobe), -ENAMETOOLONG, -ETIME (50 others were in progress for more than five
        seconds), -ERESTARTSYS (killed while waiting).
        """
        k = self._k
        task = k.sched.task()
        comm, started = k.tasks.comm(task), k.clock.now
        k.trace.step(task.pid, comm, "request_module", name)
        result, helper = self._request(name, wait=wait)
        k.trace.step(task.pid, comm, "request_module returns", str(result))
        k.trace.request(Request(started, task.pid, comm, caller, name, wait, result, helper=helper))
        return result

    def _request(self, name: str, *, wait: bool) -> tuple[int, int]:
        """Make the request; returns the result and the pid of modprobe."""
        if wait and self._k.async_calls.current_is_async():
            warn_once(
                self._k, _FROM_ASYNC
            )  # the module may wait for this call, as each module's loading does
        if not self.modprobe_path:
            return -ENOENT, 0
        if len(name.encode("utf-8", "surrogateescape")) >= MODULE_NAME_LEN:
            return -ENAMETOOLONG, 0
        if self._free == 0:
            error = self._throttle(name)
            if error:
                return error, 0
        self._free -= 1
        try:
            return self._call_modprobe(name, UMH_WAIT_PROC if wait else UMH_WAIT_EXEC)
        finally:
            self._free += 1
            self._waiters.wake_all()

    def _throttle(self, name: str) -> int:
        limit, seconds = MAX_KMOD_CONCURRENT, MAX_KMOD_ALL_BUSY_TIMEOUT
        text = (
            f"kmod_concurrent_max (0) close to 0 (max_modprobes: {limit}), for module {name}, throttling..."
        )
        self._throttled.printk(f"request_module: {text}", KERN_WARNING)
        timeout = seconds * self._k.clock.hz
        left = self._waiters.wait_event(lambda: self._free > 0, TASK_KILLABLE, timeout)
        if left == 0:
            text = f"cannot be processed, kmod busy with {limit} threads for more than {seconds} seconds now"
            self._refused.printk(f"request_module: modprobe {name} {text}", KERN_WARNING)
            return -ETIME
        if left < 0:
            text = f"request_module: sigkill sent for modprobe {name}, giving up"
            self._killed.printk(text, KERN_WARNING)
            return left
        return 0

    def _call_modprobe(self, name: str, wait: int) -> tuple[int, int]:
        helpers = self._k.helpers
        argv = (self.modprobe_path, "-q", "--", name)
        info = helpers.setup(self.modprobe_path, argv, ENVIRONMENT)
        result = helpers.exec(info, wait | UMH_KILLABLE)
        return result, info.pid


@export("__request_module")
def request_module(k: Core, wait: Bool, fmt: CStr, args: VarArgs) -> Int:
    """``int __request_module(bool wait, const char *fmt, ...)``: request_module() and the _nowait variant."""
    caller = k.caller()
    if not k.requests.modprobe_path:
        return k.requests.request("", wait=wait, caller=caller)
    name = vsprintf.vformat(k, fmt, args).split(b"\0")[0].decode("utf-8", "surrogateescape")
    return k.requests.request(name, wait=wait, caller=caller)
