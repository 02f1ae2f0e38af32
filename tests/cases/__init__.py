"""Every case. The data model is in ``tests/steps.py``; the modules' sources are in ``examples``.

``tests/golden`` holds what a real kernel did with each; ``python -m tests.real.golden`` remakes that.
"""

from __future__ import annotations

from tests.cases.loading import LOADING
from tests.cases.oopses import OOPSES
from tests.cases.parameters import PARAMETERS
from tests.cases.request_module import REQUEST_MODULE
from tests.cases.services import CONCURRENCY, MEMORY, PRINTING
from tests.cases.usermode_helper import USERMODE_HELPER
from tests.steps import Case, Insmod, Rmmod

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
