"""Variables of lib/ that modules read: tables and constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ukmod.kernel.lib import crc, ctype, hexdump, uuid
from ukmod.kernel.lib.ratelimit import RateLimit

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


class Lib:
    """Creates and exports the variables of lib/."""

    def __init__(self, kernel: Core) -> None:
        ctype.export_table(kernel)
        hexdump.export_digits(kernel)
        crc.export_tables(kernel)
        uuid.export_nulls(kernel)
        self.empty_string = kernel.symbols.add_variable("empty_string", 1)
        """The address of ``""``."""
        self.printk_limit = RateLimit(kernel, "printk")
        """printk_ratelimit_state."""
