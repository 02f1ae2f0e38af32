"""What the kernel does for a loaded module: works, waits, threads, printing, memory."""

from __future__ import annotations

from tests.steps import Case, Insmod, Program, Rmmod, Sleep

CONCURRENCY = (
    *(
        Case(
            f"work_{part}",
            f"workqueues: {part.replace('_', ' ')}",
            (Insmod("work", f"part={part}"), Rmmod("work")),
        )
        for part in ("order", "flush", "cancel", "delayed", "concurrent", "pending_at_exit")
    ),
    *(
        Case(f"waits_{part}", f"waiting: {part}", (Insmod("waits", f"part={part}"), Rmmod("waits")))
        for part in ("completion", "events", "locks")
    ),
    Case("threads", "kernel threads: create, wake, stop, park, exit", (Insmod("threads"), Rmmod("threads"))),
    Case(
        "priorities",
        "flags, policies and priorities of threads and workers",
        (Insmod("priorities"), Rmmod("priorities")),
    ),
    Case(
        "rescuer",
        "the thread of each workqueue with WQ_MEM_RECLAIM",
        (Insmod("rescuer"), Rmmod("rescuer")),
    ),
    Case(
        "signals", "signals to kernel threads that allow none, or some", (Insmod("signals"), Rmmod("signals"))
    ),
    *(
        Case(
            f"async_{what}",
            f"asynchronous function calls: {what.replace('_', ' ')}",
            (Insmod("async_calls", f"what={what}"), Sleep(0.5), Rmmod("async_calls")),
        )
        for what in ("order", "domain", "init", "request", "request_nowait")
    ),
    Case(
        "srcu",
        "a static SRCU domain: readers, grace periods, callbacks; loaded twice",
        2 * (Insmod("srcu"), Rmmod("srcu")),
    ),
    Case(
        "traces",
        "call traces that a module saves: stack_trace_save() and stack_trace_print()",
        (Insmod("traces"), Rmmod("traces")),
    ),
    *(
        Case(
            f"atomic_{part}",
            f"the context in which the kernel calls a module: {part.replace('_', ' ')}",
            (Insmod("atomic", f"part={part}"), Rmmod("atomic")),
        )
        for part in ("tasklets", "timers", "irq_works")
    ),
    *(
        Case(
            f"atomic_{part}",
            f"an oops while softirqs are off ends the machine: {part.replace('_', ' ')}",
            (Insmod("atomic", f"part={part}"),),
            dies=True,
        )
        for part in ("oops_in_tasklet", "oops_with_softirqs_off")
    ),
    *(
        Case(
            f"thread_signals_{part}",
            f"signals to kernel threads: {part}",
            (Insmod("thread_signals", f"part={part}"), Sleep(0.2), Rmmod("thread_signals")),
        )
        for part in ("ignored", "queued", "groups")
    ),
    *(
        Case(
            f"freezer_{part}",
            f"the freezer: {part}",
            (Insmod("freezer", f"part={part}"), Sleep(3), Rmmod("freezer")),
            programs=(
                Program("/sbin/helper", sleep=1, log="the helper ends"),
                Program("/sbin/slow", sleep=3, log="the slow one ends"),
            ),
            needs_image=True,
        )
        for part in ("tasks", "queues", "helpers", "states", "refused", "forbidden")
    ),
    Case("timers", "timers, hrtimers, and the ways to sleep", (Insmod("timers"), Rmmod("timers"))),
)

PRINTING = (
    Case("printk_formats", "every conversion of vsnprintf()", (Insmod("printk_formats"),)),
    Case(
        "printk_wrong", "formats that are none: the kernel warns of one", (Insmod("printk_formats", "bad=1"),)
    ),
    Case("printk_levels", "levels, continued lines, rate limits", (Insmod("printk_levels"),)),
    Case("strings", "kstrto*, sscanf, strscpy and their like", (Insmod("strings"),)),
)

MEMORY = (
    *(
        Case(
            f"slab_{part}",
            f"the allocator: {part.replace('_', ' ')}",
            (Insmod("slab", f"part={part}"), Rmmod("slab")),
        )
        for part in ("good", "leak", "double_free", "use_after_free", "overflow", "cache_busy", "too_large")
    ),
    *(
        Case(
            f"refused_{part}",
            f"{part} with sizes that are refused",
            (Insmod("refused", f"part={part}"), Rmmod("refused")),
        )
        for part in ("vmalloc", "pages")
    ),
)
