"""Cyclic redundancy checks (lib/crc*.c), each defined by width, polynomial and bit order."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING

from ukmod.kernel.export import export
from ukmod.machine.abi import Ptr, SizeT, UChar, UInt, ULong, UShort
from ukmod.record import record

if TYPE_CHECKING:
    from ukmod.kernel.core import Core


@record
class Crc:
    """A kind of CRC: width in bits, polynomial without its top bit, and whether the lowest bit goes first."""

    width: int
    polynomial: int
    reflected: bool = True

    def skip(self, crc: int, count: int) -> int:
        """The register after ``count`` zero bytes, by repeated squaring of the linear step."""
        columns = [self.update(1 << bit, b"\0") for bit in range(self.width)]
        while count:
            if count & 1:
                crc = _apply(columns, crc)
            columns = [_apply(columns, column) for column in columns]
            count >>= 1
        return crc

    def update(self, crc: int, data: bytes) -> int:
        """The register after processing ``data``."""
        table = _table(self)
        if self.reflected:
            for byte in data:
                crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
            return crc
        mask, shift = (1 << self.width) - 1, self.width - 8
        for byte in data:
            crc = (crc << 8 & mask) ^ table[(crc >> shift ^ byte) & 0xFF]
        return crc

    @property
    def table(self) -> tuple[int, ...]:
        """For each byte, the register that results from processing it with a register of zero."""
        return _table(self)


@cache
def _table(kind: Crc) -> tuple[int, ...]:
    if kind.reflected:
        polynomial = int(f"{kind.polynomial:0{kind.width}b}"[::-1], 2)
        return tuple(_shift_right(byte, polynomial) for byte in range(256))
    top, mask = 1 << (kind.width - 1), (1 << kind.width) - 1
    return tuple(_shift_left(byte << (kind.width - 8), kind.polynomial, top, mask) for byte in range(256))


def _shift_right(value: int, polynomial: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (polynomial if value & 1 else 0)
    return value


def _shift_left(value: int, polynomial: int, top: int, mask: int) -> int:
    for _ in range(8):
        value = (value << 1 ^ (polynomial if value & top else 0)) & mask
    return value


def _apply(columns: list[int], value: int) -> int:
    """Multiply a matrix over GF(2), given by its columns, by a vector."""
    result = 0
    for bit, column in enumerate(columns):
        if value >> bit & 1:
            result ^= column
    return result


CRC32 = Crc(32, 0x04C1_1DB7)
CRC32_BE = Crc(32, 0x04C1_1DB7, reflected=False)
CRC32C = Crc(32, 0x1EDC_6F41)
CRC16 = Crc(16, 0x8005)
CRC_CCITT = Crc(16, 0x1021)
CRC_CCITT_FALSE = CRC_ITU_T = Crc(16, 0x1021, reflected=False)
CRC_T10DIF = Crc(16, 0x8BB7, reflected=False)
CRC7_BE = Crc(8, 0x09 << 1, reflected=False)
"""Seven bits, kept in the upper bits of a byte."""
CRC64_BE = Crc(64, 0x42F0_E1EB_A9EA_3693, reflected=False)
CRC64_ROCKSOFT = Crc(64, 0xAD93_D235_94C9_3659)


@export(native=True)
def crc32_le(k: Core, crc: UInt, data: Ptr, count: SizeT) -> UInt:
    """``u32 crc32_le(u32 crc, unsigned char const *p, size_t len)``."""
    return CRC32.update(crc, k.memory.read(data, count))


@export(native=True)
def crc32_be(k: Core, crc: UInt, data: Ptr, count: SizeT) -> UInt:
    """``u32 crc32_be(u32 crc, unsigned char const *p, size_t len)``."""
    return CRC32_BE.update(crc, k.memory.read(data, count))


@export("__crc32c_le", "crc32c", native=True)
def crc32c_le(k: Core, crc: UInt, data: Ptr, count: SizeT) -> UInt:
    """``u32 __crc32c_le(u32 crc, unsigned char const *p, size_t len)``."""
    return CRC32C.update(crc, k.memory.read(data, count))


@export(native=True)
def crc32_le_shift(k: Core, crc: UInt, count: SizeT) -> UInt:
    """``u32 crc32_le_shift(u32 crc, size_t len)``: the CRC after ``len`` more zero bytes."""
    del k
    return CRC32.skip(crc, count)


@export("__crc32c_le_shift", native=True)
def crc32c_le_shift(k: Core, crc: UInt, count: SizeT) -> UInt:
    """``u32 __crc32c_le_shift(u32 crc, size_t len)``."""
    del k
    return CRC32C.skip(crc, count)


@export(native=True)
def crc16(k: Core, crc: UShort, data: Ptr, count: SizeT) -> UShort:
    """``u16 crc16(u16 crc, u8 const *buffer, size_t len)``."""
    return CRC16.update(crc, k.memory.read(data, count))


@export(native=True)
def crc_ccitt(k: Core, crc: UShort, data: Ptr, count: SizeT) -> UShort:
    """``u16 crc_ccitt(u16 crc, u8 const *buffer, size_t len)``."""
    return CRC_CCITT.update(crc, k.memory.read(data, count))


@export(native=True)
def crc_ccitt_false(k: Core, crc: UShort, data: Ptr, count: SizeT) -> UShort:
    """``u16 crc_ccitt_false(u16 crc, u8 const *buffer, size_t len)``."""
    return CRC_CCITT_FALSE.update(crc, k.memory.read(data, count))


@export(native=True)
def crc_itu_t(k: Core, crc: UShort, data: Ptr, count: SizeT) -> UShort:
    """``u16 crc_itu_t(u16 crc, const u8 *buffer, size_t len)``."""
    return CRC_ITU_T.update(crc, k.memory.read(data, count))


@export(native=True)
def crc_t10dif(k: Core, data: Ptr, count: SizeT) -> UShort:
    """``__u16 crc_t10dif(unsigned char const *buffer, size_t len)``."""
    return CRC_T10DIF.update(0, k.memory.read(data, count))


@export(native=True)
def crc_t10dif_update(k: Core, crc: UShort, data: Ptr, count: SizeT) -> UShort:
    """``__u16 crc_t10dif_update(__u16 crc, unsigned char const *buffer, size_t len)``."""
    return CRC_T10DIF.update(crc, k.memory.read(data, count))


@export(native=True)
def crc7_be(k: Core, crc: UChar, data: Ptr, count: SizeT) -> UChar:
    """``u8 crc7_be(u8 crc, const u8 *buffer, size_t len)``."""
    return CRC7_BE.update(crc, k.memory.read(data, count))


@export(gpl=True, native=True)
def crc64_be(k: Core, crc: ULong, data: Ptr, count: SizeT) -> ULong:
    """``u64 crc64_be(u64 crc, const void *p, size_t len)``."""
    return CRC64_BE.update(crc, k.memory.read(data, count))


@export(gpl=True, native=True)
def crc64_rocksoft_generic(k: Core, crc: ULong, data: Ptr, count: SizeT) -> ULong:
    """``u64 crc64_rocksoft_generic(u64 crc, const void *p, size_t len)``."""
    return ~CRC64_ROCKSOFT.update(~crc & (1 << 64) - 1, k.memory.read(data, count))


@export(native=True)
def crc8(k: Core, table: Ptr, data: Ptr, count: SizeT, crc: UChar) -> UChar:
    """``u8 crc8(const u8 table[256], const u8 *, size_t nbytes, u8 crc)``, using the module's table."""
    entries = k.memory.read(table, 256)
    for byte in k.memory.read(data, count):
        crc = entries[crc ^ byte]
    return crc


@export(native=True)
def crc8_populate_msb(k: Core, table: Ptr, polynomial: UChar) -> None:
    """``void crc8_populate_msb(u8 table[256], u8 polynomial)``."""
    k.memory.write(table, bytes(Crc(8, polynomial, reflected=False).table))


@export(native=True)
def crc8_populate_lsb(k: Core, table: Ptr, polynomial: UChar) -> None:
    """``void crc8_populate_lsb(u8 table[256], u8 polynomial)``; the polynomial is bit-reversed."""
    k.memory.write(table, bytes(_shift_right(byte, polynomial) for byte in range(256)))


BYTE_REVERSE = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""lib/bitrev.c"""
_TABLES = {"crc16_table": CRC16, "crc_ccitt_table": CRC_CCITT, "crc_itu_t_table": CRC_ITU_T}


def export_tables(k: Core) -> None:
    """Export the tables that inlined code indexes."""
    k.memory.write(k.symbols.add_variable("byte_rev_table", 256), BYTE_REVERSE)
    for name, kind in _TABLES.items():
        k.memory.write(k.symbols.add_variable(name, 512), struct.pack("<256H", *kind.table))
