"""Every case. The data model is in ``tests/steps.py``; the modules' sources are in ``examples``.

``tests/golden`` holds what a real kernel did with each; ``python -m tests.real.golden`` remakes that.
"""

from __future__ import annotations

from tests.steps import Case, Insmod, Read, Rmmod, Sleep

CASES: tuple[Case, ...] = (
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
)

BY_NAME = {case.name: case for case in CASES}
