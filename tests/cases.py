"""Every case. The data model is in ``tests/steps.py``; the modules' sources are in ``examples``.

``tests/golden`` holds what a real kernel did with each; ``python -m tests.real.golden`` remakes that.
"""

from __future__ import annotations

from tests.steps import (
    Case,
    Insmod,
    Join,
    Kill,
    Modprobe,
    Program,
    Read,
    Rmmod,
    Sleep,
    Start,
    Sysctl,
    Write,
)

_LONG = "name_that_is_long_"

REQUEST_MODULE = (
    Case(
        "demo",
        "examples/request_module: K1 loads send_signal on demand, whose K2 sends K1 two signals",
        (
            Insmod("signal_handling"),
            Sleep(4.8),
            Read("/proc/modules"),
            Rmmod("signal_handling"),
            Rmmod("send_signal"),
            Rmmod("signal_handling"),
        ),
    ),
    Case(
        "demo_not_installed",
        "the demo where modprobe cannot find send_signal",
        (Insmod("signal_handling"), Sleep(2.5), Rmmod("signal_handling")),
        config="install send_signal /bin/false\n",
    ),
    Case(
        "request_module_loads",
        "request_module() of a module that loads, again when it is there, by alias, with a dash",
        (
            Insmod("rm_call", "name=ok_dep times=2"),
            Read("/proc/modules"),
            Rmmod("rm_call"),
            Rmmod("ok_dep"),
            Insmod("rm_call", "name=ok-dep"),
            Rmmod("rm_call"),
            Rmmod("ok_dep"),
            Insmod("rm_call", "name=ok-alias-7"),
            Rmmod("rm_call"),
            Rmmod("ok_dep"),
            Insmod("rm_call", "name=uses_exporter"),
            Read("/proc/modules"),
        ),
    ),
    Case(
        "request_module_config",
        "modprobe.d's options, alias, blacklist, softdep and install, as the kernel's requests meet them",
        (
            Insmod("rm_call", "name=other-name"),
            Rmmod("rm_call"),
            Rmmod("ok_dep"),
            Insmod("rm_call", "name=ok-alias-7"),
            Rmmod("rm_call"),
            Insmod("rm_call", "name=no_exit"),
            Rmmod("rm_call"),
            Insmod("rm_call", "name=never"),
            Read("/proc/modules"),
        ),
        config=(
            "alias other-name ok_dep\noptions ok_dep x=5\nblacklist ok_dep\n"
            "softdep no_exit pre: ok_dep post: exporter\ninstall never /bin/sh -c 'exit 7'\n"
        ),
    ),
    Case(
        "request_module_returns",
        "what request_module() returns when all does not go well",
        (
            Insmod("rm_call", "name=nobody"),
            Rmmod("rm_call"),
            Insmod("rm_call", "name=ret_enodev"),
            Rmmod("rm_call"),
            Insmod("rm_call", "name=needs_missing_symbol"),
            Rmmod("rm_call"),
            Insmod("rm_call", "name=net-pf-99"),
            Rmmod("rm_call"),
            Insmod("rm_call", f"name={(_LONG * 5)[:79]}"),
            Rmmod("rm_call"),
            Insmod("rm_call", f"name={(_LONG * 5)[:56]}"),
            Rmmod("rm_call"),
            Insmod("rm_call", f"name={(_LONG * 5)[:55]}"),
            Rmmod("rm_call"),
            Insmod("rm_call", 'name="ok_dep x=1"'),
            Rmmod("rm_call"),
            Insmod("rm_call", "name="),
            Rmmod("rm_call"),
            Insmod("rm_call", "name=other_config"),
        ),
    ),
    Case(
        "request_module_nowait",
        "request_module_nowait() returns before modprobe has done anything",
        (
            Insmod("rm_call", "name=nobody nowait=1"),
            Rmmod("rm_call"),
            Insmod("rm_call", "name=ok_dep nowait=1"),
            Sleep(1),
            Rmmod("rm_call"),
            Sysctl("kernel.modprobe", "/sbin/missing"),
            Insmod("rm_call", "name=ok_dep nowait=1"),
        ),
    ),
    Case(
        "request_module_helper",
        "kernel.modprobe names another program, or none",
        (
            Sysctl("kernel.modprobe", "/sbin/says"),
            Read("/proc/sys/kernel/modprobe"),
            Insmod("rm_call", "name=some-name"),
            Rmmod("rm_call"),
            Sysctl("kernel.modprobe", "/sbin/exits3"),
            Insmod("rm_call", "name=some-name"),
            Rmmod("rm_call"),
            Sysctl("kernel.modprobe", "/sbin/dies"),
            Insmod("rm_call", "name=some-name"),
            Rmmod("rm_call"),
            Sysctl("kernel.modprobe", "/sbin/not-executable"),
            Insmod("rm_call", "name=some-name"),
            Rmmod("rm_call"),
            Sysctl("kernel.modprobe", "/sbin/missing"),
            Insmod("rm_call", "name=some-name"),
            Rmmod("rm_call"),
            Sysctl("kernel.modprobe", "/sbin"),
            Insmod("rm_call", "name=some-name"),
            Rmmod("rm_call"),
            Sysctl("kernel.modprobe", ""),
            Read("/proc/sys/kernel/modprobe"),
            Insmod("rm_call", "name=ok_dep"),
            Rmmod("rm_call"),
            Sysctl("kernel.modprobe", "/sbin/loads"),
            Insmod("rm_call", "name=anything"),
        ),
        programs=(
            Program("/sbin/says", say=True),
            Program("/sbin/exits3", status=3),
            Program("/sbin/dies", signal=9),
            Program("/sbin/not-executable", executable=False),
            Program("/sbin/loads", load=("ok_dep", "x=3"), log="has loaded ok_dep"),
        ),
    ),
    Case(
        "request_module_50",
        "60 threads request a module at once; the helper takes a second",
        (Sysctl("kernel.modprobe", "/sbin/slow"), Insmod("rm_flood"), Rmmod("rm_flood")),
        programs=(Program("/sbin/slow", sleep=1),),
    ),
    Case(
        "request_module_50_timeout",
        "60 threads request a module at once; the helper takes longer than the ten are ready to wait",
        (Sysctl("kernel.modprobe", "/sbin/slow"), Insmod("rm_flood"), Rmmod("rm_flood")),
        programs=(Program("/sbin/slow", sleep=8),),
        unordered=r"request_module: modprobe flood-\d+ cannot be processed, .*",
    ),
    Case(
        "request_module_ring",
        "a module requests, in its init, a module that requests the first one: nobody gets on",
        (Start(Insmod("ring_a")), Sleep(20), Read("/proc/modules"), Rmmod("ring_a"), Insmod("ok_dep")),
    ),
    Case(
        "request_module_ring_killed",
        "the ring, and then its modprobes are killed",
        (
            Start(Insmod("ring_a")),
            Sleep(2),
            Kill("modprobe", 9),
            Sleep(2),
            Read("/proc/modules"),
            Join(),
        ),
    ),
    Case(
        "request_module_user",
        "a module requests, in its init, one that depends on it: modprobe waits for the end of that init",
        (
            Start(Insmod("exporter", "request=uses_exporter")),
            Sleep(40),
            Read("/proc/modules"),
            Kill("modprobe", 9),
            Join(),
            Read("/proc/modules"),
        ),
    ),
    Case(
        "request_module_together",
        "eight threads request the same module: it is loaded once, and all wait for it",
        (Insmod("rm_flood", "threads=8 name=exporter"), Read("/proc/modules")),
        config="options exporter init_ms=500\n",
    ),
    Case(
        "request_module_together_fails",
        "eight threads request the same module, whose init fails",
        (Insmod("rm_flood", "threads=8 name=exporter"), Read("/proc/modules")),
        config="options exporter init_ms=500 ret=-5\n",
    ),
    Case(
        "request_module_self",
        "a module requests itself in its init",
        (Start(Insmod("rm_call", "name=rm_call")), Sleep(20), Read("/proc/modules")),
    ),
    Case(
        "request_module_killed",
        "a thread that waits in request_module() is killed; the helper runs on",
        (
            Sysctl("kernel.modprobe", "/sbin/slow"),
            Insmod("killed_waiter"),
            Sleep(3),
            Rmmod("killed_waiter"),
        ),
        programs=(Program("/sbin/slow", sleep=2, log="is still here"),),
    ),
    Case(
        "request_module_signalled",
        "a thread that waits in request_module() gets a signal that is not fatal",
        (
            Sysctl("kernel.modprobe", "/sbin/slow"),
            Insmod("killed_waiter", "sig=10"),
            Sleep(3),
            Rmmod("killed_waiter"),
        ),
        programs=(Program("/sbin/slow", sleep=2, log="is still here"),),
    ),
    Case(
        "try_then_request_module",
        "try_then_request_module() looks, asks, looks again; __symbol_get() holds the module",
        (
            Insmod("try_then"),
            Rmmod("exporter"),
            Read("/proc/modules"),
            Rmmod("try_then"),
            Rmmod("exporter"),
            Insmod("try_then", "provider=nobody"),
            Insmod("try_then", "symbol=exporter_plain"),
        ),
    ),
)

USERMODE_HELPER = (
    Case(
        "usermodehelper",
        "call_usermodehelper_exec() with UMH_WAIT_PROC, UMH_WAIT_EXEC and UMH_NO_WAIT, callbacks and all",
        (
            Insmod("umh_call", "wait=2"),
            Rmmod("umh_call"),
            Insmod("umh_call", "wait=1"),
            Sleep(1),
            Rmmod("umh_call"),
            Insmod("umh_call", "wait=0"),
            Sleep(1),
            Rmmod("umh_call"),
            Insmod("umh_call", "wait=6"),
            Rmmod("umh_call"),
            Insmod("umh_call", "plain=1"),
            Rmmod("umh_call"),
        ),
        programs=(Program("/sbin/helper", say=True, sleep=0.3, log="ends", status=5),),
    ),
    Case(
        "usermodehelper_fails",
        "a helper that cannot start: what each way to wait returns, and what the callbacks see",
        (
            Insmod("umh_call", "wait=2 path=/sbin/missing"),
            Rmmod("umh_call"),
            Insmod("umh_call", "wait=1 path=/sbin/missing"),
            Rmmod("umh_call"),
            Insmod("umh_call", "wait=0 path=/sbin/missing"),
            Sleep(1),
            Rmmod("umh_call"),
            Insmod("umh_call", "wait=2 init_ret=-1"),
            Rmmod("umh_call"),
            Insmod("umh_call", "wait=1 init_ret=-13"),
            Rmmod("umh_call"),
            Insmod("umh_call", "wait=2 path="),
            Rmmod("umh_call"),
            Insmod("umh_call", "wait=2 path=/sbin/dies"),
        ),
        programs=(Program("/sbin/helper", say=True), Program("/sbin/dies", signal=15)),
    ),
)

LOADING = (
    Case(
        "load_and_unload",
        "insmod, insmod again, rmmod, rmmod again",
        (
            Insmod("ok_dep", "x=4"),
            Insmod("ok_dep"),
            Read("/sys/module/ok_dep/initstate"),
            Read("/sys/module/ok_dep/refcnt"),
            Read("/sys/module/ok_dep/taint"),
            Read("/sys/module/ok_dep/coresize"),
            Read("/sys/module/ok_dep/initsize"),
            Read("/proc/sys/kernel/tainted"),
            Rmmod("ok_dep"),
            Rmmod("ok_dep"),
            Rmmod("nonesuch"),
        ),
    ),
    Case(
        "init_fails",
        "an init that returns an error, or a positive number, which is no error",
        (
            Insmod("ret_enodev"),
            Insmod("ret_enodev", "ret=-12"),
            Insmod("ret_enodev", "ret=1"),
            Read("/proc/modules"),
            Rmmod("ret_enodev"),
            Insmod("ret_enodev", "ret=-4095"),
        ),
    ),
    Case(
        "unknown_symbol",
        "symbols that no one exports, or not yet; version magic of another configuration or release",
        (
            Insmod("needs_missing_symbol"),
            Insmod("uses_exporter"),
            Insmod("exporter"),
            Insmod("uses_exporter"),
            Rmmod("exporter"),
            Rmmod("uses_exporter"),
            Rmmod("exporter"),
            Insmod("other_config"),
            Insmod("other_release"),
        ),
    ),
    Case(
        "gpl_only",
        "a proprietary module may not have a symbol exported with EXPORT_SYMBOL_GPL",
        (
            Insmod("exporter"),
            Insmod("proprietary"),
            Insmod("proprietary_alone"),
            Read("/proc/modules"),
            Read("/proc/sys/kernel/tainted"),
            Rmmod("proprietary_alone"),
        ),
    ),
    Case(
        "namespace",
        "a symbol of a namespace that the module does not import",
        (Insmod("exporter"), Insmod("no_import"), Read("/proc/modules")),
    ),
    Case(
        "symbol_version",
        "a symbol that is exported, but whose version the module does not carry",
        (Insmod("exporter"), Insmod("unversioned")),
    ),
    Case(
        "modules_disabled",
        "kernel.modules_disabled, which cannot be taken back",
        (
            Insmod("ok_dep"),
            Insmod("rm_call", "times=0"),
            Write("/sys/module/rm_call/parameters/ask", "ok_dep"),
            Sysctl("kernel.modules_disabled", "1"),
            Write("/sys/module/rm_call/parameters/ask", "ok_dep"),
            Write("/sys/module/rm_call/parameters/ask", "exporter"),
            Insmod("exporter"),
            Rmmod("ok_dep"),
            Modprobe(("notifier",)),
            Sysctl("kernel.modules_disabled", "0"),
        ),
    ),
    Case(
        "coming",
        "a module needs the symbol of one whose init is not yet done: it waits",
        (
            Start(Insmod("exporter", "init_ms=2000")),
            Sleep(0.5),
            Read("/proc/modules"),
            Insmod("exporter"),
            Insmod("uses_exporter"),
            Join(),
            Read("/proc/modules"),
        ),
    ),
    Case(
        "coming_uses",
        "as coming, without a second insmod of the first before",
        (
            Start(Insmod("exporter", "init_ms=2000")),
            Sleep(0.5),
            Insmod("uses_exporter"),
            Join(),
            Read("/proc/modules"),
        ),
    ),
    Case(
        "coming_fails",
        "a module waits for one whose init then fails",
        (
            Start(Insmod("exporter", "init_ms=2000 ret=-5")),
            Sleep(0.5),
            Insmod("uses_exporter"),
            Join(),
        ),
    ),
    Case(
        "coming_too_long",
        "a module waits for one whose init takes more than the 30 seconds it is ready to wait",
        (
            Start(Insmod("exporter", "init_ms=40000")),
            Sleep(0.5),
            Insmod("uses_exporter"),
            Rmmod("exporter"),
            Join(),
        ),
    ),
    Case(
        "notifier",
        "the module notifier chain: COMING, LIVE, GOING, and a notifier that refuses",
        (
            Insmod("notifier", "refuse=no_exit"),
            Insmod("ok_dep"),
            Rmmod("ok_dep"),
            Insmod("ret_enodev"),
            Insmod("no_exit"),
            Insmod("needs_missing_symbol"),
            Rmmod("notifier"),
        ),
    ),
    Case(
        "references",
        "try_module_get() keeps a module; one without an exit is permanent",
        (
            Insmod("refs"),
            Write("/sys/module/refs/parameters/hold", "2"),
            Read("/sys/module/refs/refcnt"),
            Rmmod("refs"),
            Write("/sys/module/refs/parameters/hold", "0"),
            Rmmod("refs"),
            Insmod("refs", "hold=1"),
            Rmmod("refs"),
            Insmod("no_exit"),
            Read("/proc/modules"),
            Rmmod("no_exit"),
        ),
    ),
    Case(
        "modprobe",
        "the C kmod's modprobe from a shell: dependencies, options, removal",
        (
            Modprobe(("uses_exporter",)),
            Read("/proc/modules"),
            Modprobe(("-r", "exporter")),
            Modprobe(("-r", "uses_exporter")),
            Read("/proc/modules"),
            Modprobe(("ok_dep", "x=9")),
            Read("/sys/module/ok_dep/parameters/x"),
            Modprobe(("nobody",)),
            Modprobe(("-q", "nobody")),
            Modprobe(("needs_missing_symbol",)),
            Modprobe(("--show-depends", "uses_exporter")),
        ),
    ),
)

PARAMETERS = (
    Case(
        "params",
        "parameters of every kind, from the command line and through sysfs",
        (
            Insmod("params"),
            Rmmod("params"),
            Insmod(
                "params",
                "a_byte=255 a_short=-5 a_ushort=65535 an_int=0x10 a_uint=077 a_long=-9"
                " a_ulong=18446744073709551615 a_ullong=1"
                " a_hexint=0xbeef a_charp=text a_bool an_invbool=1 bint=y other-name=3 array=9,8,7"
                ' names=a,"b c" text=1234567 hidden=1 even=4',
            ),
            Read("/sys/module/params/parameters/a_byte"),
            Read("/sys/module/params/parameters/a_hexint"),
            Read("/sys/module/params/parameters/a_bool"),
            Read("/sys/module/params/parameters/an_invbool"),
            Read("/sys/module/params/parameters/array"),
            Read("/sys/module/params/parameters/names"),
            Read("/sys/module/params/parameters/text"),
            Read("/sys/module/params/parameters/even"),
            Read("/sys/module/params/parameters/hidden"),
            Read("/sys/module/params/parameters/other_name"),
            Write("/sys/module/params/parameters/an_int", "12"),
            Write("/sys/module/params/parameters/an_int", "twelve"),
            Write("/sys/module/params/parameters/an_int", "99999999999"),
            Write("/sys/module/params/parameters/a_charp", "another text"),
            Write("/sys/module/params/parameters/text", "much too long"),
            Write("/sys/module/params/parameters/even", "3"),
            Write("/sys/module/params/parameters/even", "8"),
            Write("/sys/module/params/parameters/enable_only", "1"),
            Write("/sys/module/params/parameters/enable_only", "0"),
            Write("/sys/module/params/parameters/nonesuch", "1"),
            Rmmod("params"),
        ),
    ),
    Case(
        "params_bad",
        "parameters the kernel refuses, and one that it only warns of",
        (
            Insmod("params", "an_int=text"),
            Insmod("params", "an_int"),
            Insmod("params", "an_int="),
            Insmod("params", "a_byte=256"),
            Insmod("params", "a_uint=-1"),
            Insmod("params", "a_bool=maybe"),
            Insmod("params", "array=1,2,3,4,5"),
            Insmod("params", "array=1,x"),
            Insmod("params", "text=12345678"),
            Insmod("params", "even=3"),
            Insmod("params", "a_charp"),
            Insmod("params", "nonesuch=1 an_int=2"),
            Rmmod("params"),
            Insmod("params", "unsafe=1"),
            Rmmod("params"),
            Insmod("params", "enable_only=0"),
            Rmmod("params"),
            Insmod("params", 'a_charp="never closed an_int=3'),
            Rmmod("params"),
            Insmod("params", "an_int=1 -- an_int=2"),
            Rmmod("params"),
            Insmod("params", "params.an_int=7"),
            Rmmod("params"),
            Insmod("params", "dyndbg=+p"),
        ),
    ),
)

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
        "signals", "signals to kernel threads that allow none, or some", (Insmod("signals"), Rmmod("signals"))
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

MEMORY = tuple(
    Case(
        f"slab_{part}",
        f"the allocator: {part.replace('_', ' ')}",
        (Insmod("slab", f"part={part}"), Rmmod("slab")),
    )
    for part in ("good", "leak", "double_free", "use_after_free", "overflow", "cache_busy", "too_large")
)

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
    Case(
        "thread_left",
        "a thread that is still there when its module is unloaded",
        (Insmod("thread_left"), Rmmod("thread_left"), Sleep(1), Insmod("ok_dep")),
    ),
)

NOT_ON_A_REAL_KERNEL = (
    Case(
        "inter_module",
        "the registry that left the kernel in 2.6",
        (Insmod("inter_module"), Rmmod("inter_module")),
    ),
    Case(
        "endless",
        "an init that never returns and never sleeps: nothing but a limit ends it",
        (Insmod("endless"),),
    ),
)
"""Cases that no real kernel can answer: they are for the emulated one alone."""

CASES: tuple[Case, ...] = (
    *REQUEST_MODULE,
    *USERMODE_HELPER,
    *LOADING,
    *PARAMETERS,
    *CONCURRENCY,
    *PRINTING,
    *MEMORY,
    *OOPSES,
)

BY_NAME = {case.name: case for case in CASES}
