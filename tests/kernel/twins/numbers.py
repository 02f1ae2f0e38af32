"""Numbers: lib/kstrtox.c, lib/cmdline.c, lib/math, lib/uuid.c, the CRCs, and bytes in hexadecimal."""

from __future__ import annotations

from tests.kernel.twins.twin import Dice, Twin, User, number, word, words


def options(dice: Dice) -> bytes:
    """What get_options() reads."""

    def one() -> bytes:
        spans = [b"%d-%d" % (dice.randrange(20), dice.randrange(30)), b"%d" % dice.randrange(-9, 9)]
        return dice.choice([*spans, number(dice)[:-1]])

    return b",".join(one() for _ in range(dice.randrange(5))) + b"\0"


def uuid(dice: Dice) -> bytes:
    fields = (8, 4, 4, 4, 12)
    good = "-".join(f"{dice.getrandbits(4 * size):0{size}x}" for size in fields).encode() + b"\0"
    return dice.choice(
        [good, good.upper(), good.replace(b"0", b"g"), word(dice, b"0123abcdef-", 40).ljust(40)]
    )


EMPTY = bytes(8)
ROOM = b"q" * 48
LISTS: tuple[int | bytes, ...] = (0, b"\0", b"\n\\ab\0", b"\xff\x01\0")
COUNTS = (0, 1, 2, 3, (1 << 31) - 1, 1 << 31, 0xC000_0000, 0xFFFF_FFFF)
BASES = (0, 2, 7, 8, 10, 16)

BOOL = b"yYnN10oOtTfFxn\0 "


def from_user(content: bytes, dice: Dice) -> tuple[User, int]:
    """Text in user memory, and how much of it is meant."""
    return User(content), dice.choice([len(content) - 1, len(content) - 1, len(content), 100, 1, 0])


NUMBERS = [
    *(
        Twin(name, "int", lambda d: (number(d), d.choice(BASES), EMPTY))
        for name in (
            "kstrtoull", "kstrtoll", "_kstrtoul", "_kstrtol", "kstrtouint", "kstrtoint", "kstrtou16",
            "kstrtos16", "kstrtou8", "kstrtos8",
        )
    ),
    *(
        Twin(name, "unsigned long", lambda d: (number(d), EMPTY, d.choice(BASES)))
        for name in ("simple_strtoull", "simple_strtoul", "simple_strtoll", "simple_strtol")
    ),
    *(
        Twin(f"kstrto{kind}_from_user", "int", lambda d: (*from_user(number(d), d), d.choice(BASES), EMPTY))
        for kind in ("ull", "ll", "ul", "l", "uint", "int", "u16", "s16", "u8", "s8")
    ),
    Twin("kstrtobool_from_user", "int", lambda d: (*from_user(word(d, BOOL, 4), d), EMPTY)),
    Twin("memparse", "unsigned long", lambda d: (number(d), EMPTY)),
    Twin("kstrtobool", "int", lambda d: (word(d, BOOL, 4), EMPTY)),
    Twin("get_option", "int", lambda d: (words(number(d)), EMPTY)),
    Twin("get_options", "void *", lambda d: (options(d), d.choice([0, 1, 2, 5, 10]), bytes(48))),
    Twin("next_arg", "void *", lambda d: (word(d, b"ab=\"= \t'x", 13) + bytes(2), EMPTY, EMPTY)),
    Twin("hex_to_bin", "int", lambda d: (d.randrange(256),)),
    Twin("hex2bin", "int", lambda d: (
        EMPTY, word(d, b"0123456789abcdefABCDEFgG", 15).ljust(16), d.randrange(9))),
    Twin("bin2hex", "void *", lambda d: (bytes(32), d.randbytes(16), d.randrange(17))),
    Twin("string_get_size", "void", lambda d: (
        d.getrandbits(d.randrange(1, 64)), d.choice([0, 1, 512, 1000, 4096, d.getrandbits(20)]),
        d.randrange(2), ROOM, d.choice([0, 1, 5, 20]),
    )),
    Twin("hex_dump_to_buffer", "int", lambda d: (
        d.randbytes(40), d.randrange(41), d.choice([8, 16, 32]), d.choice([1, 2, 3, 4, 8]), b"q" * 140,
        d.choice([0, 140, d.randrange(140)]), d.randrange(2),
    )),
    Twin("int_sqrt", "unsigned long", lambda d: (d.getrandbits(d.randrange(65)),)),
    Twin("int_sqrt64", "unsigned int", lambda d: (d.getrandbits(d.randrange(65)),), native="int_sqrt"),
    Twin("int_pow", "unsigned long", lambda d: (d.randrange(20), d.randrange(20))),
    *(
        Twin(name, "unsigned long", lambda d: (d.getrandbits(d.randrange(33)), d.getrandbits(9)))
        for name in ("gcd", "lcm", "lcm_not_zero")
    ),
    Twin("iter_div_u64_rem", "unsigned int", lambda d: (
        d.randrange(10 * (divisor := d.randrange(1, 1 << 32))), divisor, EMPTY)),
    Twin("__clzdi2", "int", lambda d: (d.getrandbits(63) >> d.randrange(63) | 1,)),
    *(
        Twin(name, "bool", lambda d: (d.choice(COUNTS).to_bytes(4, "little"),))
        for name in ("refcount_dec_if_one", "refcount_dec_not_one")
    ),
    Twin("reciprocal_value", "unsigned long", lambda d: (d.randrange(1, 1 << d.randrange(1, 33)),)),
    Twin("rational_best_approximation", "void", lambda d: (
        d.randrange(1, 1 << d.randrange(1, 40)), d.randrange(1, 1 << d.randrange(1, 40)),
        d.randrange(1, 1000), d.randrange(1, 1000), EMPTY, EMPTY,
    )),
    Twin("uuid_parse", "int", lambda d: (uuid(d), bytes(16))),
    Twin("guid_parse", "int", lambda d: (uuid(d), bytes(16))),
    Twin("uuid_is_valid", "bool", lambda d: (uuid(d),)),
    *(
        Twin(name, "unsigned int", lambda d: (d.getrandbits(32), d.randrange(2000)))
        for name in ("crc32_le_shift", "__crc32c_le_shift")
    ),
    *(
        Twin(name, returns, lambda d: (d.getrandbits(64), d.randbytes(50), d.randrange(51)), native=native)
        for name, returns, native in (
            ("crc32_le", "unsigned int", ""),
            ("crc32_be", "unsigned int", ""),
            ("__crc32c_le", "unsigned int", ""),
            ("crc_ccitt", "unsigned short", ""),
            ("crc_ccitt_false", "unsigned short", ""),
            ("crc16", "unsigned short", "crc16:crc16"),
            ("crc_itu_t", "unsigned short", "crc_itu_t:crc_itu_t"),
            ("crc7_be", "unsigned char", "crc7:crc7_be"),
            ("crc64_be", "unsigned long", "crc64:crc64_be"),
            ("crc64_rocksoft_generic", "unsigned long", "crc64:crc64_rocksoft_generic"),
        )
    ),
]  # fmt: skip
