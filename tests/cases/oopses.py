"""Every way to go wrong."""

from __future__ import annotations

from tests.steps import Case, Insmod, Read, Rmmod, Sleep, Sysctl

_OOPSES = {
    "null_write": "a write near address 0",
    "null_read": "a read near address 0",
    "bad_address": "a write to a non-canonical address",
    "user_address": "a write to a user address",
    "bug": "BUG()",
    "warn": "WARN_ON(), WARN_ON_ONCE() and WARN(), which go on",
    "divide": "a division by zero",
    "jump_data": "a call into data",
    "jump_null": "a call of a null pointer",
    "write_const": "a write to a constant",
    "write_text": "a write to the module's own code",
    "recursion": "endless recursion",
    "stack_smash": "an array overrun that the stack protector sees",
    "list_corruption": "list_del() twice",
    "sleep_in_atomic": "msleep() with preemption disabled",
    "undefined": "an undefined instruction",
    "panic": "panic()",
}

_FATAL = {"stack_smash", "panic", "recursion"}

OOPSES = (
    *(
        Case(
            f"oops_{kind}",
            f"{about}, in init",
            (
                Insmod("oops", f"kind={kind}"),
                Read("/proc/modules"),
                Rmmod("oops"),
                Read("/proc/sys/kernel/tainted"),
            ),
            dies=kind in _FATAL,
        )
        for kind, about in _OOPSES.items()
    ),
    Case(
        "oops_in_thread",
        "a write near address 0 in a kernel thread: the module stays as it is",
        (
            Insmod("oops", "kind=null_write thread=1"),
            Read("/proc/modules"),
            Rmmod("oops"),
            Insmod("ok_dep"),
        ),
    ),
    Case(
        "oops_panics",
        "a write near address 0 where kernel.panic_on_oops is set",
        (Sysctl("kernel.panic_on_oops", "1"), Insmod("oops", "kind=null_write")),
        dies=True,
    ),
    *(
        Case(
            f"watchers_{what}",
            f"die notifiers and dumpers of the log hear of it: {what}",
            (Insmod("watchers", f"what={what}"), Read("/proc/modules")),
            dies=what in {"breakpoint", "panic"},
            needs_image=True,
        )
        for what in ("undefined", "divide", "protection", "breakpoint", "write", "bug", "panic")
    ),
    *(
        Case(
            f"watchers_stop_{what}",
            f"a die notifier goes on behind the instruction: {what}",
            (Insmod("watchers", f"what={what} stop=1"), Read("/proc/modules"), Rmmod("watchers")),
            needs_image=True,
        )
        for what in ("undefined", "divide", "protection", "breakpoint", "write")
    ),
    *(
        Case(
            f"misuse_{part}",
            f"calls in the wrong place: {part.replace('_', ' ')}",
            (Insmod("misuse", f"part={part}"), Read("/proc/sys/kernel/tainted"), Rmmod("misuse")),
        )
        for part in (
            *("reader_sleeps", "no_thread", "no_data", "stops_itself", "stops_nothing", "stops_an_error"),
            *("too_late", "taints"),
        )
    ),
    Case(
        "thread_left",
        "a thread that is still there when its module is unloaded",
        (Insmod("thread_left"), Rmmod("thread_left"), Sleep(1), Insmod("ok_dep")),
    ),
)
