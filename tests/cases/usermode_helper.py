"""call_usermodehelper() in each of its ways to wait."""

from __future__ import annotations

from tests.steps import Case, Insmod, Program, Read, Rmmod, Sleep, Step, Sysctl, Write

_BSET = "/proc/sys/kernel/usermodehelper/bset"
_INHERITABLE = "/proc/sys/kernel/usermodehelper/inheritable"


def _each(module: str, *parameters: str) -> tuple[Step, ...]:
    """Load and unload a module with each of these parameters."""
    return tuple(step for text in parameters for step in (Insmod(module, text), Sleep(0.5), Rmmod(module)))


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
    Case(
        "usermodehelper_tasks",
        "who runs a module's code: comm, parent, flags, capabilities of threads, workers and helpers",
        _each("tasks", "part=threads", "part=helper", "part=helper wait=1", "part=helper wait=0"),
        programs=(Program("/sbin/helper", sleep=0.1),),
    ),
    Case(
        "usermodehelper_walk",
        "the list of processes, as a module walks it",
        _each("tasks", "part=walk"),
    ),
    Case(
        "usermodehelper_capabilities",
        "kernel.usermodehelper.bset and inheritable take capabilities from helpers, and give none back",
        (
            Read(_BSET),
            Read(_INHERITABLE),
            *(Write(_BSET, text) for text in ("", "x", "4294967295 x", "-1 511", "1 2 3")),
            Read(_BSET),
            Write(_INHERITABLE, "0xff 010"),
            Read(_INHERITABLE),
            Insmod("tasks", "part=helper"),
            Rmmod("tasks"),
        ),
        programs=(Program("/sbin/helper"),),
    ),
    Case(
        "usermodehelper_without_sys_module",
        "a modprobe that lacks CAP_SYS_MODULE may load nothing; a module that is there is no matter",
        (
            Write(_BSET, "4294901759 511"),
            Read(_BSET),
            Insmod("tasks", "part=helper"),
            Insmod("rm_call", "name=ok_dep"),
            Rmmod("rm_call"),
            Insmod("rm_call", "name=tasks"),
            Rmmod("rm_call"),
            Write(_BSET, "4294967295 511"),
            Read(_BSET),
            Insmod("rm_call", "name=ok_dep"),
            Read("/proc/modules"),
        ),
        programs=(Program("/sbin/helper"),),
    ),
    Case(
        "usermodehelper_odd",
        "arguments, environments and paths that are missing, empty, relative, long",
        _each(
            "umh_odd",
            *(
                f"what={what}"
                for what in (
                    *("argv_null", "argv_empty", "envp_null", "envp_empty", "path_null", "path_empty"),
                    *("path_relative", "path_dots", "path_slashes", "path_slash_at_end", "path_through_file"),
                    *("path_without_slash", "path_long", "name_long", "unnamed", "other_name", "environment"),
                    *("argument_131072", "argument_131073"),
                )
            ),
        ),
        programs=(Program("/sbin/helper", log="runs", status=3),),
    ),
    Case(
        "usermodehelper_waits",
        "call_usermodehelper_exec() with flags of every kind: UMH_FREEZABLE, combinations, nonsense",
        _each("umh_call", *(f"wait={wait}" for wait in (3, 4, 5, 7, 8, 10, 12, 16, -1))),
        programs=(Program("/sbin/helper", sleep=0.2, log="ends", status=5),),
    ),
    Case(
        "usermodehelper_dies",
        "helpers that die of signals, with and without a core dump",
        (
            *_each("umh_call", *(f"path=/sbin/signal{number}" for number in (1, 6, 9, 11, 17, 19))),
            Sysctl("kernel.core_pattern", "|/sbin/dumps %s %e"),
            Read("/proc/sys/kernel/core_pattern"),
            *_each("umh_call", "path=/sbin/signal11", "path=/sbin/signal15"),
            Sysctl("kernel.core_pattern", "|/sbin/missing"),
            *_each("umh_call", "path=/sbin/signal11"),
        ),
        programs=(
            *(Program(f"/sbin/signal{number}", signal=number) for number in (1, 6, 9, 11, 15, 17)),
            Program("/sbin/signal19", status=19),
            Program("/sbin/dumps", say=True),
        ),
    ),
)
