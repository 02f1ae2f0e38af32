"""call_usermodehelper() in each of its ways to wait."""

from __future__ import annotations

from tests.steps import Case, Insmod, Program, Rmmod, Sleep

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
