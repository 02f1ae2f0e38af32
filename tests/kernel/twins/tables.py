"""All tables of twins."""

from __future__ import annotations

from typing import Final

from tests.kernel.twins.bitmaps import BITMAPS
from tests.kernel.twins.formats import FORMATS
from tests.kernel.twins.kfifo import KFIFOS
from tests.kernel.twins.numbers import NUMBERS
from tests.kernel.twins.parameters import PARAMETERS
from tests.kernel.twins.strings import STRINGS
from tests.kernel.twins.times import TIMES

TABLES: Final = {
    "bitmaps": BITMAPS,
    "formats": FORMATS,
    "kfifo": KFIFOS,
    "numbers": NUMBERS,
    "parameters": PARAMETERS,
    "strings": STRINGS,
    "times": TIMES,
}
TWINS: Final = [twin for table in TABLES.values() for twin in table]
