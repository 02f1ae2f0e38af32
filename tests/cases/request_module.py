"""What request_module() does and returns, alone, in crowds and in rings."""

from __future__ import annotations

from tests.steps import Case, Insmod, Join, Kill, Program, Read, Rmmod, Sleep, Start, Sysctl

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
    Case(
        "request_module_path",
        "kernel.modprobe need not be a clean path, but it has to lead to modprobe from /",
        (
            *(
                step
                for path in (
                    "sbin/modprobe",
                    "modprobe",
                    "./sbin/modprobe",
                    "/sbin/../sbin/modprobe",
                    "//sbin//modprobe",
                    "/sbin/modprobe/",
                    " /sbin/modprobe",
                    "/sbin/modprobe ",
                    "/" * 242 + "sbin/modprobe",
                    "/" * 243 + "sbin/modprobe",
                )
                for step in (
                    Sysctl("kernel.modprobe", path),
                    Insmod("rm_call", "name=ok_dep"),
                    Rmmod("rm_call"),
                    Rmmod("ok_dep"),
                )
            ),
            Read("/proc/sys/kernel/modprobe"),
        ),
    ),
    Case(
        "request_module_path_changes",
        "kernel.modprobe changes while a helper runs, and while requests wait for one",
        (
            Sysctl("kernel.modprobe", "/sbin/slow"),
            Start(Insmod("rm_call", "name=ok_dep")),
            Sleep(0.5),
            Sysctl("kernel.modprobe", "/sbin/quick"),
            Join(),
            Sysctl("kernel.modprobe", "/sbin/slow"),
            Start(Insmod("rm_flood")),
            Sleep(0.5),
            Sysctl("kernel.modprobe", ""),
            Join(),
        ),
        programs=(Program("/sbin/slow", sleep=1, log="ends"), Program("/sbin/quick", log="runs")),
    ),
    Case(
        "request_module_names",
        "names that modprobe, or a shell, might take for something else",
        (
            *(
                step
                for name in (
                    "ok_dep.ko",
                    "ok/dep",
                    "*",
                    "ok[_-]dep",
                    "-r",
                    "--",
                    "..",
                    "%s",
                    "$HOME",
                    "ok_dep;",
                    "OK_DEP",
                )
                for step in (Insmod("rm_call", f"name={name}"), Rmmod("rm_call"))
            ),
            Read("/proc/modules"),
        ),
    ),
    Case(
        "request_module_fails_below",
        "a module whose dependency fails, returns more than 0, or is there only on second thought",
        (
            Insmod("rm_call", "name=uses_exporter"),
            Rmmod("rm_call"),
            Read("/proc/modules"),
            Insmod("exporter"),
            Insmod("rm_call", "name=uses_exporter"),
            Read("/proc/modules"),
        ),
        config="options exporter ret=-5\n",
    ),
    Case(
        "request_module_positive",
        "an init that returns more than 0, as a dependency",
        (Insmod("rm_call", "name=uses_exporter"), Read("/proc/modules")),
        config="options exporter ret=7\n",
    ),
    Case(
        "request_module_rules",
        "blacklists by name and by alias, soft dependencies of soft dependencies, install commands",
        (
            *(
                step
                for name in ("ok-alias-7", "first", "black", "exporter", "no_exit", "own")
                for step in (Insmod("rm_call", f"name={name}"), Read("/proc/modules"), Rmmod("rm_call"))
            ),
        ),
        config=(
            "alias first uses_exporter\nalias black refs\nblacklist refs\nblacklist black\n"
            "blacklist exporter\nblacklist ok-alias-7\n"
            "softdep uses_exporter pre: no_exit\nsoftdep no_exit pre: ok_dep post: refs\n"
            "install own /sbin/modprobe --ignore-install slab $CMDLINE_OPTS && /sbin/modprobe -q nonesuch\n"
        ),
    ),
    Case(
        "request_module_recursion",
        "a helper loads a module that, in its init, requests another, and so starts the same helper again",
        (
            Sysctl("kernel.modprobe", "/sbin/again"),
            Start(Insmod("rm_call", "name=x")),
            Sleep(5),
            Read("/proc/modules"),
        ),
        programs=(Program("/sbin/again", load=("ring_b",), log="is back"),),
    ),
    *(
        Case(
            f"request_module_from_{place}",
            f"request_module() from: {place.replace('_', ' ')}",
            (
                Insmod("contexts", f"from={place}"),
                Sleep(0.5),
                Insmod("ret_enodev"),
                Rmmod("contexts"),
                Sleep(0.5),
                Read("/proc/modules"),
            ),
            programs=(Program("/sbin/helper", log="runs"),),
        )
        for place in (
            "thread",
            "system_wq",
            "unbound",
            "ordered",
            "reclaim",
            "delayed",
            "notifier",
            "helper",
            "exit",
        )
    ),
    Case(
        "request_module_from_its_own_exit",
        "a module requests itself in its exit: while it is going it is neither there nor not",
        (
            Insmod("contexts", "from=exit name=contexts"),
            Start(Rmmod("contexts")),
            Sleep(5),
            Read("/proc/modules"),
            Join(),
            Read("/proc/modules"),
        ),
    ),
    Case(
        "request_module_from_an_exit_for_a_user",
        "a module requests, in its exit, one that needs a module whose init is under way",
        (
            Insmod("contexts", "from=exit name=uses_exporter"),
            Start(Insmod("exporter", "init_ms=2000")),
            Sleep(0.2),
            Start(Rmmod("contexts")),
            Join(),
            Read("/proc/modules"),
        ),
    ),
)
