"""Module parameters, from the command line and through sysfs."""

from __future__ import annotations

from tests.steps import Case, Insmod, Read, Rmmod, Write

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
    Case(
        "params_odd",
        "parameters whose operations return more than 0, or are missing",
        (
            *(
                step
                for text in (
                    "result=1",
                    "result=4095 value=3",
                    "result=-5",
                    "result=-22 value",
                    "value=x",
                )
                for step in (Insmod("odd_params", text), Rmmod("odd_params"))
            ),
            Insmod("odd_params", "value"),
            *(Write("/sys/module/odd_params/parameters/result", text) for text in ("1", "2", "4", "-5", "x")),
            Write("/sys/module/odd_params/parameters/no_set", "1"),
            Read("/sys/module/odd_params/parameters/no_get"),
            *(
                step
                for text in ("0", "-5")
                for step in (
                    Write("/sys/module/odd_params/parameters/value", text),
                    Read("/sys/module/odd_params/parameters/value"),
                    Read("/sys/module/odd_params/parameters/result"),
                )
            ),
        ),
    ),
    Case(
        "params_without_set",
        "a parameter that has no set operation, on the command line: the kernel calls a null pointer",
        (Insmod("odd_params", "no_set=1"), Read("/proc/modules")),
    ),
)
