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
        self._memory = kernel.memory
        self._no_hash_pointers = kernel.symbols.add_variable("no_hash_pointers", 1, gpl=True, align=1)

    @property
    def no_hash_pointers(self) -> bool:
        """True if ``%p`` prints addresses: the boot parameter no_hash_pointers."""
        return bool(self._memory.u8(self._no_hash_pointers))
